import { ReentrantScope } from "@nbit/torch";

/** Synchronous work that stopped at a promise, and what it goes on with. */
export class Pending<T> {
  constructor(readonly next: Promise<() => MaybePending<T>>) {}
}
/** What synchronous work returns, or where it stopped. */
export type MaybePending<T> = T | Pending<T>;

/** Stop here: go on with `then` once `promise` has settled. */
export function waitFor<T, R>(promise: Promise<T>, then: (result: T) => MaybePending<R>): Pending<R> {
  return new Pending(promise.then((result) => () => then(result)));
}

/** Go on with `then`, now or when what is waited for has come. */
export function andThen<T, R>(work: MaybePending<T>, then: (result: T) => MaybePending<R>): MaybePending<R> {
  if (!(work instanceof Pending)) return then(work);
  return new Pending(work.next.then((resume) => () => andThen(resume(), then)));
}

/** The mode in which work runs: before each wait and after it. */
export type Within = <T>(work: () => T) => T;

/**
 * One batch after the other, each in a tensor scope of its own that stays while something is waited for: what was made
 * before an await is there after it, and everything is freed when the batch is done.
 */
export class BatchScope {
  readonly #scope = new ReentrantScope();
  readonly #within: Within | null;

  constructor(within: Within | null = null) {
    this.#within = within;
  }

  /** Do the work of one batch, and return its result. A promise only where the work waits for one. */
  run<T>(work: () => MaybePending<T>): T | Promise<T> {
    let pending: Pending<T> | null = null;
    try {
      const result = this.#part(work);
      if (!(result instanceof Pending)) return result;
      pending = result;
    } finally {
      if (pending === null) this.#scope.close();
    }
    return this.#settle(pending);
  }

  #part<T>(work: () => MaybePending<T>): MaybePending<T> {
    const within = this.#within;
    return this.#scope.run(within === null ? work : () => within(work));
  }

  async #settle<T>(first: Pending<T>): Promise<T> {
    try {
      let result: MaybePending<T> = first;
      while (result instanceof Pending) result = this.#part(await result.next);
      return result;
    } finally {
      this.#scope.close();
    }
  }
}
