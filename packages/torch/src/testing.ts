/** For tests of what happens when something fails. Nothing else imports this file. */
import { ArgumentError } from "./errors.js";
import { native } from "./native.js";

export interface AllocationFailures {
  /** How many allocations fail, one after another. Default 1. */
  readonly count?: number;
  /** Fail as C++'s `operator new` does, instead of with libtorch's error. Default false. */
  readonly badAlloc?: boolean;
}

/**
 * Let the `n`-th allocation of CPU tensor memory from now on fail; 0: none. An operator that asks for it throws an
 * `OutOfMemoryError`. Off, it costs an allocation one comparison.
 *
 * @returns how many of the failures that the call before asked for have not come yet.
 * @throws {ArgumentError} unless `n` and `count` are whole numbers, `n` ≥ 0 and `count` ≥ 1.
 */
export function failAllocations(n: number, { count = 1, badAlloc = false }: AllocationFailures = {}): number {
  if (!Number.isSafeInteger(n) || n < 0) throw new ArgumentError("failAllocations", "n to be a whole number ≥ 0", n);
  if (!Number.isSafeInteger(count) || count < 1)
    throw new ArgumentError("failAllocations", "count to be a whole number ≥ 1", count);
  return native.allocatorFail(n, count, badAlloc);
}
