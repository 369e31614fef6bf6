/** What fit, validate, test and predict take beside the module. */
import type { DType, Iterables } from "@nbit/torch";
import type { LightningDataModule } from "./datamodule.js";

/**
 * A loader; several in lists and objects, or in a CombinedLoader; or nothing (those of the module are asked for then).
 *
 * Several of training are read together: each batch has one of each, in their structure, and those that are shorter
 * than the longest begin again (a CombinedLoader says otherwise). Several of evaluation are read one after the other.
 */
export type Loaders = Iterables | null | undefined;

export interface FitOptions {
  readonly trainDataloaders?: Loaders | LightningDataModule;
  readonly valDataloaders?: Loaders;
  /** What brings the loaders, instead of them. */
  readonly datamodule?: LightningDataModule | null;
  /** A checkpoint to go on from: a path, "last" or "best". */
  readonly ckptPath?: string | null;
  /**
   * Weights of the checkpoint are rounded to this dtype when they are read: what a smaller file would give. The module
   * keeps the dtype of the precision.
   */
  readonly ckptDtype?: DType;
  /**
   * Ends the run when it is aborted, as Ctrl-C does: after the batch in progress, with a checkpoint of a fit where
   * checkpoints are written. The call rejects with an `InterruptError`, whose `cause` is the signal's reason. One
   * that was aborted before: nothing begins.
   */
  readonly signal?: AbortSignal | null;
}

export interface EvaluateOptions {
  readonly dataloaders?: Loaders | LightningDataModule;
  /** What brings the loaders, instead of them. */
  readonly datamodule?: LightningDataModule | null;
  /** A checkpoint whose weights to use: a path, "last" or "best". */
  readonly ckptPath?: string | null;
  /**
   * Weights of the checkpoint are rounded to this dtype when they are read: what a smaller file would give. The module
   * keeps the dtype of the precision.
   */
  readonly ckptDtype?: DType;
  /**
   * Ends the run when it is aborted, as Ctrl-C does: after the batch in progress, with a checkpoint of a fit where
   * checkpoints are written. The call rejects with an `InterruptError`, whose `cause` is the signal's reason. One
   * that was aborted before: nothing begins.
   */
  readonly signal?: AbortSignal | null;
}

/** Of validate and test. */
export interface MetricOptions extends EvaluateOptions {
  /** Print the metrics as a table. Default false: whoever calls has them. */
  readonly verbose?: boolean;
}

export interface PredictOptions extends EvaluateOptions {
  /** False: leave it to callbacks to take what `predictStep` returns. Default true. */
  readonly returnPredictions?: boolean;
  /**
   * With several processes: each gets the predictions of all, in the order of one process, where the Trainer dealt out
   * the loader's batches. Default false: those of its own batches, every `worldSize`-th from `globalRank` on.
   */
  readonly gather?: boolean;
}
