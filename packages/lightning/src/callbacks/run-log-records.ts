/** What records of a run log say of the trainer, the metrics and the memory. */
import { basename, dirname, resolve } from "node:path";
import { memory, type optim } from "@nbit/torch";
import { hyperparametersOf, type LightningModule } from "../module.js";
import type { TrainerView } from "../trainer-view.js";
import { originOf, plainValues } from "./run-log-origin.js";

/** Version of the format; readers refuse a newer one. */
const FORMAT = 2;

/** The record `run`. */
export function runRecord(
  trainer: TrainerView,
  module: LightningModule,
  { name, path }: { readonly name: string | undefined; readonly path: string },
): object {
  let parameters = 0;
  let bytes = 0;
  for (const parameter of module.parameters()) {
    parameters += parameter.numel();
    bytes += parameter.nbytes;
  }
  return {
    type: "run",
    format: FORMAT,
    name: name ?? nameOf(path),
    precision: trainer.precision.name,
    model: module.constructor.name,
    parameters,
    device: String(trainer.rootDevice),
    processes: trainer.worldSize,
    startedAt: new Date().toISOString(),
    // What was there before: the data set, other models. The model's own parameters count as training's.
    tensorsBefore: Math.max(0, memory().bytes - bytes),
    hyperparameters: plainValues(hyperparametersOf(module).values),
    trainer: {
      maxEpochs: trainer.maxEpochs,
      maxSteps: trainer.maxSteps,
      accumulateGradBatches: trainer.accumulateGradBatches,
      gradientClipVal: trainer.gradientClipVal,
    },
    ...originOf(),
  };
}

/** Of a log `run.jsonl` its folder's name, of others their own. */
function nameOf(path: string): string {
  const own = basename(path).replace(/\.jsonl$/, "");
  return own === "run" ? basename(dirname(resolve(path))) || own : own;
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

/** Of every group of every optimizer, in their order; what is a tensor is left on its device. */
export function learningRates(optimizers: readonly optim.Optimizer[]): number[] {
  return optimizers.flatMap(({ paramGroups }) =>
    paramGroups.map(({ lr }) => lr).filter((lr): lr is number => typeof lr === "number"),
  );
}

/**
 * Bytes. `peakTensors` is the most that CPU tensors held since the log began; `peakRss` the process's highest, whatever
 * ran before.
 */
export function memoryNow(): Record<string, number> {
  const { bytes, peakBytes, residentBytes } = memory();
  return { tensors: bytes, peakTensors: peakBytes, rss: residentBytes, peakRss: process.resourceUsage().maxRSS * 1024 };
}
