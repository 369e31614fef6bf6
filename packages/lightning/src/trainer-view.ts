import type { amp, Device, optim } from "@nbit/torch";
import type { CallbackView, CheckpointView, EarlyStoppingView } from "./callback-view.js";
import type { CheckpointIO } from "./checkpoint/checkpoint-io.js";
import type { SaveCheckpointOptions } from "./checkpoint/file.js";
import type { DataHooks } from "./data-hooks.js";
import type { Logger } from "./loggers/logger.js";
import type { ModuleHooks } from "./module-hooks.js";
import type { Precision } from "./precision/precision.js";
import type { Strategy } from "./strategies/strategy.js";
import type { BatchLimit } from "./loops/batch-source.js";
import type { LRSchedulerConfig } from "./loops/optimizer-configuration.js";
import type { StepOutcome, TrainerState } from "./types.js";

/**
 * What callbacks, loggers and modules see of a Trainer.
 *
 * Everything is read-only except `shouldStop`. The metric records list their names for nothing; reading one value waits
 * for the device on CUDA (once per new value), as do `lossScale` and `skippedSteps`: read them at a cadence, not in
 * every step.
 */
export interface TrainerView {
  readonly state: TrainerState;
  /** The module in training; throws when no `fit`, `validate`, `test` or `predict` has attached one. */
  readonly lightningModule: ModuleHooks;
  /** The same; null where none is attached. */
  readonly model: ModuleHooks | null;
  /** The data module of the run in progress, or of the last; null: it had none. */
  readonly datamodule: DataHooks | null;

  /** Epochs completed so far, so the index of the epoch in progress. */
  readonly currentEpoch: number;
  /** Optimizer-step attempts, over all optimizers; skipped ones count. */
  readonly globalStep: number;
  /** Attempts that were skipped since gradients were not finite. */
  readonly skippedSteps: number;
  /** Index of the batch in progress within the epoch. */
  readonly batchIdx: number;

  /** That batch is the last of its epoch. */
  readonly isLastBatch: boolean;
  /** The checkpoint that this run goes on from, if any. */
  readonly ckptPath: string | null;

  readonly maxEpochs: number;
  readonly minEpochs: number;
  /** -1: no limit. */
  readonly maxSteps: number;
  readonly minSteps: number;
  /** Batches per optimizer step; a callback may change it at the start of an epoch. */
  accumulateGradBatches: number;
  readonly logEveryNSteps: number;
  readonly gradientClipVal: number | null;
  readonly gradientClipAlgorithm: "norm" | "value";
  /** Number of batches, or false. */
  readonly fastDevRun: number | false;
  readonly checkValEveryNEpoch: number | null;
  readonly valCheckInterval: number | undefined;
  readonly defaultRootDir: string;
  /** Undefined: all batches. */
  readonly limitTrainBatches: BatchLimit;
  readonly limitValBatches: BatchLimit;
  readonly limitTestBatches: BatchLimit;
  readonly limitPredictBatches: BatchLimit;
  /** 0: all batches, in an order of their own in each epoch. */
  readonly overfitBatches: number;
  /** Infinity: all. */
  readonly numSanityValSteps: number;
  /** Training batches from one validation to the next in this fit; Infinity: the end of an epoch of unknown length. */
  readonly valCheckBatch: number;
  /** 0: never. */
  readonly reloadDataloadersEveryNEpochs: number;
  readonly enableAutologHparams: boolean;
  readonly barebones: boolean;

  /** Batches of one training epoch after limits; Infinity when the loader has no length. */
  readonly numTrainingBatches: number;
  /** Per dataloader. */
  readonly numSanityValBatches: readonly number[];
  readonly numValBatches: readonly number[];
  readonly numTestBatches: readonly number[];
  readonly numPredictBatches: readonly number[];
  /** Optimizer steps that this fit will make in all; Infinity when unknown. */
  readonly estimatedSteppingBatches: number;

  /** Every metric logged, newest value of each. */
  readonly callbackMetrics: Readonly<Record<string, number>>;
  /**
   * One of them, equal in all processes: what a decision is made from that all must make alike. Values of epochs are
   * reduced, of others that of process 0 counts, with a warning. Every process calls it, at the same place.
   * `ofRanks`: what {@link metricOfRanks} has returned; default: it is asked.
   */
  agreedMetric(name: string, ofRanks?: readonly (number | undefined)[]): number | undefined;
  /** The same metric as each process has it, in the order of ranks. Every process calls it, at the same place. */
  metricOfRanks(name: string): readonly (number | undefined)[];
  /** Metrics logged with `logger: true`. */
  readonly loggedMetrics: Readonly<Record<string, number>>;
  /** Metrics logged with `progBar: true`. */
  readonly progressBarMetrics: Readonly<Record<string, number>>;

  /** Current loss scale; null when the precision uses none. */
  readonly lossScale: number | null;
  /** What the latest training iteration did; null before the first. */
  readonly lastOutcome: StepOutcome | null;

  /** The first logger, or null. */
  readonly logger: Logger | null;
  readonly loggers: readonly Logger[];
  /** Where the first logger writes, else `defaultRootDir`. The same in all processes. */
  readonly logDir: string;
  /** Those of the constructor, with those that the module configures. */
  readonly callbacks: readonly CallbackView[];
  /** The first of their kind, or null; and all of them. */
  readonly checkpointCallback: CheckpointView | null;
  readonly checkpointCallbacks: readonly CheckpointView[];
  readonly earlyStoppingCallback: EarlyStoppingView | null;
  readonly earlyStoppingCallbacks: readonly EarlyStoppingView[];
  readonly progressBarCallback: CallbackView | null;
  readonly optimizers: readonly optim.Optimizer[];
  readonly lrSchedulerConfigs: readonly LRSchedulerConfig[];
  readonly precision: Precision;
  /** The same, under Lightning's name. */
  readonly precisionPlugin: Precision;
  /** What scales the loss of float16; null: nothing does. */
  readonly scaler: amp.GradScaler | null;
  readonly strategy: Strategy;
  readonly rootDevice: Device;
  /** Indices of the devices that processes of this machine use, in the order of their local ranks. */
  readonly deviceIds: readonly number[];
  readonly numDevices: number;
  /** How loaders are shared out: `{ numReplicas, rank }`; null where one process trains alone. */
  readonly distributedSamplerKwargs: { readonly numReplicas: number; readonly rank: number } | null;
  /** This process among all of the run, and among those of its machine; 0 of 1 where it trains alone. */
  readonly globalRank: number;
  readonly localRank: number;
  readonly nodeRank: number;
  readonly worldSize: number;
  readonly numNodes: number;
  /** True in the one process that writes files and prints. */
  readonly isGlobalZero: boolean;

  readonly sanityChecking: boolean;
  readonly training: boolean;
  readonly validating: boolean;
  readonly testing: boolean;
  readonly predicting: boolean;
  /** Validation, testing, or the sanity check. */
  readonly evaluating: boolean;
  readonly enableValidation: boolean;
  /** The last run was ended by an error or by a signal. */
  readonly interrupted: boolean;
  /** SIGTERM has asked this run to end. */
  readonly receivedSigterm: boolean;

  /** The training loaders of this fit, as they are read: one, or several in a list or an object. Null: there are none. */
  readonly trainDataloader: unknown;
  readonly valDataloaders: unknown;
  readonly testDataloaders: unknown;
  readonly predictDataloaders: unknown;

  /** Set to true to end training after the current batch (once `minEpochs` and `minSteps` are met). */
  shouldStop: boolean;

  /** Whether the current step is one at which loggers are written (every `logEveryNSteps`). */
  readonly isLogStep: boolean;

  /** The step that loggers are given now: optimizer steps, counted by batches at the end of an accumulation window. */
  readonly logStep: number;

  /** Adds values that callbacks may monitor and that no module logged. */
  addCallbackMetrics(metrics: Readonly<Record<string, number>>): void;

  /** Print in one process of each machine. */
  print(...values: unknown[]): void;

  /** Where checkpoints go and come from. */
  readonly checkpointIO: CheckpointIO;
  /** Write a checkpoint of everything that a resumed run needs. Atomic: the file is complete or absent. */
  saveCheckpoint(filepath: string, options?: SaveCheckpointOptions): void;
}
