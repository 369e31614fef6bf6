import {
  atMost,
  checkArguments,
  checkOptions,
  cuda,
  inferenceMode,
  kinds,
  verbatim,
  type OptionNames,
} from "@nbit/torch";
import { MisconfigurationError } from "../errors.js";
import type { LightningModule } from "../module.js";
import { getAvailableFlops } from "../throughput/peak-flops.js";
import { Throughput, THROUGHPUT_ROWS, type ThroughputOptions } from "../throughput/throughput.js";
import type { TrainerView } from "../trainer-view.js";
import type { Batch, HookResult, RunningStage, StepResult } from "../types.js";
import { WarnOnce } from "../warnings.js";
import { Callback } from "./callback.js";
import { logTo } from "./log-metrics.js";

export interface ThroughputMonitorOptions extends Omit<ThroughputOptions, "worldSize"> {
  /** Samples of a batch. */
  readonly batchSizeFn: (batch: Batch) => number;
  /** Tokens, or whatever its samples are made of, in a batch. */
  readonly lengthFn?: (batch: Batch) => number;
}
const NAMES: OptionNames<ThroughputMonitorOptions> = {
  availableFlops: THROUGHPUT_ROWS.availableFlops,
  windowSize: THROUGHPUT_ROWS.windowSize,
  separator: THROUGHPUT_ROWS.separator,
  batchSizeFn: kinds.callable,
  lengthFn: kinds.callable,
};

interface Counts {
  readonly throughput: Throughput;
  /** When it began, in milliseconds of `performance.now`. */
  began: number;
  batches: number;
  samples: number;
  lengths: number;
}

/**
 * Logs how fast a run is: `train/device/samples_per_sec`, `…/batches_per_sec`, `…/items_per_sec`,
 * `…/flops_per_sec` and `…/mfu`, the share of the chip's peak, at log steps, once `windowSize` batches are done; and
 * `validate/…`, `test/…`, `predict/…`. Time of validation does not count for training.
 *
 * FLOPs are those of the module's field `flopsPerBatch`: `measureFlops` in its constructor. On a GPU it waits for every
 * batch, so that times are of computing, not of launching.
 *
 * @throws {MisconfigurationError} at the start of training without a logger.
 * @example new Trainer({ callbacks: new ThroughputMonitor({ batchSizeFn: (batch) => batch[0].size(0), windowSize: 20 }) })
 */
export class ThroughputMonitor extends Callback {
  readonly #options: ThroughputMonitorOptions;
  readonly #stages = new Map<RunningStage, Counts>();
  readonly #warnings = new WarnOnce();
  #availableFlops: number | null = null;

  constructor(options: ThroughputMonitorOptions) {
    super();
    atMost("ThroughputMonitor", arguments, 1);
    checkOptions("ThroughputMonitor", options, NAMES);
    checkArguments("ThroughputMonitor", { batchSizeFn: options.batchSizeFn }, { batchSizeFn: kinds.callable });
    this.#options = options;
  }

  /** FLOPs a second of the device's peak in the run's dtype; null: unknown. */
  get availableFlops(): number | null {
    return this.#availableFlops;
  }
  /** The figures of a stage as they are now; null before its first batch. */
  latest(stage: RunningStage): Readonly<Record<string, number>> | null {
    atMost("ThroughputMonitor.latest", arguments, 1);
    const counts = this.#stages.get(stage);
    return counts === undefined || counts.batches === 0 ? null : counts.throughput.compute();
  }

  override setup(trainer: TrainerView): void {
    if (trainer.loggers.length === 0)
      throw new MisconfigurationError(
        "ThroughputMonitor",
        "a Trainer with a logger",
        verbatim("logger: false"),
        "Remove this callback, or add a logger.",
        "ERR_THROUGHPUT",
      );
    this.#availableFlops =
      this.#options.availableFlops ?? getAvailableFlops(trainer.rootDevice, trainer.precision.dtypes.compute);
    this.#stages.clear();
  }

  #start(trainer: TrainerView): void {
    const { stage } = trainer.state;
    if (stage === null || stage === "sanity_check" || !trainer.isGlobalZero) return;
    const known = this.#stages.get(stage);
    if (known === undefined || trainer.state.fn === "fit") {
      const { windowSize, separator } = this.#options;
      this.#stages.set(stage, {
        throughput: new Throughput({
          availableFlops: this.#availableFlops,
          worldSize: trainer.worldSize,
          ...(windowSize === undefined ? {} : { windowSize }),
          ...(separator === undefined ? {} : { separator }),
        }),
        began: performance.now(),
        batches: 0,
        samples: 0,
        lengths: 0,
      });
    } else known.began = performance.now() - known.throughput.elapsed * 1e3;
  }

  /** @param step - Where to log it; "never": not now; null: where the loggers are. */
  #update(trainer: TrainerView, module: LightningModule, batch: Batch, step: number | "never" | null): HookResult {
    const { stage } = trainer.state;
    const counts = stage === null ? undefined : this.#stages.get(stage);
    if (counts === undefined || stage === "sanity_check" || !trainer.isGlobalZero) return;
    if (trainer.rootDevice.type === "cuda") cuda.synchronize(trainer.rootDevice);
    const time = (performance.now() - counts.began) / 1e3;
    const { batchSizeFn, lengthFn } = this.#options;
    inferenceMode(() => {
      counts.samples += batchSizeFn(batch);
      if (lengthFn !== undefined) counts.lengths += lengthFn(batch);
    });
    counts.batches++;
    const flops = this.#flopsOf(module);
    counts.throughput.update({
      time,
      batches: counts.batches,
      samples: counts.samples,
      ...(lengthFn === undefined ? {} : { lengths: counts.lengths }),
      ...(flops === null ? {} : { flops }),
    });
    if (step === "never" || !this.#isDue(trainer, step)) return;
    const { separator } = counts.throughput;
    const metrics = Object.fromEntries(
      Object.entries(counts.throughput.compute()).map(([name, value]) => [`${stage ?? ""}${separator}${name}`, value]),
    );
    return logTo(trainer, metrics, step ?? trainer.logStep);
  }
  #isDue({ isLogStep, logEveryNSteps, logStep, state }: TrainerView, step: number | null): boolean {
    if (step === null) return isLogStep;
    // Validation within a fit belongs to the training batch before it, which is not counted yet.
    return logEveryNSteps > 0 && (logStep + (state.fn === "fit" ? 1 : 0)) % logEveryNSteps === 0;
  }
  #flopsOf(module: LightningModule): number | null {
    const flops: unknown = Reflect.get(module, "flopsPerBatch");
    if (typeof flops === "number" && flops >= 0) return flops;
    this.#warnings.warn(
      "WARN_FLOPS_PER_BATCH",
      `ThroughputMonitor: ${module.constructor.name} has no flopsPerBatch, so there are no FLOPs: this.flopsPerBatch = measureFlops(this, () => …).`,
    );
    return null;
  }

  override onTrainStart(trainer: TrainerView): void {
    this.#start(trainer);
  }
  override onTrainBatchEnd(
    trainer: TrainerView,
    module: LightningModule,
    _outputs: StepResult,
    batch: Batch,
    batchIdx: number,
  ): HookResult {
    // Within a window there is no step yet, whose time would be missing.
    const windowEnds = trainer.isLastBatch || (batchIdx + 1) % trainer.accumulateGradBatches === 0;
    return this.#update(trainer, module, batch, windowEnds ? null : "never");
  }

  override onValidationStart(trainer: TrainerView): void {
    this.#start(trainer);
  }
  override onValidationBatchEnd(
    trainer: TrainerView,
    module: LightningModule,
    _outputs: unknown,
    batch: Batch,
  ): HookResult {
    return this.#update(trainer, module, batch, this.#batchesOf(trainer) + 1);
  }
  /** What validation took is not training's time. */
  override onValidationEnd(trainer: TrainerView): void {
    const train = this.#stages.get("train");
    if (train === undefined || trainer.state.fn !== "fit") return;
    train.began = performance.now() - train.throughput.elapsed * 1e3;
  }
  override onTestStart(trainer: TrainerView): void {
    this.#start(trainer);
  }
  override onTestBatchEnd(trainer: TrainerView, module: LightningModule, _outputs: unknown, batch: Batch): HookResult {
    return this.#update(trainer, module, batch, this.#batchesOf(trainer) + 1);
  }
  override onPredictStart(trainer: TrainerView): void {
    this.#start(trainer);
  }
  override onPredictBatchEnd(
    trainer: TrainerView,
    module: LightningModule,
    _outputs: unknown,
    batch: Batch,
  ): HookResult {
    return this.#update(trainer, module, batch, this.#batchesOf(trainer) + 1);
  }
  #batchesOf({ state: { stage } }: TrainerView): number {
    return stage === null ? 0 : (this.#stages.get(stage)?.batches ?? 0);
  }
}
