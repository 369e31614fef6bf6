/** What is known of a precision before anything runs. */
import type { CpuKernels, DType, nn } from "@nbit/torch";
import type { Accelerator } from "../accelerators/accelerator.js";
import type { MemoryForecast } from "../diagnostics/memory-forecast.js";
import type { ProcessForecast } from "../diagnostics/rank-forecast.js";

/** What the resolver found out, for `explain`. */
export interface PrecisionContext {
  /** As the user spelled it; null when a plugin was given. */
  readonly requested: unknown;
  /** Why this precision runs, one sentence each. */
  readonly reasons: readonly string[];
  readonly accelerator: Accelerator;
  readonly deviceIndex: number;
  /** The Trainer's `cpuKernels`; undefined: as `setCpuKernels` has it. */
  readonly cpuKernels?: CpuKernels;
  /**
   * What this process will hold of a module, of which `whole` says what one process alone would; null or undefined: it is
   * alone, or a strategy does not say.
   */
  readonly processForecast?: (module: nn.Module, whole: MemoryForecast) => ProcessForecast | null;
  /** How the steps of the latest fit run: replayed, or why eagerly; null or undefined: there was none. */
  readonly steps?: () => string | null;
}

/** Which dtype is where. */
export interface PrecisionDTypes {
  readonly parameters: DType;
  readonly compute: DType;
  readonly gradients: DType;
  readonly optimizerState: DType;
  readonly checkpoint: DType;
}

/** Everything in one dtype. */
export function allIn(dtype: DType): PrecisionDTypes {
  return { parameters: dtype, compute: dtype, gradients: dtype, optimizerState: dtype, checkpoint: dtype };
}
