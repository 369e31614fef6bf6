import type { Profiling } from "../profilers/profiling.js";
import type { optim } from "@nbit/torch";
import type { Hooks } from "../hooks.js";
import type { LightningModule, ModuleHost } from "../module.js";
import type { ClipAlgorithm } from "../precision/clip.js";
import type { Precision } from "../precision/precision.js";
import type { Strategy } from "../strategies/strategy.js";
import type { WarnOnce } from "../warnings.js";
import type { NonFiniteWatch } from "./non-finite-watch.js";
import type { FitProgress } from "./progress.js";
import type { StepReplays } from "./step-replays.js";

/** What a training step works with. */
export interface TrainStepParts {
  /** Null or left out: nothing is profiled. */
  readonly profiling?: Profiling | null;
  readonly module: LightningModule;
  readonly host: ModuleHost;
  readonly hooks: Hooks;
  readonly precision: Precision;
  readonly optimizers: readonly optim.Optimizer[];
  readonly progress: FitProgress;
  readonly warnings: WarnOnce;
  readonly gradientClipVal: number | null;
  readonly gradientClipAlgorithm: ClipAlgorithm;
  /** Looks out for NaN; null: nobody does. */
  readonly watch?: NonFiniteWatch | null;
  /** Whose processes exchange gradients; null: this one trains alone. */
  readonly strategy?: Strategy | null;
  /** Activations go to the memory of the CPU until backward. */
  readonly savesOnCpu?: boolean;
  /** Steps are recorded to be compiled for another device. Default false. */
  readonly compiled?: boolean;
  /** Replays forward and backward; null: nobody does. */
  readonly replays?: StepReplays | null;
}
