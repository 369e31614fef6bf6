/** What a step does, written down while something else records or runs it. */
import { callable } from "../kinds.js";
import { native, reserve } from "../native.js";
import { atMost, checkArguments, checkOptions, type OptionNames } from "../options.js";
import { handlesOf, liveHandle } from "../tensor/handle.js";
import type { Tensor } from "../tensor/tensor.js";
import { blame, inWords, watchForBlame } from "./blame.js";
import type { StepProgram } from "./format.js";
import { programOf } from "./read.js";
import { tensorsOf } from "./results.js";

export interface TranscriptOptions {
  /** What differs from run to run, by name. Default: none. */
  readonly inputs?: Readonly<Record<string, Tensor>>;
}
const NAMES: OptionNames<TranscriptOptions> = { inputs: true };

/**
 * A step as a program to read: its operators below autograd and autocast, on any device, in their order. It is not run
 * again by this; a CUDA graph that records the step meanwhile does that. Holds no tensor and no memory of the step's.
 *
 * @example
 * const transcript = new program.Transcript({ inputs: { x } });
 * graph.capture(() => transcript.run(step));
 * console.log(transcript.program === null ? transcript.refusal : program.print(transcript.program));
 */
export class Transcript {
  readonly #inputs: readonly (readonly [string, Tensor])[];
  #ran = false;
  #text: string | null = null;
  #program: StepProgram | null = null;
  #refusal: string | null = null;
  #names: { readonly inputs: Record<string, number>; readonly results: Record<string, number> } | null = null;

  /** @throws {ArgumentError} For inputs that are no tensors. */
  constructor(options: TranscriptOptions = {}) {
    atMost("Transcript", arguments, 1);
    checkOptions("Transcript", options, NAMES);
    this.#inputs = Object.entries(options.inputs ?? {});
    handlesOf(
      "Transcript",
      "inputs",
      this.#inputs.map(([, t]) => t),
    );
  }

  /** Why there is no program, with the line that did it where that is known; null: there is one, or nothing ran yet. */
  get refusal(): string | null {
    return this.#refusal;
  }
  /** Null: nothing ran yet, it threw, or {@link refusal} says why. Read from text when first asked for. */
  get program(): StepProgram | null {
    if (this.#text !== null && this.#names !== null) {
      this.#program = programOf(this.#text, this.#names.inputs, this.#names.results);
      this.#text = null;
    }
    return this.#program;
  }

  /**
   * Run `fn` and write down what it does: the first run alone, later ones only run.
   * @returns what `fn` returned; tensors in that are named as the program's results.
   * @throws {NbitError} `PROGRAM_NESTED` within another recording; whatever `fn` throws.
   */
  run<T>(fn: () => T): T {
    atMost("Transcript.run", arguments, 1);
    checkArguments("Transcript.run", { fn }, { fn: callable });
    if (this.#ran) return fn();
    this.#ran = true;
    watchForBlame();
    native.programBegin(false);
    let returned: [string, Tensor][] | null = null;
    try {
      const result = fn();
      returned = tensorsOf(result);
      return result;
    } finally {
      this.#end(returned);
    }
  }

  #end(returned: readonly [string, Tensor][] | null): void {
    reserve(0);
    const id = native.programEnd(0, 0);
    if (id === 0) {
      this.#refusal = inWords(blame(native.programRefusal()));
      return;
    }
    if (returned !== null) {
      const values = (tensors: readonly (readonly [string, Tensor])[]): Record<string, number> =>
        Object.fromEntries(
          tensors
            .map(([name, t]) => [name, native.programValue(id, liveHandle(t, "Transcript.run"))] as const)
            .filter(([, value]) => value >= 0),
        );
      this.#names = { inputs: values(this.#inputs), results: values(returned) };
      this.#text = native.programText(id);
    }
    native.programFree(id);
  }
}
