import { scope } from "@nbit/torch";

/** Synchronous work that stopped at a promise: what it goes on with, and the tensors that live on meanwhile. */
export interface Pending {
  readonly next: Promise<() => Pending | null>;
  readonly holds: unknown;
}

/** Stop here: go on with `then`, in a tensor scope of its own, once `promise` has settled. `holds` outlives the present scope. */
export function waitFor<T>(promise: Promise<T>, then: (result: T) => Pending | null, holds: unknown = null): Pending {
  return { next: promise.then((result) => () => then(result)), holds };
}

/** Go on until nothing is left to wait for. */
export async function settle(first: Pending): Promise<void> {
  let pending: Pending | null = first;
  while (pending !== null) pending = scope(await pending.next);
}
