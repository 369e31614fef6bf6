import type { Device, DType, nn, optim, Tensor } from "@nbit/torch";
import type { MemoryForecast } from "../diagnostics/memory-forecast.js";
import type { RankForecast } from "../diagnostics/rank-forecast.js";
import type { ClipAlgorithm } from "../precision/clip.js";
import type { Precision } from "../precision/precision.js";
import type { Batch } from "../types.js";

/**
 * What a strategy of several processes does around each forward and backward of training. `sync`: gradients are
 * complete after this batch, so that its backward is to exchange them; false within an accumulation window.
 */
export interface GradientSync {
  beforeForward(sync: boolean): void;
  /** `loss`: what backward starts from. */
  beforeBackward(loss: Tensor, sync: boolean): void;
  afterBackward(sync: boolean): void;
  /**
   * Backward starts from what this returns: a loss that counts this process among those that have one, and, where it is
   * not `finite`, tells all with the gradients.
   */
  countLoss?(loss: Tensor, finite: boolean): Tensor;
  /** After an exchange: whether every loss that was counted was finite. Waits for the device. Undefined: not told. */
  readonly allFinite?: boolean | undefined;
  /**
   * Where backward is a common act that a process without a loss cannot take part in: the worst of all. Where one has
   * none, no process calls backward. One message for each batch.
   */
  worstLoss?(mine: LossState): LossState;
  /**
   * This process has no loss, and others may have one: a loss of 0, whose backward takes part in the exchange.
   * `windowOpen`: it has gradients of earlier batches, which travel now.
   */
  noLoss?(windowOpen: boolean): Tensor;
  /** After an exchange: whether any process had a loss, or gradients of earlier batches. Waits for the device. */
  readonly anyLoss?: boolean;
  /** Steps run on another stream from here on: a graph is recorded on one of its own. */
  streamChanged?(): void;
  /** Parameters were something else for a while, such as cast to another dtype: what was hooked to them is gone. */
  parametersChanged?(): void;
}

/** Of the loss of one process, or the worst of all: the last is. */
export const LOSS_STATES = ["finite", "not finite", "none"] as const;
export type LossState = (typeof LOSS_STATES)[number];

/** What the processes of a run tell each other. Every process calls the same, in the same order; each call blocks. */
export interface Collectives {
  /** Whether any process says so. */
  agree(flag: boolean): boolean;
  /** The greatest number of any. */
  greatest(value: number): number;
  /** Replaces `tensor` by its sum, mean, least or greatest over all processes. */
  reduce(tensor: Tensor, op: "sum" | "avg" | "min" | "max"): void;
  /** That of process 0. */
  broadcastObject<T>(value: T): T;
  /** Of every process, in the order of ranks. */
  allGatherObject<T>(value: T): T[];
  /** Of every process, in process 0; null in the others. */
  gatherBytes(bytes: Uint8Array): Uint8Array[] | null;
  barrier(): void;
}

/** Where the module lives and how its processes act together. What is optional, one process does without. */
export interface Strategy {
  readonly name: string;
  readonly rootDevice: Device;
  /** Index of this process among all. */
  readonly globalRank: number;
  readonly worldSize: number;
  readonly isGlobalZero: boolean;
  /** Index among those of its machine; of its machine; how many machines. Default 0, 0 and 1. */
  readonly localRank?: number;
  readonly nodeRank?: number;
  readonly numNodes?: number;

  /**
   * When the Trainer is made: its device, for a strategy that was made for none.
   * @throws {MisconfigurationError} where it was made for another.
   */
  onDevice?(device: Device): void;
  /** When the Trainer is made. @throws {MisconfigurationError} where the two do not go together. */
  checkPrecision?(precision: Precision, validationPrecision: Precision | null): void;
  /** How checkpoints are saved: "full" (default), one file; "sharded", a folder to which every process writes a part. */
  readonly stateDictType?: "full" | "sharded";

  /** Join the other processes: before anything else of a run. Joined already: nothing. */
  connect?(): Promise<void>;
  /** Move parameters and buffers to the device, and make them equal in all processes. */
  setupModule(module: nn.Module): void;
  /** A fit has its optimizers, and the precision is not yet connected to them: shards take parameters' places. */
  setupOptimizers?(module: nn.Module, optimizers: readonly optim.Optimizer[]): void;
  /** Parameters are what they will stay: from here on gradients are exchanged. `manual`: by manual optimization. */
  setupGradients?(module: nn.Module, manual: boolean): void;
  /** Move every tensor of a batch to the device. Returns the batch itself when it is there already. */
  toDevice(batch: Batch): Batch;

  /** Within a fit every forward is a common act of all processes: they validate equally many batches. Default false. */
  readonly forwardExchanges?: boolean;
  readonly gradients?: GradientSync | null;
  /**
   * In which order gradients travel, by names of parameters; null: no backward has shown it. Sums over more than two
   * processes are rounded by it, so it is part of a checkpoint.
   */
  readonly bucketOrder?: readonly string[] | null;
  /** Go on with that of a checkpoint: before the first forward of a fit. One of other parameters is passed over. */
  restoreBucketOrder?(order: readonly string[] | null): void;
  readonly collectives?: Collectives | null;
  /**
   * Where parameters or optimizer state are shared out: state dicts as those of one process, whose tensors are copies.
   * Undefined: the module's and the optimizer's own. Every process calls them.
   */
  stateDict?(module: nn.Module): nn.StateDict;
  optimizerState?(module: nn.Module, optimizer: optim.Optimizer): optim.OptimizerState;
  /** `read`: elements of what a tensor on the device "meta" stands for, which is still in a file. */
  loadOptimizerState?(
    module: nn.Module,
    optimizer: optim.Optimizer,
    state: Readonly<Record<string, unknown>>,
    read?: (placeholder: Tensor, start: number, end: number) => Tensor,
  ): void;
  /** Gradients of a window that is not over, by names of parameters. */
  gradientDict?(module: nn.Module): ReadonlyMap<string, Tensor>;
  /**
   * Run `fn`, a forward and backward that only look: nothing is averaged, no gradient stays, and `look` is shown each
   * whole, of this process's own batch. Undefined: gradients are the parameters' own. Every process calls it.
   */
  rehearse?<T>(fn: () => T, look: (name: string, gradient: Tensor) => void): T;
  /** Gather parameters in another dtype from here on, null: as ever. False: each process has them whole, to be cast. */
  castParameters?(module: nn.Module, dtype: DType | null): boolean;
  /** Write to `found`, float32 `[]`, whether any process found a gradient that is not finite. */
  readonly reduceFoundInf?: ((found: Tensor) => void) | null;
  /** Why steps cannot be recorded in a CUDA graph, in words. */
  readonly graphObstacle?: string | null;
  /** Clip what an optimizer steps, where that is a share of the gradients; undefined: each process has them whole. */
  clip?(optimizer: optim.Optimizer, params: readonly Tensor[], value: number, algorithm: ClipAlgorithm): Tensor | null;

  /**
   * Bytes that a process will hold of a module, of which `whole` says what one process alone would. Undefined: as `whole`.
   * Null: the module is shared out now.
   */
  forecast?(module: nn.Module, whole: MemoryForecast, worldSize: number): RankForecast | null;

  /** The training step that errors of any process are to name. */
  step?(globalStep: number): void;
  /** This process's run fails: the others are told. */
  fail?(error: unknown): void;
  /** The run is over: its exchange of gradients ends; processes stay joined. */
  endRun?(): void;
}
