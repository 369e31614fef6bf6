import { kinds, signature, verbatim, type Call, type OptionNames } from "@nbit/torch";
import { MisconfigurationError } from "../errors.js";
import type { LightningModule } from "../module.js";
import { runOf } from "../run-access.js";
import type { TrainerView } from "../trainer-view.js";
import type { Batch, HookResult, TrainerFn } from "../types.js";
import { Callback } from "./callback.js";

export type WriteInterval = "batch" | "epoch" | "batch_and_epoch";
export interface BasePredictionWriterOptions {
  /** After every batch (default), once at the end, or both. */
  readonly writeInterval?: WriteInterval;
}
const read = signature("BasePredictionWriter", {
  writeInterval: kinds.byDefault("batch", kinds.oneOf("batch", "epoch", "batch_and_epoch")),
} satisfies OptionNames<BasePredictionWriterOptions>);

/**
 * Base of callbacks that store what `predict` computes: override `writeOnBatchEnd`, `writeOnEpochEnd`, or both, as
 * `writeInterval` says. Pass `returnPredictions: false` to `predict` where nobody else needs them.
 *
 * `batchIndices` are positions in the loader's dataset, of the elements of each batch; null where the loader is no
 * DataLoader over positions. Of several processes each has its own batches: put `trainer.globalRank` into file names.
 *
 * @throws {MisconfigurationError} before the first batch. `ERR_PREDICTION_WRITER`: `Writer: expected writeOnEpochEnd to
 * be defined, for writeInterval: "epoch". Received: no writeOnEpochEnd.`
 * @example
 * class Lines extends BasePredictionWriter {
 *   override writeOnBatchEnd(_trainer: TrainerView, _module: LightningModule, prediction: unknown, indices: readonly number[] | null): void {
 *     appendFileSync("predictions.jsonl", `${JSON.stringify([indices, (prediction as Tensor).tolist()])}\n`);
 *   }
 * }
 */
export abstract class BasePredictionWriter extends Callback {
  readonly interval: WriteInterval;

  constructor(...given: Call<BasePredictionWriterOptions, ["writeInterval"], [writeInterval?: WriteInterval]>) {
    const { writeInterval } = read(given, new.target.name);
    super();
    this.interval = writeInterval;
  }

  /** Store what one batch gave. Tensors are those of the step, on its device, and are freed when this ends. */
  writeOnBatchEnd(
    _trainer: TrainerView,
    _module: LightningModule,
    _prediction: unknown,
    _batchIndices: readonly number[] | null,
    _batch: Batch,
    _batchIdx: number,
    _dataloaderIdx: number,
  ): HookResult {}

  /**
   * Store what all batches gave: per batch, or per loader and batch where there are several loaders; on the CPU.
   * `batchIndices`: per loader and batch.
   */
  writeOnEpochEnd(
    _trainer: TrainerView,
    _module: LightningModule,
    _predictions: readonly unknown[],
    _batchIndices: readonly (readonly (readonly number[] | null)[])[],
  ): HookResult {}

  /** @internal Whether predictions must be kept until the end. */
  get keepsPredictions(): boolean {
    return this.interval !== "batch";
  }

  override setup(_trainer: TrainerView, _module: LightningModule, stage: TrainerFn): void {
    if (stage !== "predict") return;
    const { interval } = this;
    if (interval !== "epoch") this.#require("writeOnBatchEnd");
    if (interval !== "batch") this.#require("writeOnEpochEnd");
  }
  #require(method: "writeOnBatchEnd" | "writeOnEpochEnd"): void {
    if (this[method] !== BasePredictionWriter.prototype[method]) return;
    throw new MisconfigurationError(
      this.constructor.name,
      `${method} to be defined, for writeInterval: "${this.interval}"`,
      verbatim(`no ${method}`),
      undefined,
      "ERR_PREDICTION_WRITER",
    );
  }

  override onPredictBatchEnd(
    trainer: TrainerView,
    module: LightningModule,
    outputs: unknown,
    batch: Batch,
    batchIdx: number,
    dataloaderIdx: number,
  ): HookResult {
    if (this.interval === "epoch") return;
    const indices = runOf(trainer)?.prediction?.batchIndices(dataloaderIdx, batchIdx) ?? null;
    return this.writeOnBatchEnd(trainer, module, outputs, indices, batch, batchIdx, dataloaderIdx);
  }

  override onPredictEpochEnd(trainer: TrainerView, module: LightningModule): HookResult {
    const loop = runOf(trainer)?.prediction ?? null;
    if (this.interval === "batch" || loop === null) return;
    return this.writeOnEpochEnd(trainer, module, loop.predictions, loop.epochBatchIndices);
  }
}
