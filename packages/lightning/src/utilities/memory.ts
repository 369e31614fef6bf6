/** Memory that is short, and memory given back. */
import { atMost, cuda, OutOfMemoryError, trimMemory } from "@nbit/torch";

/** Whether an error says that memory did not suffice, of a GPU or of the CPU. */
export function isOomError(error: unknown): boolean {
  atMost("isOomError", arguments, 1);
  return error instanceof OutOfMemoryError;
}

/**
 * Give back to the driver what the allocators keep for later: between trials that need much of a GPU's memory. Runs
 * Node's garbage collector too, where it may be called (`node --expose-gc`).
 */
export function garbageCollectionCuda(): void {
  atMost("garbageCollectionCuda", arguments, 0);
  globalThis.gc?.();
  trimMemory();
  if (cuda.isAvailable()) cuda.emptyCache();
}
