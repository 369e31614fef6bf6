import {
  ArgumentError,
  atMost,
  cat,
  checkOptions,
  cuda,
  keep,
  kinds,
  memory,
  noGrad,
  type OptionNames,
  resetPeakMemory,
  scope,
  Tensor,
  verbatim,
} from "@nbit/torch";
import type { nn } from "@nbit/torch";
import { Callback } from "./callbacks/callback.js";
import { sourceOf } from "./loops/combined-fetcher.js";
import { trainingGroup } from "./loops/loader-group.js";
import { attachHost, hostOf } from "./module.js";
import { LightningModule } from "./module.js";
import type { PrecisionInput } from "./precision/names.js";
import { captureRng, disposeRng, restoreRng } from "./rng.js";
import { dryRun } from "./diagnostics/dry-run.js";
import { SearchResult } from "./diagnostics/search-result.js";
import type { SearchRow } from "./diagnostics/search-result.js";
import { Trainer } from "./trainer.js";
import type { Loaders } from "./run-options.js";
import type { TrainerOptions } from "./trainer-options.js";
import type { TrainerView } from "./trainer-view.js";
import type { Batch, StepResult } from "./types.js";
import { isError } from "@nbit/torch/realm";

export interface PrecisionSearchOptions {
  /** Default 32, "bf16", 16 and "bf16-true". The first is what the others are compared with. */
  readonly precisions?: readonly PrecisionInput[];
  /** Steps of each. Default 20; the first three are not timed. */
  readonly steps?: number;
  /** Default "auto". */
  readonly accelerator?: string;
  readonly gradientClipVal?: number | null;
  /** Relative distance of the losses from the first precision's that is still fine. Default 0.05. */
  readonly tolerance?: number;
}
export interface SearchData {
  /** Default: the module's `trainDataloader()`. */
  readonly trainDataloaders?: Loaders;
}

/** Steps before the clock starts: caches, kernels and optimizer state settle. */
const WARM_UP = 3;
const NAMES: OptionNames<PrecisionSearchOptions> = {
  precisions: kinds.listOf(kinds.anything),
  steps: kinds.whole(`[${WARM_UP + 1}, ∞)`),
  tolerance: kinds.real("(0, ∞]"),
  accelerator: true,
  gradientClipVal: kinds.orNull(kinds.real("(0, ∞)")),
};
const DATA: OptionNames<SearchData> = { trainDataloaders: true };

/**
 * Try precisions on one's own model and data, and recommend one.
 *
 * Each trains the same weights on the same batches with the same random numbers for `steps` steps. Compared are: how
 * far the losses go from float32's, the cosine of the first gradient with float32's, time per step, peak memory of
 * tensors, and skipped steps. The model is afterwards what it was before: weights, buffers, gradients, modes and random
 * state. Hooks of the module run; nothing is logged or saved. Reads the loss of every step, so that on a GPU each step
 * waits.
 *
 * @throws {ArgumentError} `PrecisionSearch: expected steps to be a whole number ≥ 4. Received: 2.`
 * @example
 * const result = await new PrecisionSearch({ steps: 30 }).run(model, { trainDataloaders: loader });
 * console.log(String(result));
 * const trainer = new Trainer({ precision: result.recommended });
 */
export class PrecisionSearch {
  readonly #options: Required<Omit<PrecisionSearchOptions, "gradientClipVal">> &
    Pick<PrecisionSearchOptions, "gradientClipVal">;

  constructor(options: PrecisionSearchOptions = {}) {
    atMost("PrecisionSearch", arguments, 1);
    checkOptions("PrecisionSearch", options, NAMES);
    const { precisions = [32, "bf16", 16, "bf16-true"], steps = 20, tolerance = 0.05 } = options;
    if (precisions.length < 2) throw new ArgumentError("PrecisionSearch", "two precisions or more", precisions);
    this.#options = {
      precisions,
      steps,
      tolerance,
      accelerator: options.accelerator ?? "auto",
      gradientClipVal: options.gradientClipVal,
    };
  }

  async run(module: LightningModule, data: SearchData = {}): Promise<SearchResult> {
    atMost("PrecisionSearch.run", arguments, 2);
    if (!(module instanceof LightningModule))
      throw new ArgumentError("PrecisionSearch.run", "a LightningModule", module);
    checkOptions("PrecisionSearch.run", data, DATA);
    const batches = await this.#batches(data.trainDataloaders ?? module.trainDataloader());
    // All trainers are made before any runs: a precision that this machine does not have is an error now.
    const probes = this.#options.precisions.map(() => new Probe());
    const trainers = this.#options.precisions.map(
      (precision, i) => new Trainer(this.#trainerOptions(precision, probes[i])),
    );
    const first = trainers[0];
    if (first === undefined) throw new ArgumentError("PrecisionSearch", "two precisions or more", []);
    const snapshot = new ModuleSnapshot(module);
    const rng = captureRng(first.rootDevice);
    const rows: SearchRow[] = [];
    try {
      for (const [i, trainer] of trainers.entries()) {
        const probe = probes[i];
        if (probe === undefined) continue;
        snapshot.restore();
        restoreRng(rng, first.rootDevice);
        let error: string | null = null;
        try {
          await trainer.fit(module, { trainDataloaders: batches });
        } catch (cause) {
          error = isError(cause) ? (cause.message.split("\n")[0] ?? cause.message) : String(cause);
        }
        rows.push(rowOf(this.#options.precisions[i] ?? 32, probe, probes[0] ?? probe, trainer, error));
      }
    } finally {
      snapshot.restore();
      snapshot.dispose();
      restoreRng(rng, first.rootDevice);
      disposeRng(rng);
      for (const probe of probes) probe.dispose();
    }
    return new SearchResult(rows, this.#options.tolerance, String(first.rootDevice), this.#options.steps);
  }

  #trainerOptions(precision: PrecisionInput, probe: Probe | undefined): TrainerOptions {
    const { accelerator, steps, gradientClipVal } = this.#options;
    return {
      precision,
      accelerator,
      maxSteps: steps,
      maxEpochs: -1,
      limitValBatches: 0,
      numSanityValSteps: 0,
      logger: false,
      enableCheckpointing: false,
      enableProgressBar: false,
      enableModelSummary: false,
      callbacks: probe === undefined ? [] : [probe],
      gradientClipVal: gradientClipVal ?? null,
    };
  }

  /** The first batches; a short loader begins again. */
  async #batches(given: unknown): Promise<Batch[]> {
    const group = trainingGroup(given);
    if (group === null)
      throw new ArgumentError("PrecisionSearch", "trainDataloaders: loaders of training batches", given);
    const source = sourceOf(group, this.#options.steps, "steps");
    const batches: Batch[] = [];
    source.start(0);
    for (let next = await source.next(); next !== null; next = await source.next()) batches.push(next.batch);
    await source.close();
    if (batches.length === 0)
      throw new ArgumentError("PrecisionSearch", "a loader that yields batches", verbatim("an empty one"));
    return batches;
  }
}

/** Measures one precision from inside its run. */
class Probe extends Callback {
  readonly losses: number[] = [];
  readonly times: number[] = [];
  gradient: Tensor | null = null;
  peakBytes: number | null = null;
  #before = 0;
  #at = 0;
  #weights = 0;

  override setup(trainer: TrainerView, module: LightningModule): void {
    this.#weights = module.parameters().reduce((sum, p) => sum + p.nbytes, 0);
    this.#before = bytesNow(trainer).now;
  }

  override onTrainBatchStart(trainer: TrainerView, module: LightningModule, batch: Batch, batchIdx: number): void {
    if (this.losses.length === 0) {
      dryRun(
        { module, precision: trainer.precision, device: trainer.rootDevice, batch, batchIdx },
        { afterBackward: () => this.#takeGradient(trainer, module) },
      );
      resetPeak(trainer);
    }
    this.#at = performance.now();
  }

  override onTrainBatchEnd(trainer: TrainerView, _module: LightningModule, outputs: StepResult): void {
    const { loss } = outputs;
    this.losses.push(loss instanceof Tensor ? Number(loss.float().item()) : Number.NaN);
    this.times.push((performance.now() - this.#at) / 1000);
    this.peakBytes = Math.max(0, bytesNow(trainer).peak - this.#before + this.#weights - (this.gradient?.nbytes ?? 0));
  }

  /** Unscaled gradients of all parameters in a row, in float32 on the CPU. */
  #takeGradient(trainer: TrainerView, module: LightningModule): void {
    if (this.gradient !== null) return;
    const scale = trainer.lossScale ?? 1;
    this.gradient = keep(
      scope(() =>
        cat(
          module
            .parameters()
            .map((p) => (p.grad === null ? p.detach().mul(0) : p.grad.detach()).to("cpu").to("float32").flatten()),
        ).div(scale),
      ),
    );
  }

  dispose(): void {
    this.gradient?.dispose();
    this.gradient = null;
  }
}

function rowOf(
  precision: PrecisionInput,
  probe: Probe,
  base: Probe,
  trainer: Trainer,
  error: string | null,
): SearchRow {
  const n = Math.min(probe.losses.length, base.losses.length);
  let distance = 0;
  let size = 0;
  for (let i = 0; i < n; i++) {
    distance += Math.abs((probe.losses[i] ?? 0) - (base.losses[i] ?? 0));
    size += Math.abs(base.losses[i] ?? 0);
  }
  const timed = probe.times.slice(WARM_UP).sort((a, b) => a - b);
  return {
    precision,
    name: trainer.precision.name,
    losses: [...probe.losses],
    lossDistance: n === 0 || size === 0 ? Number.NaN : distance / size,
    gradientCosine:
      probe.gradient === null || base.gradient === null ? Number.NaN : cosine(probe.gradient, base.gradient),
    secondsPerStep: timed[Math.floor(timed.length / 2)] ?? Number.NaN,
    peakBytes: probe.peakBytes,
    skippedSteps: trainer.skippedSteps,
    error,
  };
}

function cosine(a: Tensor, b: Tensor): number {
  return scope(() => {
    const x = a.double();
    const y = b.double();
    return Number(x.dot(y).div(x.norm().mul(y.norm())).item());
  });
}

function bytesNow(trainer: TrainerView): { readonly now: number; readonly peak: number } {
  if (trainer.rootDevice.type === "cuda") {
    const { allocated, peakAllocated } = cuda.memoryStats(trainer.rootDevice);
    return { now: allocated, peak: peakAllocated };
  }
  const { bytes, peakBytes } = memory();
  return { now: bytes, peak: peakBytes };
}

function resetPeak(trainer: TrainerView): void {
  if (trainer.rootDevice.type === "cuda") cuda.resetPeakMemoryStats(trainer.rootDevice);
  else resetPeakMemory();
}

/** Weights, buffers, gradients and modes of a module, to be put back as often as needed. */
class ModuleSnapshot {
  readonly #tensors: readonly (readonly [Tensor, Tensor])[];
  readonly #gradients: readonly (readonly [nn.Parameter, Tensor | null])[];
  readonly #modes: readonly (readonly [nn.Module, boolean])[];
  readonly #module: LightningModule;
  readonly #host: ReturnType<typeof hostOf>;

  constructor(module: LightningModule) {
    this.#module = module;
    this.#host = hostOf(module);
    this.#tensors = noGrad(() =>
      [...module.parameters(), ...module.buffers()].map((t) => [t, t.detach().clone()] as const),
    );
    this.#gradients = module.parameters().map((p) => [p, p.grad] as const);
    this.#modes = [...module.modules()].map((m) => [m, m.training] as const);
  }

  restore(): void {
    attachHost(this.#module, this.#host);
    for (const [p] of this.#gradients) p.grad = null;
    scope(() =>
      noGrad(() => {
        for (const [tensor, value] of this.#tensors) {
          if (tensor.dtype === value.dtype && tensor.device.toString() === value.device.toString())
            tensor.detach().copy_(value);
          else tensor.setData(value.clone());
        }
      }),
    );
    for (const [p, gradient] of this.#gradients) p.grad = gradient;
    for (const [m, training] of this.#modes) m.training = training;
  }

  dispose(): void {
    for (const [, value] of this.#tensors) value.dispose();
  }
}
