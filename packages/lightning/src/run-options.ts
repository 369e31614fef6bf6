/** What fit, validate, test and predict take beside the module. */
import type { DType } from "@nbit/torch";
import type { Loader } from "./loops/fetch.js";

/** A loader, a list of loaders, or nothing (the module's own loader is asked then). */
export type Loaders = Loader | readonly Loader[] | null | undefined;

export interface FitOptions {
  readonly trainDataloaders?: Loaders;
  readonly valDataloaders?: Loaders;
  /** A checkpoint to go on from: a path, "last" or "best". */
  readonly ckptPath?: string | null;
  /**
   * Weights of the checkpoint are rounded to this dtype when they are read: what a smaller file would give. The module
   * keeps the dtype of the precision.
   */
  readonly ckptDtype?: DType;
}

export interface EvaluateOptions {
  readonly dataloaders?: Loaders;
  /** A checkpoint whose weights to use: a path, "last" or "best". */
  readonly ckptPath?: string | null;
  /**
   * Weights of the checkpoint are rounded to this dtype when they are read: what a smaller file would give. The module
   * keeps the dtype of the precision.
   */
  readonly ckptDtype?: DType;
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
