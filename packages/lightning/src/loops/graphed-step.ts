import { cuda, memory, outsideScopes, scope, Tensor } from "@nbit/torch";
import type { optim } from "@nbit/torch";
import { mapTensors } from "../collections.js";
import { isOverridden } from "../hooks.js";
import type { Hooks } from "../hooks.js";
import type { LogValue } from "../logging/metric.js";
import type { LogOptions } from "../logging/results.js";
import type { LightningModule, ModuleHost } from "../module.js";
import type { Precision } from "../precision/precision.js";
import type { Batch, StepOutcome, StepResult } from "../types.js";
import type { WarnOnce } from "../warnings.js";
import type { FitProgress } from "./progress.js";
import type { TrainStep } from "./train-step.js";

export interface GraphedStepParts {
  readonly step: TrainStep;
  readonly module: LightningModule;
  readonly hooks: Hooks;
  readonly host: ModuleHost & { currentHook: string | null };
  readonly precision: Precision;
  readonly optimizers: readonly optim.Optimizer[];
  readonly progress: FitProgress;
  readonly warnings: WarnOnce;
  readonly device: string;
}

/** Steps run eagerly before recording: allocations, autotuning and optimizer state are then settled. */
const WARM_UP_STEPS = 3;

interface LogCall {
  readonly name: string;
  readonly value: LogValue;
  readonly options: LogOptions;
}

/**
 * Whole training steps as one CUDA graph: forward, backward, unscaling, clipping, optimizer and scaler update are recorded once and replayed
 * with one launch. New batches are copied into the memory that was recorded; learning rates are read from the device.
 *
 * A batch of another shape runs eagerly, and says so once. What cannot be recorded runs eagerly for good, and {@link reason} says why. While replaying, `trainingStep` is
 * not called: its operators are. Values that it logs are logged again from the memory that the graph writes; numbers that it computes in JavaScript stay
 * those of the recorded step.
 */
export class GraphedStep {
  /** Why steps run eagerly; null while they are (or will be) replayed. */
  reason: string | null;
  /** How many steps were replayed. */
  replayed = 0;
  readonly #parts: GraphedStepParts;
  #graph: cuda.CudaGraph | null = null;
  #recorded = false;
  #warmUps = 0;
  #inputs: Tensor[] = [];
  #batch: Batch = null;
  #shape = "";
  #logs: LogCall[] = [];
  #result: StepResult = {};
  #captured: StepOutcome | null = null;

  constructor(parts: GraphedStepParts) {
    this.#parts = parts;
    this.reason = this.#obstacle();
    if (this.reason !== null) parts.warnings.warn("WARN_NO_CUDA_GRAPH", `cudaGraph: steps run eagerly: ${this.reason}.`);
  }

  #obstacle(): string | null {
    const { module, hooks, optimizers, step, device } = this.#parts;
    if (!device.startsWith("cuda")) return `CUDA graphs need a CUDA device, and this run is on ${device}`;
    if (!module.automaticOptimization) return "manual optimization decides in JavaScript what happens next";
    if (step.accumulate !== 1) return "accumulateGradBatches is not 1";
    const optimizer = optimizers[0];
    if (optimizer === undefined) return "there is no optimizer";
    if (!optimizer.supportsAmpScaling) return `${optimizer.constructor.name} is not fused: it reads numbers from the device; pass { fused: true }`;
    for (const hook of ["onBeforeZeroGrad", "onBeforeBackward", "onAfterBackward", "onBeforeOptimizerStep"] as const)
      if (hooks.get(hook).length > 0) return `${hook} is overridden, and runs inside the step`;
    for (const hook of ["optimizerStep", "configureGradientClipping"] as const) if (isOverridden(module, hook)) return `${hook} is overridden`;
    return null;
  }

  run(batch: Batch, batchIdx: number, windowEnds: boolean): StepResult {
    const { step } = this.#parts;
    if (this.reason !== null) return step.run(batch, batchIdx, windowEnds);
    const graph = (this.#graph ??= new cuda.CudaGraph());
    const tensors: Tensor[] = [];
    mapTensors(batch, (t) => {
      tensors.push(t);
      return t;
    });
    const shape = tensors.map((t) => `${t.dtype}[${t.shape.join(",")}]`).join(" ");
    if (this.#shape === "") this.#adopt(batch, shape);
    if (shape !== this.#shape) {
      this.#parts.warnings.warn("WARN_CUDA_GRAPH_SHAPE", `cudaGraph: a batch of ${shape} runs eagerly; the graph was made for ${this.#shape}. Drop the last, smaller batch (dropLast: true) to replay every step.`);
      return graph.warmUp(() => step.run(batch, batchIdx, windowEnds));
    }
    tensors.forEach((t, i) => this.#inputs[i]?.copy_(t, true));
    if (this.#warmUps < WARM_UP_STEPS) {
      this.#warmUps++;
      return graph.warmUp(() => step.run(this.#batch, batchIdx, windowEnds));
    }
    if (!this.#recorded && !this.#record(graph, batchIdx, windowEnds)) return step.run(batch, batchIdx, windowEnds);
    return this.#replay(graph);
  }

  #adopt(batch: Batch, shape: string): void {
    this.#shape = shape;
    this.#batch = outsideScopes(() =>
      mapTensors(batch, (t) => {
        const copy = t.clone();
        this.#inputs.push(copy);
        return copy;
      }),
    );
  }

  #record(graph: cuda.CudaGraph, batchIdx: number, windowEnds: boolean): boolean {
    const { step, host, optimizers, progress } = this.#parts;
    for (const optimizer of optimizers) optimizer.keepRatesOn(this.#parts.device);
    this.#parts.precision.beginReplays();
    // The graph has memory of its own: what the eager steps kept for reuse would lie idle beside it.
    cuda.emptyCache();
    // The gradients of the last eager step go first: those of the graph live in its own memory.
    for (const optimizer of optimizers) optimizer.zeroGrad();
    const before = { globalStep: progress.globalStep, windowOpen: progress.windowOpen };
    progress.windowOpen = false;
    const log = host.log;
    host.log = (name, value, options) => {
      this.#logs.push({ name, value: value instanceof Tensor ? outsideScopes(() => value.detach()) : value, options });
    };
    const live = memory().tensors;
    try {
      this.#result = scope(() => outsideScopesOf(graph.capture(() => step.run(this.#batch, batchIdx, windowEnds))));
      this.#captured = step.outcome;
      this.#recorded = true;
    } catch (error) {
      this.reason = `the step could not be recorded (${error instanceof Error ? (error.message.split("\n")[0] ?? "") : String(error)}; ${memory().tensors - live} tensors)`;
      this.#parts.warnings.warn("WARN_NO_CUDA_GRAPH", `cudaGraph: steps run eagerly from here: ${this.reason}.`);
    } finally {
      host.log = log;
      Object.assign(progress, before);
    }
    return this.#recorded;
  }

  #replay(graph: cuda.CudaGraph): StepResult {
    const { step, host, optimizers, progress, precision } = this.#parts;
    for (const optimizer of optimizers) optimizer.refreshRates();
    graph.replay();
    this.replayed++;
    progress.globalStep++;
    progress.windowOpen = false;
    if (this.#logs.length > 0) {
      const before = host.currentHook;
      host.currentHook = "trainingStep";
      for (const { name, value, options } of this.#logs) host.log(name, value, options);
      host.currentHook = before;
    }
    step.outcome = replayedOutcome(precision, this.#captured);
    return this.#result;
  }
}

/** What the graph wrote must outlive the scope of the step that recorded it. */
function outsideScopesOf(result: StepResult): StepResult {
  return outsideScopes(() => {
    const kept: StepResult = {};
    for (const [name, value] of Object.entries(result)) kept[name] = value instanceof Tensor ? value.detach() : value;
    return kept;
  });
}

function replayedOutcome(precision: Precision, captured: StepOutcome | null): StepOutcome {
  return {
    get stepped() {
      return !precision.lastStepSkipped;
    },
    get skipped() {
      return precision.lastStepSkipped;
    },
    get lossScale() {
      return precision.lossScale ?? 1;
    },
    get gradNorm() {
      return captured?.gradNorm;
    },
  };
}
