/** Forward and backward of a step, recorded once with the calls that JavaScript makes, and replayed while it makes them. */
import { callable } from "../kinds.js";
import { argBuffer, native, reserve } from "../native.js";
import { atMost, checkArguments } from "../options.js";
import { handlesOf } from "../tensor/handle.js";
import type { Tensor } from "../tensor/tensor.js";
import { blame, inWords, watchForBlame, type Blame } from "./blame.js";
import type { StepProgram } from "./format.js";
import { readPlan, type ReplayPlan } from "./plan.js";
import { programOf } from "./read.js";

const registry = new FinalizationRegistry<number>((id) => native.replayFree(id));

/** What became of the steps so far. */
export interface FollowedSteps {
  /** Steps that ran as recorded, to their end. */
  readonly replayed: number;
  /** Steps that began so, and went on eagerly. */
  readonly left: number;
  /** Why the step is never replayed; null: it is, or will be. */
  readonly refusal: string | null;
  /** Why the latest step was not replayed to its end; null: it was, or recorded. */
  readonly reason: string | null;
}

/** "left": it began as recorded and went on eagerly, or did not begin so. "refused": it is never replayed. */
export type StepEnd = "replayed" | "recorded" | "left" | "refused";

/**
 * A step of training on the CPU whose JavaScript runs every time, and whose operators do not go through autograd every
 * time. The first run is recorded: each call that JavaScript makes, and what it does below autograd. In later runs a
 * call with the same operator, numbers and shapes runs its recorded kernels in memory that was planned once, and
 * `backward` runs the recorded backward, without a graph.
 *
 * Where JavaScript does anything else (another branch, another number, a hook, a shape that varies), the calls so far
 * are made again with a graph, from the same random numbers, and the step goes on eagerly. So every step computes what
 * it would compute without this, to the last bit, whatever its code does.
 *
 * What is never replayed: custom autograd functions of JavaScript, hooks, `retainGraph`, shapes that depend on values.
 *
 * @example
 * const step = new FollowedStep();
 * for (const [x, y] of batches) {
 *   optimizer.zeroGrad();
 *   step.run([x, y], () => crossEntropy(model.call(x), y).backward());
 *   optimizer.step();
 * }
 */
export class FollowedStep {
  #id = native.replayCreate();
  #why: Blame | null = null;
  #refused = false;

  constructor() {
    atMost("FollowedStep", arguments, 0);
    registry.register(this, this.#id, this);
  }

  /**
   * Run `fn`, which calls backward once, at its end.
   * @param inputs - Tensors that are others in every run, of the same dtypes, shapes and strides: the batch. What is
   *   not named and changes anyway is found out, at the cost of a step that goes on eagerly.
   */
  run<T>(inputs: readonly Tensor[], fn: () => T): T {
    atMost("FollowedStep.run", arguments, 2);
    checkArguments("FollowedStep.run", { fn }, { fn: callable });
    this.open(inputs);
    try {
      return fn();
    } finally {
      this.close();
    }
  }
  /**
   * What {@link run} begins with, for loops that cannot pass a function.
   * @returns false where the inputs have other dtypes, shapes or strides than the recorded ones: nothing has begun, and
   *   the step runs eagerly.
   */
  open(inputs: readonly Tensor[]): boolean {
    atMost("FollowedStep.open", arguments, 1);
    const handles = handlesOf("FollowedStep", "inputs", inputs);
    watchForBlame();
    reserve(handles.length);
    argBuffer.set(handles);
    return native.replayOpen(this.#id, handles.length) !== 2;
  }
  /** What {@link run} ends with. */
  close(): StepEnd {
    atMost("FollowedStep.close", arguments, 0);
    const replayed = native.replayClose() !== 0;
    if (this.#refused) return "refused"; // the line of the first time stands
    this.#why = null;
    if (replayed) return "replayed";
    const reason = native.replayReason(this.#id);
    if (reason === "") return "recorded";
    this.#why = blame(reason);
    native.replayCounts(this.#id);
    this.#refused = argBuffer[7] !== 0;
    return this.#refused ? "refused" : "left";
  }

  /** What became of the steps so far. Reads the source where the latest was not replayed, to name its line. */
  get steps(): FollowedSteps {
    native.replayCounts(this.#id);
    const [, , , , , , , , replayed = 0, left = 0] = argBuffer;
    const reason = this.#why === null ? null : inWords(this.#why);
    return { replayed, left, refusal: this.#refused ? reason : null, reason };
  }
  /**
   * Give the memory that the steps of this thread share back until the next step, which plans anew (a millisecond or so).
   * For when something else needs memory in between, as validation does.
   */
  static rest(): void {
    atMost("FollowedStep.rest", arguments, 0);
    native.replayRest();
  }

  /** How replays run; zeros before the first. */
  get plan(): ReplayPlan {
    native.replayCounts(this.#id);
    return readPlan();
  }
  /** The program; empty before the first run. Costs time in its size. */
  get program(): StepProgram {
    return programOf(native.replayText(this.#id), {}, {});
  }

  /** Give back the program and its memory. */
  dispose(): void {
    atMost("FollowedStep.dispose", arguments, 0);
    if (this.#id === 0) return;
    registry.unregister(this);
    native.replayFree(this.#id);
    this.#id = 0;
  }
  [Symbol.dispose](): void {
    this.dispose();
  }
}
