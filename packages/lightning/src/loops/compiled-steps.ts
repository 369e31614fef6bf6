import { HeldGradients, outsideScopes, verbatim } from "@nbit/torch";
import type { optim, Tensor } from "@nbit/torch";
import { CompiledStep, type StepDevice, type StepRun } from "@nbit/xla/step";
import { eachTensor } from "../collections.js";
import { analysisText } from "../diagnostics/analysis-text.js";
import { NonFiniteError } from "../diagnostics/non-finite.js";
import { MisconfigurationError } from "../errors.js";
import type { Hooks } from "../hooks.js";
import type { LightningModule } from "../module.js";
import type { Batch, StepResult } from "../types.js";
import type { WarnOnce } from "../warnings.js";
import { checkCompilable, signatureOf } from "./compilable.js";
import { HostState } from "./host-state.js";
import { BatchRecording, type CompiledBatch } from "./compiled-batch.js";
import type { DeviceMemory } from "./device-memory.js";
import { Flights } from "./flights.js";
import { waitFor, type MaybePending } from "./pending.js";
import type { FitProgress } from "./progress.js";
import type { RecordingHost } from "./recording.js";
import type { ReplayedOutcome } from "./replayed-outcome.js";
import type { TrainStep } from "./train-step.js";
import { continues, roleOf, steps, type WindowRole } from "./window-role.js";

/** Programs that are kept: of batches of so many shapes, in each of their roles in a window. */
const MOST = 8;
/** From so many shapes on it is said what they cost. */
const MANY = 5;
/** Steps that have begun when the next batch is fetched: numbers are read one step late. */
const IN_FLIGHT = 1;

export interface CompiledStepsParts {
  readonly step: TrainStep;
  readonly module: LightningModule;
  readonly hooks: Hooks;
  readonly host: RecordingHost;
  readonly optimizers: readonly optim.Optimizer[];
  readonly progress: FitProgress;
  readonly warnings: WarnOnce;
  readonly memory: DeviceMemory;
  /** Devices that one program runs on, each with a part of the batch. */
  readonly partitions: number;
  /** Parameters and optimizer state are split among them, too. */
  readonly shardState: boolean;
  readonly float32MatmulPrecision: "highest" | "high" | "medium";
  /** Ends the run when a loss is not finite; it is looked at when the device has it, one step late. */
  readonly detectNonFinite: boolean;
  /** Told of each program that was compiled, in a line. */
  readonly say: (line: string) => void;
}

/**
 * Whole batches of training as compiled programs of another device. The first step of a new optimizer runs on the host,
 * which settles what it remembers. The next is run there once more, to record it, and undone; it is lowered and compiled,
 * and from there on parameters, buffers and optimizer state stay on the device, and a batch costs its transfer and one
 * call. So a run that resumes does the same as one that went on. Tensors of the host get the device's values when
 * somebody uses them: checkpoints, validation, a callback.
 *
 * There is a program for each shape of a batch and each of its roles in a window of several batches. `trainingStep` is
 * called while a program is recorded, and not afterwards: tensors that it logs or returns are computed anew, numbers of
 * JavaScript stay those of the recorded step.
 */
export class CompiledSteps {
  /** Batches that ran on the device. */
  replayed = 0;
  #batches = 0;
  readonly #parts: CompiledStepsParts;
  readonly #device: StepDevice;
  /** By signature, the latest used last. */
  readonly #programs = new Map<string, CompiledBatch>();
  readonly #flights = new Flights();
  #gradients: HeldGradients | null = null;
  /** The same as tensors. */
  readonly #gradientTensors: Tensor[] = [];
  /** Of the programs: another number of batches to a step makes others. */
  #accumulate: number;
  /** The optimizer has stepped, so that its state is there. */
  #ready: boolean;
  #compiled = 0;
  #loss: Tensor | null = null;
  #latest: ReplayedOutcome | null = null;
  /** Of the programs, when they are gone. */
  #described: readonly string[] = [];

  constructor(parts: CompiledStepsParts) {
    this.#parts = parts;
    this.#device = parts.memory.device;
    this.#accumulate = parts.step.accumulate;
    this.#ready = false;
    checkCompilable({ ...parts, device: this.#device });
    parts.step.sawLoss = (loss) => {
      this.#loss?.dispose();
      this.#loss = outsideScopes(() => loss.detach());
    };
  }

  run(batch: Batch, batchIdx: number, windowEnds: boolean): MaybePending<StepResult> {
    this.#batches++;
    return this.#next(batch, batchIdx, windowEnds);
  }

  /** Look at the losses that are still on their way: before what comes after an epoch. Waits for the device. */
  settle(): void {
    this.#flights.settle();
  }
  #look(value: number, globalStep: number): void {
    if (Number.isFinite(value)) return;
    throw new NonFiniteError(
      `fit: expected finite losses. Received: ${value} at step ${globalStep}, computed on ${this.#device.name}. Weights may be gone by now: load the last checkpoint. To see where it began, run it with accelerator: "cpu" and detectNonFinite: "gradients".`,
      null,
      [],
    );
  }

  #next(batch: Batch, batchIdx: number, windowEnds: boolean): MaybePending<StepResult> {
    const { step, progress, optimizers } = this.#parts;
    if (this.#batches === 1) this.#prepareOptimizers();
    for (const optimizer of optimizers) optimizer.refreshRates();
    if (step.accumulate !== this.#accumulate) this.#begin(step.accumulate);
    const role = roleOf(progress.windowOpen, windowEnds);
    const inputs: Record<string, Tensor> = {};
    eachTensor(batch, (t) => {
      inputs[`batch.${Object.keys(inputs).length}`] = t;
    });
    if (!this.#ready && !this.#resumes()) return this.#onHost(batch, batchIdx, windowEnds);
    this.#gradients?.link(continues(role));
    const signature = signatureOf(this.#parts, role, inputs);
    const known = this.#programs.get(signature);
    if (known !== undefined && known.step.isWhereItWas) {
      this.#programs.delete(signature);
      this.#programs.set(signature, known);
      return this.#replay(known, inputs);
    }
    this.#forget(signature);
    this.#parts.memory.residents.pull(); // optimizers reach their state by packed lists, which wake nothing
    return this.#record(signature, role, inputs, () => step.run(batch, batchIdx, windowEnds));
  }

  /** When a checkpoint has had its say: fused steps take their rate, and their count, from tensors. */
  #prepareOptimizers(): void {
    for (const optimizer of this.#parts.optimizers) {
      for (const group of optimizer.paramGroups) if ("fused" in group) group["fused"] = true;
      if (optimizer.stepsByTensors) optimizer.keepRatesOn("cpu");
    }
  }
  #begin(accumulate: number): void {
    this.#parts.memory.residents.pull();
    for (const signature of [...this.#programs.keys()]) this.#forget(signature);
    this.#dropGradients();
    this.#accumulate = accumulate;
    this.#ready = false;
  }
  #forget(signature: string): void {
    this.#programs.get(signature)?.step.dispose();
    this.#programs.delete(signature);
  }

  /**
   * What the optimizer remembers comes from a checkpoint: nothing needs to run on the host. With windows of several
   * batches the first does, since gradients must be somewhere.
   */
  #resumes(): boolean {
    this.#ready = this.#accumulate === 1 && this.#parts.progress.globalStep > 0;
    return this.#ready;
  }

  /** Until the optimizer has stepped once. With windows of several batches their gradients then stay where they are. */
  #onHost(batch: Batch, batchIdx: number, windowEnds: boolean): StepResult {
    const { step, progress } = this.#parts;
    const before = progress.globalStep;
    step.zeroInPlace = this.#accumulate > 1;
    const result = step.run(batch, batchIdx, windowEnds);
    if (progress.globalStep > before) {
      this.#ready = true;
      if (this.#accumulate > 1) this.#holdGradients();
    }
    return result;
  }
  #holdGradients(): void {
    this.#gradients = new HeldGradients(this.#parameters());
    outsideScopes(() => {
      for (const { grad } of this.#parameters()) if (grad !== null) this.#gradientTensors.push(grad);
    });
  }
  #dropGradients(): void {
    this.#gradients?.dispose();
    this.#gradients = null;
    for (const gradient of this.#gradientTensors.splice(0)) gradient.dispose();
  }
  #parameters(): Set<Tensor> {
    const { module, optimizers } = this.#parts;
    return new Set([...optimizers.flatMap((o) => o.paramGroups.flatMap((g) => g.params)), ...module.parameters()]);
  }
  /** Tensors that steps may write. */
  *#known(): Generator<Tensor> {
    const { module, optimizers } = this.#parts;
    yield* this.#parameters();
    yield* module.buffers();
    for (const optimizer of optimizers)
      for (const state of optimizer.state.values())
        for (const value of Object.values(state)) if (typeof value === "object") yield* tensorsIn(value);
    yield* this.#gradientTensors;
  }

  #record(
    signature: string,
    role: WindowRole,
    inputs: Readonly<Record<string, Tensor>>,
    run: () => StepResult,
  ): MaybePending<StepResult> {
    const { step, host, optimizers } = this.#parts;
    this.#warnOfShapes();
    const { progress } = this.#parts;
    const recording = new BatchRecording(role, inputs);
    const known = [...this.#known()];
    const before = { globalStep: progress.globalStep, windowOpen: progress.windowOpen };
    const undo = new HostState([...known, ...Object.values(inputs)]);
    const remembered = optimizers.map((optimizer) => new Set(optimizer.state.keys()));
    try {
      recording.run(step, host, run, () => this.#loss);
    } finally {
      undo.restore();
      Object.assign(progress, before);
    }
    if (this.#forgetBeyond(remembered)) {
      recording.dispose();
      return run(); // here, where what optimizers remember of a parameter that has thawed begins
    }
    const { refusal } = recording.step;
    if (refusal !== null) this.#refuse(refusal);
    if (!step.hadLoss) this.#refuse("trainingStep returned no loss while it was recorded");
    // They are the program's own from here on.
    if (this.#accumulate === 1) for (const optimizer of optimizers) optimizer.zeroGrad();
    const compiling = CompiledStep.compile(recording.step, this.#parts.memory.residents, this.#parts.memory.random, {
      known,
      partitions: this.#parts.partitions,
      shardState: this.#parts.shardState,
      float32MatmulPrecision: this.#parts.float32MatmulPrecision,
    });
    return waitFor(compiling, (compiled) => {
      const batch = recording.compiled(compiled);
      this.#programs.set(signature, batch);
      if (this.#programs.size > MOST) this.#forget(this.#programs.keys().next().value ?? "");
      this.#tell(compiled, role);
      return this.#replay(batch, inputs);
    });
  }
  /** State that began in a recording would begin anew in each of its steps: it goes. False: there is none. */
  #forgetBeyond(remembered: readonly ReadonlySet<Tensor>[]): boolean {
    let began = false;
    this.#parts.optimizers.forEach(({ state }, i) => {
      for (const p of [...state.keys()]) if (remembered[i]?.has(p) === false) began = state.delete(p);
    });
    return began;
  }
  #refuse(reason: string): never {
    throw new MisconfigurationError(
      "fit",
      `steps that can be compiled for ${this.#device.name}`,
      verbatim(reason),
      'Compute it with tensors, or move it to a hook such as onTrainBatchEnd; or use accelerator: "cpu".',
      "ERR_XLA_STEP",
    );
  }
  #tell({ lowered, seconds }: CompiledStep, role: WindowRole): void {
    const what = role === "whole" ? "the step" : `the batch that ${role === "within" ? "is within" : role} a window`;
    this.#parts.say(
      `${this.#device.name}: ${what} compiled, ${lowered.operators.all} operators, ${seconds.toFixed(1)} s`,
    );
  }
  #warnOfShapes(): void {
    this.#compiled++;
    const roles = this.#accumulate === 1 ? 1 : 4;
    if (this.#compiled !== MANY * roles) return;
    this.#parts.warnings.warn(
      "WARN_XLA_SHAPES",
      `batches have many shapes, and each costs a program: ${this.#compiled} so far, of which ${MOST} are kept. Pad batches to a few lengths, and drop the last, smaller one (dropLast: true).`,
    );
  }

  #replay(compiled: CompiledBatch, inputs: Readonly<Record<string, Tensor>>): MaybePending<StepResult> {
    const { step, host, progress } = this.#parts;
    const run: StepRun = compiled.start(inputs);
    this.replayed++;
    progress.windowOpen = !steps(compiled.role);
    if (!progress.windowOpen) progress.globalStep++;
    const { globalStep } = progress;
    const loss = this.#parts.detectNonFinite ? run.results["loss"] : undefined;
    const look = loss === undefined ? null : (): void => this.#look(loss.number(), globalStep);
    this.#flights.push({ done: run.done, look });
    // The step before is done when this one's numbers are logged, so that its own are read without waiting.
    return this.#flights.landTo(IN_FLIGHT, () => {
      compiled.log(host, run);
      step.hadLoss = true;
      step.outcome = this.#latest = compiled.outcome(run);
      return compiled.result(run);
    });
  }

  /** Of the device's generator, for checkpoints; null: nothing has drawn. Waits for the device. */
  randomState(): Tensor | null {
    return this.#parts.memory.random.state();
  }
  loadRandomState(state: Tensor): void {
    this.#parts.memory.random.load(state);
  }

  /** For `explain`: a phrase. Null: nothing has run yet. */
  describe(): string | null {
    if (this.#batches === 0) return null;
    const { name } = this.#device;
    const programs = this.#programs.size === 0 ? this.#described : this.#phrases();
    const said = programs.length === 0 ? "" : `; ${programs.join("; ")}`;
    return `${this.replayed} of ${this.#batches} batches on ${name}, the others on the host${said}`;
  }

  #phrases(): string[] {
    return [...this.#programs.values()].map(({ step: { lowered, seconds, analysis } }) => {
      return `${lowered.operators.all} operators, compiled in ${seconds.toFixed(1)} s, ${analysisText(analysis)}`;
    });
  }

  /** All values come to the host: for who reads memory that is no tensor of the module's. Waits for the device. */
  pull(): void {
    this.#parts.memory.residents.pull();
  }

  /** The run is over, and everything is back on the host. */
  end(): void {
    const { step, optimizers } = this.#parts;
    this.#latest?.read();
    step.sawLoss = null;
    this.#loss?.dispose();
    this.#described = this.#phrases();
    for (const signature of [...this.#programs.keys()]) this.#forget(signature);
    this.#dropGradients();
    for (const optimizer of optimizers) optimizer.releaseRates();
    this.#flights.forget();
  }
}

function* tensorsIn(value: unknown): Generator<Tensor> {
  const found: Tensor[] = [];
  eachTensor(value, (t) => found.push(t));
  yield* found;
}
