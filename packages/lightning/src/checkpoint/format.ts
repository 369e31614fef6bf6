import { kinds, type Tensor } from "@nbit/torch";
import type { EvaluationState } from "../loops/evaluation-state.js";
import type { LogState } from "../loggers/states.js";
import type { FetcherState } from "../loops/fetch.js";
import type { MetricState } from "../logging/metric.js";
import type { LoadedEpochs, ProgressState } from "../loops/progress.js";
import type { MetricObjectState } from "../logging/metric-object.js";
import type { RngState } from "../rng.js";

/**
 * Version of the layout below; a reader refuses newer ones. In format 1, gradients of an open window may be multiplied
 * by the loss scale, or not.
 */
export const CHECKPOINT_FORMAT = 2;

/** What a checkpoint is written as: this package's own file, or Lightning's, which Python reads. */
export type CheckpointFormat = "safetensors" | "lightning";
/** @internal */
export const checkpointFormat = kinds.oneOf("safetensors", "lightning");

/** Where a fit stood. */
export interface LoopsState {
  readonly progress: ProgressState;
  readonly fetcher: FetcherState;
  /** Running sums of the epoch's metrics. */
  readonly metrics: readonly MetricState[];
  /** Metrics of the module's that count by themselves, and were logged in this epoch; absent: none. */
  readonly metricObjects?: readonly MetricObjectState[] | undefined;
  /** Values that callbacks saw last. */
  readonly callbackMetrics: Record<string, number>;
  /** Unscaled gradients of an accumulation window that was open, by parameter name; null otherwise. */
  readonly gradients: Record<string, Tensor> | null;
  /** In which order gradients of several processes travel, by parameter name; null or absent: not known. */
  readonly bucketOrder?: readonly string[] | null | undefined;
  /** Samples in each of this process's batches; null or absent: not known. */
  readonly batchSize?: number | null | undefined;
  /** When loaders were asked for; absent: they are never asked for again. */
  readonly loaded?: LoadedEpochs | undefined;
  /** Where validation stood, absent when there is none: batches seen and the state of each of its loaders. */
  readonly validation?: EvaluationState | undefined;
}

/** What differs between processes that train together. */
export interface RankState {
  readonly rng?: RngState | undefined;
  readonly loops?: Pick<
    LoopsState,
    "fetcher" | "batchSize" | "metrics" | "metricObjects" | "callbackMetrics" | "validation"
  > & {
    /** Absent: those of process 0 are those of all. */
    readonly gradients?: Record<string, Tensor> | null;
  };
  /** Buffers of the module that are not as in process 0. */
  readonly buffers: Readonly<Record<string, Tensor>>;
}

/** What is saved of a data module. */
export interface DatamoduleState {
  /** Of its class: the state is given back to one of the same. */
  readonly name: string;
  readonly hyperparameters: Readonly<Record<string, unknown>>;
  readonly state: Record<string, unknown>;
}

/**
 * What a checkpoint file holds. Tensors anywhere in it are stored as safetensors, everything else as JSON beside them:
 * plain values only (numbers, strings, booleans, null, bigints, arrays, objects). Hooks may add entries of their own.
 */
export interface Checkpoint {
  readonly format: number;
  readonly epoch: number;
  readonly globalStep: number;
  stateDict: Record<string, Tensor>;
  hyperparameters: Record<string, unknown>;
  /** Of the class of the module, whose hyperparameters they are; absent: not known. */
  readonly moduleName?: string;
  /** Where a data module took part that has hyperparameters or a state. */
  readonly datamodule?: DatamoduleState;
  /** Everything below is absent from checkpoints of weights only. */
  readonly precision?: { readonly name: string; readonly state: Record<string, unknown> | null };
  readonly optimizerStates?: readonly Record<string, unknown>[];
  readonly lrSchedulers?: readonly Record<string, unknown>[];
  readonly callbacks?: Record<string, Record<string, unknown>>;
  readonly loops?: LoopsState;
  readonly loggers?: readonly LogState[];
  readonly rng?: RngState;
  /** Of processes 1, 2, …, where several trained: `rng` and `loops` are those of process 0. */
  readonly ranks?: readonly RankState[];
  /** In memory only, once it is read: of {@link ranks}, this process's. */
  readonly rankBuffers?: Readonly<Record<string, Tensor>>;
  [key: string]: unknown;
}
