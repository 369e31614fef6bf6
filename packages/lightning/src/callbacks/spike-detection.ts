import { mkdirSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { kinds, NbitError, signature, Tensor, withFile, type Call, type OptionNames } from "@nbit/torch";
import { anyNumber, count, fieldsOf, listOf, oneOf, orNull, text } from "@nbit/torch/schema";
import { checkState } from "../checkpoint/schema.js";
import type { LightningModule } from "../module.js";
import type { TrainerView } from "../trainer-view.js";
import type { Batch, StepResult } from "../types.js";
import { Callback } from "./callback.js";

/** Training ended since the loss jumped. */
export class TrainingSpikeException extends NbitError {
  constructor(readonly batchIdx: number) {
    super(`SpikeDetection: the loss of batch ${batchIdx} is a spike.`, "ERR_TRAINING_SPIKE");
  }
}

export interface SpikeDetectionOptions {
  /** Whether smaller ("min", default) or larger losses are better. */
  readonly mode?: "min" | "max";
  /** Losses in the mean that a loss is held against. Default 10. */
  readonly window?: number;
  /** Batches of an epoch that are only counted in. Default 1. */
  readonly warmup?: number;
  /** A spike is at least this far from the mean. Default null: no such limit. */
  readonly atol?: number | null;
  /** A spike is at least this many times the mean away from it. Default 2; null: no such limit. */
  readonly rtol?: number | null;
  /**
   * Where the indices of batches to leave out are written: a JSON file, or a folder for `skip_batches.json`. Default
   * null: below the Trainer's `defaultRootDir`.
   */
  readonly excludeBatchesPath?: string | null;
  /** A loss that is NaN or infinite is a spike. Default true. */
  readonly finiteOnly?: boolean;
}
const { byDefault, real, whole } = kinds;
const read = signature("SpikeDetection", {
  mode: byDefault("min", kinds.oneOf("min", "max")),
  window: byDefault(10, whole("[1, ∞)")),
  warmup: byDefault(1, whole("[0, ∞)")),
  atol: byDefault(null, kinds.orNull(real())),
  rtol: byDefault(2, kinds.orNull(real())),
  excludeBatchesPath: byDefault(null, kinds.orNull(kinds.filled)),
  finiteOnly: byDefault(true, kinds.flag),
} satisfies OptionNames<SpikeDetectionOptions>);
type SpikeDetectionCall = Call<
  SpikeDetectionOptions,
  ["mode", "window", "warmup", "atol", "rtol", "excludeBatchesPath", "finiteOnly"],
  [
    mode?: "min" | "max",
    window?: number,
    warmup?: number,
    atol?: number | null,
    rtol?: number | null,
    excludeBatchesPath?: string | null,
    finiteOnly?: boolean,
  ]
>;

const STATE = fieldsOf({
  lastVal: anyNumber,
  mode: oneOf("min", "max"),
  warmup: count,
  atol: orNull(anyNumber),
  rtol: orNull(anyNumber),
  badBatches: listOf(anyNumber),
  badBatchesPath: orNull(text),
  running: listOf(anyNumber),
});

/**
 * Ends training when the loss jumps, and writes down which batches to leave out: the one whose loss it is, and the one
 * before, after whose step it was computed.
 *
 * A loss is a spike when it is worse than the one before and differs from the mean of the last `window` losses by at
 * least `atol` and at least `rtol` times that mean. With several processes, one of them is enough. Reads the loss of
 * every batch, which waits for the device.
 *
 * @throws {TrainingSpikeException} out of `fit`. `ERR_TRAINING_SPIKE`: `SpikeDetection: the loss of batch 7 is a spike.`
 * @example new SpikeDetection({ window: 20, rtol: 3 });
 */
export class SpikeDetection extends Callback {
  mode: "min" | "max";
  warmup: number;
  atol: number | null;
  rtol: number | null;
  excludeBatchesPath: string | null;
  /** Indices of batches, within their epochs, to leave out. */
  badBatches: number[] = [];
  readonly window: number;
  readonly finiteOnly: boolean;
  #last = 0;
  #running: number[] = [];

  constructor(...given: SpikeDetectionCall) {
    const a = read(given, new.target.name);
    super();
    this.mode = a.mode;
    this.window = a.window;
    this.warmup = a.warmup;
    this.atol = a.atol;
    this.rtol = a.rtol;
    this.excludeBatchesPath = a.excludeBatchesPath;
    this.finiteOnly = a.finiteOnly;
  }

  override onTrainBatchEnd(
    trainer: TrainerView,
    _module: LightningModule,
    outputs: StepResult,
    _batch: Batch,
    batchIdx: number,
  ): void {
    const loss = lossOf(outputs);
    const mine = loss !== null && batchIdx >= this.warmup && this.#isSpike(loss);
    if (trainer.strategy.collectives?.agree(mine) ?? mine) this.#end(trainer, batchIdx);
    if (loss === null || !Number.isFinite(loss)) return;
    this.#running = [...this.#running, loss].slice(-this.window);
    this.#last = loss;
  }

  #isSpike(loss: number): boolean {
    if (this.finiteOnly && !Number.isFinite(loss)) return true;
    const change = loss - this.#last;
    if (this.mode === "min" ? change <= 0 : change >= 0) return false;
    const mean = this.#running.reduce((sum, value) => sum + value, 0) / this.#running.length;
    const apart = Math.abs(loss - mean);
    return (
      (this.atol === null || apart >= Math.abs(this.atol)) &&
      (this.rtol === null || apart >= Math.abs(this.rtol * mean))
    );
  }

  #end(trainer: TrainerView, batchIdx: number): never {
    this.badBatches = [...this.badBatches, batchIdx - 1, batchIdx];
    const path = this.#pathIn(trainer.defaultRootDir);
    this.excludeBatchesPath = path;
    if (trainer.isGlobalZero)
      withFile("SpikeDetection", "write", path, () => {
        mkdirSync(dirname(path), { recursive: true });
        writeFileSync(path, `${JSON.stringify(this.badBatches, null, 4)}\n`);
      });
    throw new TrainingSpikeException(batchIdx);
  }
  #pathIn(root: string): string {
    const path = this.excludeBatchesPath ?? root;
    return path.endsWith(".json") ? path : join(path, "skip_batches.json");
  }

  override stateDict(): Record<string, unknown> {
    return {
      lastVal: this.#last,
      mode: this.mode,
      warmup: this.warmup,
      atol: this.atol,
      rtol: this.rtol,
      badBatches: [...this.badBatches],
      badBatchesPath: this.excludeBatchesPath,
      running: [...this.#running],
    };
  }
  override loadStateDict(state: Record<string, unknown>): void {
    const saved = checkState("SpikeDetection.loadStateDict", STATE, state);
    this.#last = saved.lastVal;
    this.mode = saved.mode;
    this.warmup = saved.warmup;
    this.atol = saved.atol;
    this.rtol = saved.rtol;
    this.badBatches = [...saved.badBatches];
    this.excludeBatchesPath = saved.badBatchesPath;
    this.#running = [...saved.running];
  }
}

/** Null: the step had none. */
function lossOf({ loss }: StepResult): number | null {
  if (loss instanceof Tensor) return loss.item();
  return typeof loss === "number" ? loss : null;
}
