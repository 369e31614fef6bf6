import { ReentrantScope } from "@nbit/torch";

/** Synchronous work that stopped at a promise, and what it goes on with. */
export interface Pending {
  readonly next: Promise<() => Pending | null>;
}

/** Stop here: go on with `then` once `promise` has settled. */
export function waitFor<T>(promise: Promise<T>, then: (result: T) => Pending | null): Pending {
  return { next: promise.then((result) => () => then(result)) };
}

/**
 * One batch after the other, each in a tensor scope of its own that stays while something is waited for: what was made before an await is there after it, and everything is freed when the batch is done.
 *
 * @param within - In which mode the work runs, before each wait and after it.
 */
export class BatchScope {
  readonly #scope = new ReentrantScope();
  readonly #within: ((work: () => Pending | null) => Pending | null) | null;

  constructor(within: ((work: () => Pending | null) => Pending | null) | null = null) {
    this.#within = within;
  }

  /** Do the work of one batch. A promise only where the work waits for one. */
  run(work: () => Pending | null): Promise<void> | null {
    let pending: Pending | null = null;
    try {
      pending = this.#step(work);
    } finally {
      if (pending === null) this.#scope.close();
    }
    return pending === null ? null : this.#settle(pending);
  }

  #step(work: () => Pending | null): Pending | null {
    const within = this.#within;
    return this.#scope.run(within === null ? work : () => within(work));
  }

  async #settle(first: Pending): Promise<void> {
    try {
      let pending: Pending | null = first;
      while (pending !== null) {
        const next: () => Pending | null = await pending.next;
        pending = this.#step(next);
      }
    } finally {
      this.#scope.close();
    }
  }
}
