import { HeldGradients, noGrad, outsideScopes, scope, userLine } from "@nbit/torch";
import type { optim, program, Tensor } from "@nbit/torch";
import { mapTensors } from "../collections.js";
import { isOverridden } from "../hooks.js";
import type { Hooks } from "../hooks.js";
import type { LightningModule } from "../module.js";
import { graphsOf } from "../precision/former-names.js";
import type { Precision } from "../precision/precision.js";
import type { GradientSync } from "../strategies/strategy.js";
import type { Batch, StepResult } from "../types.js";
import type { WarnOnce } from "../warnings.js";
import type { FitProgress } from "./progress.js";
import { CUDA_GRAPHS, Recording } from "./recording.js";
import type { GraphMaker, RecordingHost, StepGraph } from "./recording.js";
import type { ReplayedOutcome } from "./replayed-outcome.js";
import type { TrainStep } from "./train-step.js";
import { continues, ReplayPlan, roleOf, steps } from "./window-role.js";
import type { WindowRole } from "./window-role.js";
import { isError } from "@nbit/torch/realm";

/** What an error says, and which line of the user's it came from. Reads files. */
function inWords(error: unknown): string {
  if (!isError(error)) return String(error);
  const at = userLine(error.stack);
  return `${error.message.split("\n")[0] ?? ""}${at === null ? "" : `; ${at.file}:${at.line}:${at.column}`}`;
}

export interface GraphedStepParts {
  readonly step: TrainStep;
  readonly module: LightningModule;
  readonly hooks: Hooks;
  readonly host: RecordingHost;
  readonly precision: Precision;
  readonly optimizers: readonly optim.Optimizer[];
  readonly progress: FitProgress;
  readonly warnings: WarnOnce;
  readonly device: string;
  /** What exchanges gradients with other processes, if anything. */
  readonly exchange?: (Pick<GradientSync, "streamChanged"> & { readonly obstacle?: string | null }) | null;
  /** Default: CUDA's. */
  readonly graphs?: GraphMaker;
}

/**
 * Whole batches of training as CUDA graphs: forward, backward, and where a window ends unscaling, clipping, optimizer
 * and scaler update, are recorded once and replayed with one launch. New batches are copied into the memory that was
 * recorded; learning rates are read from the device.
 *
 * With several batches to a step there is a graph for each role of a batch in its window: the first clears the
 * gradients, the last steps. They share one memory pool, as only one runs at a time. Gradients outlive a batch, so they
 * lie outside it: those of the warm-up are kept, filled with zeros where they lie and added to, by eager batches too,
 * so that eager and replayed batches mix within a window.
 *
 * A batch of another shape runs eagerly, and says so once. What cannot be recorded runs eagerly for good, and {@link
 * reason} says why. While replaying, `trainingStep` is not called: its operators are. Values that it logs are logged
 * again from the memory that the graph writes; numbers that it computes in JavaScript stay those of the recorded step.
 */
export class GraphedStep {
  /** Why steps run eagerly; null while they are (or will be) replayed. */
  reason: string | null;
  /** How many batches were replayed, and all that came. */
  replayed = 0;
  #batches = 0;
  /** What was recorded of each role. */
  readonly #transcripts = new Map<WindowRole, program.Transcript>();
  readonly #parts: GraphedStepParts;
  readonly #graphs: GraphMaker;
  #plan = new ReplayPlan(1);
  /** The first of the pool; eager batches run on its stream. */
  #first: StepGraph | null = null;
  readonly #recordings = new Map<WindowRole, Recording>();
  #gradients: HeldGradients | null = null;
  readonly #inputs: Tensor[] = [];
  #batch: Batch = null;
  #shape = "";
  #latest: ReplayedOutcome | null = null;

  constructor(parts: GraphedStepParts) {
    this.#parts = parts;
    this.#graphs = parts.graphs ?? CUDA_GRAPHS;
    this.reason = this.#obstacle();
    if (this.reason !== null)
      parts.warnings.warn("WARN_NO_CUDA_GRAPH", `cudaGraph: steps run eagerly: ${this.reason}.`);
  }

  #obstacle(): string | null {
    const { module, hooks, optimizers, device } = this.#parts;
    if (this.#graphs === CUDA_GRAPHS && !device.startsWith("cuda"))
      return `CUDA graphs need a CUDA device, and this run is on ${device}`;
    const exchanged = this.#parts.exchange?.obstacle ?? null;
    if (exchanged !== null) return exchanged;
    if (!module.automaticOptimization) return "manual optimization decides in JavaScript what happens next";
    const optimizer = optimizers[0];
    if (optimizer === undefined) return "there is no optimizer";
    if (!optimizer.supportsAmpScaling)
      return `${optimizer.constructor.name} is not fused: it reads numbers from the device; pass { fused: true }`;
    for (const hook of ["onBeforeZeroGrad", "onBeforeBackward", "onAfterBackward", "onBeforeOptimizerStep"] as const)
      if (hooks.get(hook).length > 0) return `${hook} is overridden, and runs inside the step`;
    for (const hook of ["optimizerStep", "configureGradientClipping"] as const)
      if (isOverridden(module, hook)) return `${hook} is overridden`;
    return null;
  }

  /** What a batch that steps does, as operators: of the latest recording. Null: nothing was recorded. */
  get program(): program.StepProgram | null {
    return (this.#transcripts.get("whole") ?? this.#transcripts.get("closes"))?.program ?? null;
  }

  /** For `explain`: a phrase. */
  describe(): string | null {
    const { reason, replayed } = this;
    if (this.#batches === 0) return reason === null ? null : `eagerly: ${reason}`;
    if (replayed === 0 && reason !== null) return `eagerly: ${reason}`;
    const programs = [...this.#transcripts].map(([role, { program, refusal }]) => {
      const what =
        program === null ? `not written down: ${refusal ?? "it threw"}` : `${program.operators.length} operators`;
      return this.#transcripts.size === 1 ? what : `${role} ${what}`;
    });
    const others = reason === null ? "" : `; others ran eagerly: ${reason}`;
    return `${replayed} of ${this.#batches} batches replayed as CUDA graphs${programs.length === 0 ? "" : ` (${programs.join(", ")})`}${others}`;
  }

  /** What stands in the way of windows of several batches. */
  #graphUnsupportedReason(): string | null {
    const { module, precision } = this.#parts;
    if (isOverridden(module, "optimizerZeroGrad"))
      return "optimizerZeroGrad is overridden, and accumulated gradients must stay where they lie";
    return graphsOf(precision).unsupportedReason;
  }

  run(batch: Batch, batchIdx: number, windowEnds: boolean): StepResult {
    const { step, progress, optimizers, warnings } = this.#parts;
    this.#batches++;
    this.#latest?.end();
    this.#latest = null;
    for (const optimizer of optimizers) optimizer.refreshRates();
    if (this.reason === null && (this.#first === null || step.accumulate !== this.#plan.accumulate))
      this.#begin(`accumulateGradBatches is ${step.accumulate} now`);
    const first = this.#first;
    if (this.reason !== null || first === null) return step.run(batch, batchIdx, windowEnds);

    const tensors: Tensor[] = [];
    mapTensors(batch, (t) => {
      tensors.push(t);
      return t;
    });
    const shape = tensors.map((t) => `${t.dtype}[${t.shape.join(",")}]`).join(" ");
    if (this.#shape === "") this.#adopt(batch, shape);
    const role = roleOf(progress.windowOpen, windowEnds);
    this.#linkGradients(role);
    if (shape !== this.#shape) {
      warnings.warn(
        "WARN_CUDA_GRAPH_SHAPE",
        `cudaGraph: a batch of ${shape} runs eagerly; the graph was made for ${this.#shape}. Drop the last, smaller batch (dropLast: true) to replay every step.`,
      );
      return this.#runEagerly(batch, batchIdx, windowEnds);
    }
    tensors.forEach((t, i) => this.#inputs[i]?.copy_(t, true));
    const what = this.#plan.next(role);
    if (what === "eager") {
      const before = progress.globalStep;
      const result = this.#runEagerly(this.#batch, batchIdx, windowEnds);
      this.#plan.ranEagerly(progress.globalStep > before);
      return result;
    }
    const recording = what === "record" ? this.#record(role, batchIdx, windowEnds) : this.#recordings.get(role);
    return recording == null ? step.run(batch, batchIdx, windowEnds) : this.#replay(recording);
  }

  /**
   * The run is over: the graphs, their memory and the copies of inputs and learning rates go. Gradients stay with their
   * parameters, in memory of their own; what the last step did is read now, since it would be read from a graph's
   * memory later. Waits for the device.
   */
  end(): void {
    const { optimizers } = this.#parts;
    if (this.#recordings.size > 0) {
      this.#latest?.read();
      if (this.#plan.accumulate === 1) scope(() => this.#moveGradients());
    }
    this.#forget();
    for (const copy of this.#inputs.splice(0)) copy.dispose();
    for (const optimizer of optimizers) optimizer.releaseRates();
  }

  #moveGradients(): void {
    noGrad(() => {
      for (const p of this.#parameters()) if (p.grad !== null) p.grad = p.grad.clone();
    });
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

  /** What was recorded is not what steps do from here on: `why` says what made it so. */
  anew(why: string): void {
    if (this.reason === null && this.#plan.begun) this.#begin(why);
  }

  /**
   * Warm-up, for the number of batches to a step that is asked for now. What was recorded before is of no use any more,
   * and `why` says what made it so.
   */
  #begin(why: string): void {
    const { step, progress, optimizers, warnings } = this.#parts;
    const { accumulate } = step;
    if (this.#plan.begun) {
      warnings.warn("WARN_CUDA_GRAPH_ANEW", `cudaGraph: ${why}: steps are recorded anew.`);
      // Gradients that lie in the memory of a graph let go of it.
      if (!progress.windowOpen) for (const optimizer of optimizers) optimizer.zeroGrad();
    }
    this.#forget();
    this.#plan = new ReplayPlan(accumulate);
    this.#first = this.#graphs.make(null);
    this.#parts.exchange?.streamChanged?.();
    // From the first step on, also those of the warm-up: a run that is resumed steps with the same rates, to the last
    // bit, wherever its warm-up lies.
    for (const optimizer of optimizers) optimizer.keepRatesOn(this.#parts.device);
    const obstacle = accumulate > 1 ? this.#graphUnsupportedReason() : null;
    if (obstacle !== null) return this.#giveUp(obstacle, "steps run eagerly");
    step.zeroInPlace = accumulate > 1;
  }

  #forget(): void {
    for (const recording of this.#recordings.values()) recording.dispose();
    this.#recordings.clear();
    this.#first?.dispose();
    this.#first = null;
    this.#releaseGradients();
  }

  /** From here on they live as long as their parameters have them. */
  #releaseGradients(): void {
    this.#gradients?.dispose();
    this.#gradients = null;
  }

  #giveUp(reason: string, what: string): void {
    this.#parts.step.zeroInPlace = false;
    this.reason = reason;
    this.#parts.warnings.warn("WARN_NO_CUDA_GRAPH", `cudaGraph: ${what}: ${reason}.`);
    this.#forget();
  }

  #runEagerly(batch: Batch, batchIdx: number, windowEnds: boolean): StepResult {
    const { step } = this.#parts;
    const run = (): StepResult => step.run(batch, batchIdx, windowEnds);
    const result = this.#first === null ? run() : this.#first.warmUp(run);
    // From the first step on: validation, for example, forgets gradients after it.
    if (this.#plan.accumulate > 1 && windowEnds) this.#gradients ??= new HeldGradients(this.#parameters());
    return result;
  }

  /** The optimizers' and the module's: graphs add to gradients of those that no optimizer has, too. */
  #parameters(): Set<Tensor> {
    const { module, optimizers } = this.#parts;
    return new Set([...optimizers.flatMap((o) => o.paramGroups.flatMap((g) => g.params)), ...module.parameters()]);
  }

  /** Whatever became of `p.grad` since the last batch: gradients lie where graphs know them. */
  #linkGradients(role: WindowRole): void {
    if (this.#gradients === null || this.#plan.accumulate === 1 || this.#gradients.link(continues(role)) !== null)
      return;
    if (this.#plan.begun) this.#begin("a parameter has its first gradient");
    else this.#releaseGradients(); // they are held after the next step, all of them
  }

  #record(role: WindowRole, batchIdx: number, windowEnds: boolean): Recording | null {
    const { step, host, progress } = this.#parts;
    const shared = this.#plan.accumulate > 1;
    const before = { globalStep: progress.globalStep, windowOpen: progress.windowOpen };
    try {
      if (!this.#plan.begun) this.#prepare();
      step.outcomes.beginReplays();
      const recording = new Recording(
        role,
        this.#plan.begun || this.#first === null ? this.#graphs.make(this.#first) : this.#first,
        shared,
        this.#inputs,
      );
      recording.capture(step, host, () => step.run(this.#batch, batchIdx, windowEnds));
      if (!step.hadLoss) throw new Error("trainingStep returned no loss");
      if (shared && this.#gradients?.link(false) !== 0)
        throw new Error("it made new gradients, where it should add to those that were there");
      this.#recordings.set(role, recording);
      this.#transcripts.set(role, recording.transcript);
      this.#plan.recorded(role);
      return recording;
    } catch (error) {
      if (shared) this.#gradients?.undo();
      this.#giveUp(`the step could not be recorded (${inWords(error)})`, "steps run eagerly from here");
      return null;
    } finally {
      Object.assign(progress, before);
    }
  }

  /** Before the first recording. */
  #prepare(): void {
    const { optimizers } = this.#parts;
    // Gradients of a whole step lie in the graph's own memory; those of the last eager step go.
    if (this.#plan.accumulate === 1) for (const optimizer of optimizers) optimizer.zeroGrad();
    this.#gradients ??= new HeldGradients(this.#parameters());
    if (this.#plan.accumulate > 1)
      for (const p of this.#parameters())
        if (p.grad?.isSparse === true) throw new Error("sparse gradients change their size");
    // The graph has memory of its own: what the eager steps kept for reuse would lie idle beside it.
    this.#graphs.emptyCache();
  }

  #replay(recording: Recording): StepResult {
    const { step, host, progress, precision } = this.#parts;
    const result = recording.replay(host);
    this.replayed++;
    progress.windowOpen = !steps(recording.role);
    if (!progress.windowOpen) progress.globalStep++;
    step.outcome = this.#latest = recording.outcome(precision);
    return result;
  }
}
