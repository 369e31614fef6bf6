/** What a measured process is told, as one argument of JSON, and what it prints. python/side.py knows the same jobs. */
import type { ModelSpec } from "./models/index.js";

/**
 * Who trains: nbit by its Trainer (also without replays, and compiled by XLA's plugin for CPUs) or by a plain loop, and
 * the peers.
 */
export type SideName =
  "trainer" | "loop" | "eager" | "xla" | "pytorch" | "pytorch-keep" | "compile" | "lightning" | "jax";

export interface OptimizerSpec {
  readonly name: "AdamW" | "Adam" | "SGD";
  readonly fused: boolean;
  readonly lr: number;
}

/** Training steps of a model from seed 42 over one batch. */
export interface StepJob {
  readonly kind: "step";
  readonly side: SideName;
  readonly model: ModelSpec;
  readonly optimizer: OptimizerSpec;
  readonly precision: "32" | "bf16";
  readonly threads: number;
  readonly steps: number;
  /** Steps before the timed ones. Default: a fourth as many, at least four. */
  readonly warmUp?: number;
  /** Time all steps from the second on, as a process that has just begun takes them. */
  readonly cold?: boolean;
  /** Batches to an optimizer step, and whether casts of weights are kept between them; only nbit's Trainer. */
  readonly accumulate?: number;
  readonly cacheWeightCasts?: boolean;
  /** JAX starts from these weights of PyTorch's. */
  readonly weights?: string;
}
/** Files of MNIST as tensors, ready to train on, in a process that has read none before. */
export interface MnistJob {
  readonly kind: "mnist";
  readonly threads: number;
  readonly folder: string;
  /** Of the files' names; with `.gz` they are compressed. */
  readonly ending: "" | ".gz";
}
/**
 * What a step of almost no arithmetic takes in the Trainer beyond the same by hand, or a batch of 8 rows of a
 * TensorDataset of two tensors from a loader that shuffles beyond the same tensors gathered by hand. Both in turn, in
 * one process; what is told is the median of the differences.
 */
export interface OverheadJob {
  readonly kind: "overhead";
  readonly of: "trainer" | "loader";
  readonly threads: number;
  readonly steps: number;
  readonly rounds: number;
}
export type Job =
  | StepJob
  | { readonly kind: "add"; readonly threads: number }
  | { readonly kind: "optimizer"; readonly threads: number; readonly reference?: boolean }
  | { readonly kind: "memory"; readonly steps: number; readonly model: ModelSpec }
  | MnistJob
  | OverheadJob
  | { readonly kind: "start" }
  | { readonly kind: "versions" }
  | { readonly kind: "weights"; readonly model: ModelSpec; readonly file: string };

/** What every process says of itself. */
export interface Usage {
  /** Largest resident memory. */
  readonly peakMiB: number;
  /** Of all threads, and of child processes that ended. */
  readonly cpuSeconds: number;
  /** From the start of the process to its result. */
  readonly seconds: number;
}
export interface Result extends Usage {
  /** Median microseconds a step. */
  readonly us: number;
  /** Of the first ten steps. */
  readonly losses: readonly number[];
  /** From the start of the process to the end of the first step. */
  readonly startSeconds?: number;
  /** Processor time over time, while it was timed: how many cores were busy. */
  readonly cores?: number;
  readonly stateBytes?: number;
}

/** When the process that measures was started, for its start-up: milliseconds since 1970. */
export const STARTED = "NBIT_BENCH_STARTED";

/**
 * How many steps warm up, how many times of how many steps follow, and how many losses are compared. python/side.py
 * has the same lines.
 */
export function planOf({ steps, cold = false, warmUp: given }: Pick<StepJob, "steps" | "cold" | "warmUp">): {
  readonly warmUp: number;
  readonly chunk: number;
  readonly total: number;
  readonly checked: number;
} {
  const chunks = cold ? 1 : Math.min(20, steps);
  const warmUp = cold ? 1 : (given ?? Math.max(4, steps >> 2));
  const chunk = Math.floor(steps / chunks);
  const total = warmUp + chunk * chunks;
  return { warmUp, chunk, total, checked: Math.min(10, total) };
}
