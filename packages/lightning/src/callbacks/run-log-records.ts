/** What records of a run log say of the trainer, the metrics and the memory. */
import { memory } from "@nbit/torch";
import type { LightningModule } from "../module.js";
import type { TrainerView } from "../trainer-view.js";

/** Version of the format; readers refuse a newer one. */
const FORMAT = 1;

/** The record `run`. */
export function runRecord(trainer: TrainerView, module: LightningModule, name: string | undefined): object {
  let parameters = 0;
  let bytes = 0;
  for (const parameter of module.parameters()) {
    parameters += parameter.numel();
    bytes += parameter.nbytes;
  }
  return {
    type: "run",
    format: FORMAT,
    name: name ?? trainer.precision.name,
    precision: trainer.precision.name,
    model: module.constructor.name,
    parameters,
    device: String(trainer.rootDevice),
    startedAt: new Date().toISOString(),
    // What was there before: the data set, other models. The model's own parameters count as training's.
    tensorsBefore: Math.max(0, memory().bytes - bytes),
  };
}

/**
 * The step's own values under their plain names: `loss`, not `loss_step` beside it or the last epoch's `loss_epoch`.
 * @param notOfSteps - Names that evaluation logs.
 */
export function stepMetrics(
  all: Readonly<Record<string, number>>,
  notOfSteps: ReadonlySet<string>,
): Record<string, number> {
  const metrics: Record<string, number> = {};
  const names = new Set(Object.keys(all));
  for (const name of names) {
    const base = name.replace(/_(step|epoch)$/, "");
    if (notOfSteps.has(name) || (base !== name && names.has(base))) continue;
    const value = all[name];
    if (value !== undefined) metrics[name] = value;
  }
  return metrics;
}

/**
 * Bytes. `peakTensors` is the most that CPU tensors held since the log began; `peakRss` the process's highest, whatever
 * ran before.
 */
export function memoryNow(): Record<string, number> {
  const { bytes, peakBytes, residentBytes } = memory();
  return { tensors: bytes, peakTensors: peakBytes, rss: residentBytes, peakRss: process.resourceUsage().maxRSS * 1024 };
}
