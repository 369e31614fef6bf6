/** A pass whose batches threads load: by `for…of`, which waits on the spot, or by `for await`. */
import { atMost } from "../../options.js";
import { Pass, type PassPlan } from "../loader-pass.js";
import type { StoredLoaderState, Workers } from "../loader-state.js";
import { DataWorkerError, errorFrom } from "./failure.js";
import { WorkersLog } from "./log.js";
import { unpackBatch } from "./pack.js";
import { endedBefore, endWith, type Pool } from "./pool.js";
import type { Answer } from "./protocol.js";
import { Tasks } from "./tasks.js";

export interface WorkerPlan {
  /** Threads that are there already; else they are begun with the pass's seed, and end with it. */
  readonly pool: (seed: bigint) => Pool;
  readonly persistent: boolean;
  readonly numWorkers: number;
  /** Batches that each thread is asked for in advance. */
  readonly prefetchFactor: number;
  readonly inOrder: boolean;
  /** Seconds; 0: for ever. */
  readonly timeout: number;
  /** Where threads that stay stand after earlier passes. */
  readonly before: Workers | null;
  /** Whether they are to be put there: they are new. */
  readonly restore: boolean;
}
const WAIT = Symbol("wait");

abstract class WorkerPass<T, B> extends Pass<T, B> {
  readonly #how: WorkerPlan;
  protected readonly pool: Pool;
  readonly #pass: number;
  readonly #tasks: Tasks;
  readonly #log: WorkersLog;
  /** Threads that ended, or never began, with why. */
  readonly #dead = new Map<number, Answer>();
  #drained = false;
  #ended = false;

  constructor(plan: PassPlan<T, B>, resume: StoredLoaderState | null, how: WorkerPlan) {
    super(plan, resume);
    this.#how = how;
    const n = how.numWorkers;
    const begin: Workers = resume?.workers ?? {
      seed: this.seed ?? how.before?.seed ?? 0n,
      drawn: this.seed !== null,
      last: -1,
      given: new Array<number>(n).fill(0),
      dry: new Array<boolean>(n).fill(false),
      random: how.before?.random ?? new Array<null>(n).fill(null),
    };
    this.#log = new WorkersLog(this.given, begin);
    this.pool = how.pool(begin.seed);
    if (!how.persistent) endWith(this, this.pool);
    this.#tasks = new Tasks(n, begin.last, begin.dry);
    // Threads that stay know where they stand, unless a state says otherwise.
    this.#pass = this.pool.begin(begin.given, resume !== null || how.restore ? begin.random : []);
    for (let i = 0; i < how.prefetchFactor * n; i++) this.#ask();
  }

  protected override get ahead(): number {
    return this.#tasks.waiting;
  }
  protected override workersAt(position: number): Workers {
    return this.#log.at(position);
  }
  /** Where the threads stand, for the pass that follows. */
  get workers(): Workers {
    return this.#log.now;
  }

  #ask(): void {
    if (this.#drained || this.#tasks.active === 0) return;
    const { numWorkers, prefetchFactor, inOrder } = this.#how;
    const next = this.place();
    if (next.done === true) {
      this.#drained = true;
      return;
    }
    const worker = this.#tasks.next(
      inOrder ? Infinity : Math.floor((prefetchFactor * numWorkers) / this.#tasks.active),
    );
    if (worker === null) return;
    this.pool.tell(worker, { kind: "load", pass: this.#pass, index: this.#tasks.ask(worker), where: next.value });
  }

  /** What can be given now. */
  protected advance(): IteratorResult<B, undefined> | typeof WAIT {
    if (this.finished || this.#ended) return { done: true, value: undefined };
    for (;;) {
      const head = this.#tasks.head();
      if (head === undefined) return this.#finish();
      if (head !== null) return this.#give(head);
      const answer = this.pool.take();
      if (answer === null) {
        const lost = this.#lost();
        return lost === null ? WAIT : this.#give(lost);
      }
      const due = this.#hear(answer);
      if (due !== null) return this.#give(due);
    }
  }

  /** Why the thread whose turn it is can give nothing: all that it has given is here. */
  #lost(): Answer | null {
    if (!this.#how.inOrder) return this.#dead.values().next().value ?? null;
    return this.#dead.get(this.#tasks.turn) ?? null;
  }

  /** An answer comes in. @returns One whose turn it is. */
  #hear(answer: Answer): Answer | null {
    if (answer.kind === "ready") return null;
    if (answer.kind === "failed" && answer.index === null) {
      if (!this.#dead.has(answer.worker)) this.#dead.set(answer.worker, answer);
      return null;
    }
    if (answer.pass !== this.#pass) {
      this.pool.discard(answer);
      return null;
    }
    if (answer.kind !== "dry")
      return this.#tasks.answered(answer as Answer & { readonly index: number }, this.#how.inOrder);
    this.#tasks.dry(answer.worker);
    this.#log.dry(answer.worker);
    this.#ask();
    return null;
  }

  #give(answer: Answer): IteratorResult<B, undefined> {
    if (answer.kind === "failed") {
      this.order?.return?.();
      this.#end(answer.index === null);
      throw errorFrom(answer.failure, answer.worker);
    }
    if (answer.kind !== "batch") return this.#finish();
    this.#ask();
    const batch = unpackBatch(answer.batch) as B;
    this.#log.gave(answer.worker, answer.random);
    return this.give(batch);
  }

  #finish(): IteratorResult<B, undefined> {
    this.#end(false);
    this.end();
    return { done: true, value: undefined };
  }

  /** The threads have nothing more to do for this pass. @param broken - Nor for any other. */
  #end(broken: boolean): void {
    if (this.#ended) return;
    this.#ended = true;
    for (const answer of this.#tasks.rest()) this.pool.discard(answer);
    if (this.#how.persistent && !broken) return;
    endedBefore(this.pool);
    void this.pool.end();
  }
  protected leave(): void {
    if (this.finished || this.#ended) return;
    this.order?.return?.();
    this.#end(false);
  }
  /** Threads that end with the pass. */
  protected get ending(): boolean {
    return this.#ended && !this.#how.persistent;
  }

  protected deadline(): number {
    const { timeout } = this.#how;
    return timeout === 0 ? Infinity : performance.now() + timeout * 1000;
  }
  protected late(): never {
    this.#end(true);
    throw new DataWorkerError(`DataLoader timed out after ${this.#how.timeout} seconds`, "ERR_DATA_TIMEOUT");
  }
}

export class SyncWorkerPass<T, B> extends WorkerPass<T, B> implements IterableIterator<B> {
  next(): IteratorResult<B, undefined> {
    const deadline = this.deadline();
    for (;;) {
      const result = this.advance();
      if (result !== WAIT) return result;
      if (!this.pool.waitNow(deadline)) this.late();
    }
  }
  return(): IteratorResult<B, undefined> {
    atMost("return", arguments, 1);
    this.leave();
    return { done: true, value: undefined };
  }
  [Symbol.iterator](): this {
    return this;
  }
}

export class AsyncWorkerPass<T, B> extends WorkerPass<T, B> implements AsyncIterableIterator<B> {
  /** Calls that overlap take their turns. */
  #turn: Promise<unknown> = Promise.resolve();

  next(): Promise<IteratorResult<B, undefined>> {
    const mine = this.#turn.then(() => this.#next());
    this.#turn = mine.catch(() => undefined);
    return mine;
  }
  async #next(): Promise<IteratorResult<B, undefined>> {
    const deadline = this.deadline();
    let result = this.advance();
    while (result === WAIT) {
      if (!(await this.pool.wait(deadline))) this.late();
      result = this.advance();
    }
    if (result.done === true && this.ending) await this.pool.endAndWait();
    return result;
  }
  async return(): Promise<IteratorResult<B, undefined>> {
    this.leave();
    if (this.ending) await this.pool.endAndWait();
    return { done: true, value: undefined };
  }
  [Symbol.asyncIterator](): this {
    return this;
  }
}
