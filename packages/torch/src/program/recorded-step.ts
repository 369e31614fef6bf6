/** A step recorded once and run again without JavaScript, autograd or the dispatcher. */
import { ArgumentError, NbitError } from "../errors.js";
import { callable, filled, flag, whole } from "../kinds.js";
import { argBuffer, native, reserve } from "../native.js";
import { atMost, checkArguments, checkOptions, type OptionNames } from "../options.js";
import { handlesOf, liveHandle, wrap } from "../tensor/handle.js";
import { Tensor } from "../tensor/tensor.js";
import { advanceWeightsEpoch } from "../weights-epoch.js";
import { blame, inWords, lineInWords, stackHere, watchForBlame, type Blame } from "./blame.js";
import type { StepProgram } from "./format.js";
import { readPlan, type ReplayPlan } from "./plan.js";
import { programOf } from "./read.js";
import { tensorsOf } from "./results.js";

let recording = false;
/** Whether a step is being recorded: what looks at values now and then waits for another. */
export function isRecording(): boolean {
  atMost("isRecording", arguments, 0);
  return recording;
}

let objection: Blame | null = null;
/**
 * What runs now has an effect that no replay would have: the step that is being recorded, if any, is not to be replayed,
 * and says so with the caller's line. Costs a comparison otherwise.
 */
export function refuseRecording(reason: string): void {
  atMost("refuseRecording", arguments, 1);
  checkArguments("refuseRecording", { reason }, { reason: filled });
  if (recording) objection ??= { reason, stack: stackHere() };
}

const registry = new FinalizationRegistry<number>((id) => native.programFree(id));

export interface RecordedStepOptions {
  /** What differs from run to run, by name: write new values into these tensors before a replay. Default: none. */
  readonly inputs?: Readonly<Record<string, Tensor>>;
  /** Whose gradients the step makes: they have them after each replay. Default: none. */
  readonly parameters?: Iterable<Tensor>;
  /** Remember which line called each operator, for {@link RecordedStep.lineOf}: some 20 µs each. Default false. */
  readonly lines?: boolean;
}
const NAMES: OptionNames<RecordedStepOptions> = { inputs: true, parameters: true, lines: flag };

function checkTensors(fn: string, what: string, tensors: readonly unknown[]): void {
  for (const t of tensors) if (!(t instanceof Tensor)) throw new ArgumentError(fn, `${what} to be tensors`, t);
}

/**
 * A step on the CPU, recorded below autograd and autocast while it runs, as a flat list of operators. A replay calls
 * their kernels in the same order with the same arguments: the same bits, without JavaScript, without a graph, in
 * memory that is planned once.
 *
 * A replay reads and writes the tensors that the recording did: copy new inputs into them (`x.copy_(next)`). It returns
 * what the step returned, in new tensors, and leaves new gradients with the parameters. Random operators draw from the generators that the step drew from. Shapes, strides
 * and numbers of JavaScript are those of the recording.
 *
 * What cannot be repeated (a value read into JavaScript, a shape that depends on values, a tensor made of JavaScript's
 * numbers, a hook in backward) is named by {@link refusal}; the step itself has then run as ever.
 *
 * @example
 * const step = new RecordedStep({ inputs: { x, y }, parameters: model.parameters() });
 * step.record(() => {
 *   optimizer.zeroGrad();
 *   const loss = crossEntropy(model.call(x), y);
 *   loss.backward();
 *   optimizer.step(); // fused, with its learning rate in a tensor: optimizer.keepRatesOn("cpu")
 *   return { loss: loss.detach() };
 * });
 * x.copy_(next);
 * const { loss } = step.replay();
 */
export class RecordedStep {
  readonly #inputs: Readonly<Record<string, Tensor>>;
  readonly #parameters: readonly Tensor[];
  #id = 0;
  #refusal: string | null = null;
  #recorded = false;
  #disposed = false;
  #plan: ReplayPlan | null = null;
  /** What the step returned, by name. */
  #names: readonly string[] = [];
  #results: Record<string, number> = {};
  #inputValues: Record<string, number> = {};
  /** By operator; null: not asked for. */
  readonly #stacks: (string | undefined)[] | null;
  #program: StepProgram | null = null;

  /** @throws {ArgumentError} For inputs or parameters that are no tensors. */
  constructor(options: RecordedStepOptions = {}) {
    atMost("RecordedStep", arguments, 1);
    checkOptions("RecordedStep", options, NAMES);
    this.#inputs = { ...options.inputs };
    this.#parameters = [...(options.parameters ?? [])];
    checkTensors("RecordedStep", "inputs", Object.values(this.#inputs));
    checkTensors("RecordedStep", "parameters", this.#parameters);
    this.#stacks = options.lines === true ? [] : null;
  }

  /** Why the step cannot be replayed, with the line that did it where that is known; null: it can. */
  get refusal(): string | null {
    return this.#refusal;
  }

  /**
   * Run `fn` and record it. Returns what it returned; tensors in that are named as the program's results.
   * @throws {NbitError} `PROGRAM_RECORDED` for a second recording; whatever `fn` throws.
   */
  record<T>(fn: () => T): T {
    atMost("RecordedStep.record", arguments, 1);
    checkArguments("RecordedStep.record", { fn }, { fn: callable });
    if (this.#recorded || this.#disposed)
      throw new NbitError(
        `RecordedStep.record: expected a step that has not recorded yet. Received: one that ${this.#disposed ? "is disposed of" : "has"}. Make a new RecordedStep.`,
        "PROGRAM_RECORDED",
      );
    this.#recorded = true;
    advanceWeightsEpoch(); // casts of weights are part of the step
    watchForBlame();
    native.programBegin(true);
    recording = true;
    objection = null;
    const stacks = this.#stacks;
    if (stacks !== null) native.programNoted(() => stacks.push(stackHere()));
    let returned: [string, Tensor][] | null = null;
    try {
      const result = fn();
      returned = tensorsOf(result);
      return result;
    } finally {
      recording = false;
      this.#end(returned);
    }
  }

  #end(returned: readonly [string, Tensor][] | null): void {
    const params = handlesOf("RecordedStep", "parameters", this.#parameters);
    const handles = [...params, ...(returned ?? []).map(([, t]) => liveHandle(t, "RecordedStep.record"))];
    reserve(handles.length);
    argBuffer.set(handles);
    this.#id = native.programEnd(params.length, handles.length - params.length);
    if (returned === null) return this.dispose();
    if (objection !== null) {
      this.#refusal = inWords(objection);
      if (this.#id !== 0) native.programFree(this.#id);
      this.#id = 0;
      return;
    }
    if (this.#id === 0) {
      this.#refusal = inWords(blame(native.programRefusal()));
      return;
    }
    registry.register(this, this.#id, this);
    const values = (tensors: readonly [string, Tensor][]): Record<string, number> =>
      Object.fromEntries(
        tensors
          .map(([name, t]) => [name, native.programValue(this.#id, liveHandle(t, "RecordedStep.record"))] as const)
          .filter(([, value]) => value >= 0),
      );
    this.#names = returned.map(([name]) => name);
    this.#results = values(returned);
    this.#inputValues = values(Object.entries(this.#inputs));
  }

  /**
   * The line of the user's that called an operator of the program, `model.ts:12:8`; of one of backward, that of the
   * operator whose gradient it belongs to. Null: it is not known, or `lines` was not asked for. Reads files.
   */
  lineOf(operator: number): string | null {
    atMost("RecordedStep.lineOf", arguments, 1);
    checkArguments("RecordedStep.lineOf", { operator }, { operator: whole("[0, ∞)") });
    const at = this.program.operators[operator]?.forward ?? operator;
    return lineInWords(this.#stacks?.[at]);
  }

  /**
   * Tensors that were there before the step, by their values in the program: inputs, parameters, state, constants. Each
   * is a new tensor over the memory of the step's own.
   */
  externals(): Map<number, Tensor> {
    atMost("RecordedStep.externals", arguments, 0);
    const id = this.#live("externals");
    const { buffers, values } = this.program;
    const found = new Map<number, Tensor>();
    values.forEach(({ buffer }, value) => {
      const handle = buffers[buffer]?.origin === "external" ? native.programExternal(id, value) : 0;
      if (handle !== 0) found.set(value, wrap(handle));
    });
    return found;
  }

  /** Which value of the program a tensor is; null: none. */
  indexOf(tensor: Tensor): number | null {
    atMost("RecordedStep.indexOf", arguments, 1);
    const value = native.programValue(this.#live("indexOf"), liveHandle(tensor, "RecordedStep.indexOf"));
    return value < 0 ? null : value;
  }

  /** The program. Costs time in its size, once. @throws {NbitError} `PROGRAM_EMPTY` where nothing was recorded. */
  get program(): StepProgram {
    const id = this.#live("program");
    return (this.#program ??= programOf(native.programText(id), this.#inputValues, this.#results));
  }

  /** How replays run; planned when first asked for, or at the first replay. */
  get plan(): ReplayPlan {
    if (this.#plan === null) {
      native.programPlan(this.#live("plan"));
      this.#plan = readPlan();
    }
    return this.#plan;
  }

  /**
   * Run the step again. Returns tensors that the step returned, by name, with their new values: `result` where it
   * returned one alone.
   * @throws {NbitError} `PROGRAM_EMPTY` where nothing was recorded, or was refused; `PROGRAM_MEMORY_MOVED` where a
   *   tensor that the step uses has other memory now (`setData`).
   */
  replay(): Record<string, Tensor> {
    atMost("RecordedStep.replay", arguments, 0);
    const id = this.#live("replay");
    void this.plan;
    native.programRun(id);
    const handles = this.#names.map((_, i) => argBuffer[i] as number);
    advanceWeightsEpoch();
    const results: Record<string, Tensor> = {};
    this.#names.forEach((name, i) => {
      const handle = handles[i] as number;
      if (handle !== 0) results[name] = wrap(handle);
    });
    return results;
  }

  #live(fn: string): number {
    if (this.#id !== 0) return this.#id;
    const state = this.#disposed
      ? "one that is disposed of"
      : this.#refusal === null
        ? "one without a recording. Call record(fn) first"
        : `one that was refused: ${this.#refusal}`;
    throw new NbitError(`RecordedStep.${fn}: expected a recorded step. Received: ${state}.`, "PROGRAM_EMPTY");
  }

  /** Give back the program and its memory. */
  dispose(): void {
    atMost("RecordedStep.dispose", arguments, 0);
    this.#disposed = true;
    if (this.#id === 0) return;
    registry.unregister(this);
    native.programFree(this.#id);
    this.#id = 0;
  }
  [Symbol.dispose](): void {
    this.dispose();
  }
}
