/** What others see of a callback: find one by its class. */
export interface CallbackView {
  readonly stateKey: string;
  readonly runsLast: boolean;
  stateDict(): Record<string, unknown>;
}

/** What others see of a ModelCheckpoint. */
export interface CheckpointView extends CallbackView {
  readonly monitor: string | null;
  readonly mode: "min" | "max";
  /** Where checkpoints go; null before the first run. */
  readonly dirpath: string | null;
  /** Path of the best checkpoint; "" before the first. */
  readonly bestModelPath: string;
  readonly bestModelScore: number | null;
  readonly lastModelPath: string;
  /** Saved checkpoints by path, with the metric's value. */
  readonly bestKModels: Readonly<Record<string, number>>;
}

/** What others see of an EarlyStopping. */
export interface EarlyStoppingView extends CallbackView {
  readonly monitor: string;
  readonly mode: "min" | "max";
  readonly patience: number;
  readonly waitCount: number;
  /** The epoch in which it ended training; 0: it has not. */
  readonly stoppedEpoch: number;
  readonly bestScore: number;
}
