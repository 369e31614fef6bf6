/** Batches that threads were asked for: who has which, whose turn it is, and what came before its turn. */
import type { Answer } from "./protocol.js";

interface Task {
  readonly worker: number;
  answer: Answer | null;
}

export class Tasks {
  readonly #at = new Map<number, Task>();
  readonly #active: boolean[];
  readonly #held: number[];
  /** The next to be asked for, and the next to be given. */
  #sent = 0;
  #turn = 0;
  /** Asked for, and not answered. */
  outstanding = 0;
  #last: number;

  /** @param last - Who was asked last, before. @param dry - Who has nothing more. */
  constructor(numWorkers: number, last: number, dry: readonly boolean[]) {
    this.#active = Array.from({ length: numWorkers }, (_, i) => dry[i] !== true);
    this.#held = new Array<number>(numWorkers).fill(0);
    this.#last = last;
  }

  /** Who is asked next, each in turn; null where nobody can be. @param most - Leave out who has so many batches to do. */
  next(most: number): number | null {
    const n = this.#active.length;
    for (let i = 1; i <= n; i++) {
      const worker = (this.#last + i) % n;
      if (this.#active[worker] === true && (this.#held[worker] as number) < most) {
        this.#last = worker;
        return worker;
      }
    }
    return null;
  }
  /** @returns The number of the task. */
  ask(worker: number): number {
    this.#at.set(this.#sent, { worker, answer: null });
    this.#held[worker] = (this.#held[worker] as number) + 1;
    this.outstanding++;
    return this.#sent++;
  }

  get active(): number {
    return this.#active.filter(Boolean).length;
  }

  /** Who has no more: what else it was asked for is nobody's turn. */
  dry(worker: number): void {
    this.#active[worker] = false;
    this.outstanding--;
  }

  /** The answer whose turn it is, where it is there; null where it is not; undefined where there is none to come. */
  head(): Answer | null | undefined {
    for (; this.#turn < this.#sent; this.#turn++) {
      const task = this.#at.get(this.#turn);
      if (task === undefined) continue;
      if (task.answer !== null) return this.#take(this.#turn++);
      if (this.#active[task.worker] === true) return null;
      this.#at.delete(this.#turn);
    }
    return undefined;
  }
  /** Whose turn it is; -1: nobody's. */
  get turn(): number {
    return this.#at.get(this.#turn)?.worker ?? -1;
  }
  /** @param keep - Keep it until its turn; else it is given now. */
  answered(answer: Answer & { readonly index: number }, keep: boolean): Answer | null {
    this.outstanding--;
    const task = this.#at.get(answer.index);
    if (task === undefined) return null;
    task.answer = answer;
    if (keep && answer.index !== this.#turn) return null;
    if (answer.index === this.#turn) this.#turn++;
    return this.#take(answer.index);
  }
  #take(index: number): Answer | null {
    const task = this.#at.get(index) as Task;
    this.#at.delete(index);
    this.#held[task.worker] = (this.#held[task.worker] as number) - 1;
    return task.answer;
  }
  /** What came and will not be given. */
  *rest(): Iterable<Answer> {
    for (const { answer } of this.#at.values()) if (answer !== null) yield answer;
    this.#at.clear();
  }
  get waiting(): number {
    return this.#at.size;
  }
}
