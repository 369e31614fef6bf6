/** Where in an epoch a fit stands: what has been done, so what comes next. */
export type Phase =
  /** Between epochs. */
  | "between_epochs"
  /** A batch and its hooks are done; its metrics are not logged. */
  | "batch_end"
  /** As `batch_end`, and its metrics are logged; validation, if due, is not done. */
  | "batch_logged"
  /** As `batch_logged`, and validation is done (or runs). */
  | "validated"
  /** Everything about a batch is done: the next one follows. */
  | "batch_done"
  /** The epoch's batches and end hooks are done; plateau schedulers and the epoch's log are not. */
  | "epoch_end";

export interface ProgressState {
  readonly epoch: number;
  readonly batchesDone: number;
  readonly batchIdx: number;
  readonly totalBatches: number;
  readonly globalStep: number;
  readonly batchesThatStepped: number;
  readonly windowOpen: boolean;
  readonly isLastBatch: boolean;
  readonly phase: Phase;
}

/** The epochs in which loaders were asked for; null: they have not been read. */
export interface LoadedEpochs {
  readonly training: number | null;
  readonly validation: number | null;
}

/** Counters of a fit. */
export class FitProgress {
  /** Epochs completed. */
  epoch = 0;
  /** Batches of this epoch whose step is done. */
  batchesDone = 0;
  /** Index of the batch in progress within its epoch. */
  batchIdx = 0;
  /** Batches over all epochs. */
  totalBatches = 0;
  /** Optimizer-step attempts. */
  globalStep = 0;
  /** Batches at the end of an accumulation window: the loggers' step. */
  batchesThatStepped = 0;
  /** Gradients of an unfinished accumulation window are held in the parameters. */
  windowOpen = false;
  /** The batch in progress, or just done, is the last of its epoch. */
  isLastBatch = false;
  phase: Phase = "between_epochs";

  stateDict(): ProgressState {
    return countersOf(this);
  }

  loadStateDict(state: ProgressState): void {
    Object.assign(this, countersOf(state));
  }
}

/** What a checkpoint keeps of a fit, and nothing else that a file may hold. */
function countersOf(from: ProgressState): ProgressState {
  const { epoch, batchesDone, batchIdx, totalBatches, globalStep, batchesThatStepped, windowOpen, isLastBatch, phase } =
    from;
  return { epoch, batchesDone, batchIdx, totalBatches, globalStep, batchesThatStepped, windowOpen, isLastBatch, phase };
}
