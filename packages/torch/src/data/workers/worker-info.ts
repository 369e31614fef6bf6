/** What a thread that loads data knows of itself. */
import { atMost } from "../../options.js";

export interface WorkerInfo {
  /** From 0 to numWorkers - 1. */
  readonly id: number;
  readonly numWorkers: number;
  /** What this thread's default generator was seeded with: the pass's seed plus `id`. */
  readonly seed: bigint;
  /** This thread's own. */
  readonly dataset: unknown;
}

let here: WorkerInfo | null = null;

/**
 * In a thread of a `DataLoader` with `numWorkers`: which one it is. Null everywhere else.
 *
 * A stream that is read by several threads splits itself by it: each gives a part of the elements.
 * @example
 * *[Symbol.iterator]() {
 *   const { id, numWorkers } = getWorkerInfo() ?? { id: 0, numWorkers: 1 };
 *   for (let i = id; i < this.files.length; i += numWorkers) yield* read(this.files[i]);
 * }
 */
export function getWorkerInfo(): WorkerInfo | null {
  atMost("getWorkerInfo", arguments, 0);
  return here;
}
/** @internal */
export function setWorkerInfo(info: WorkerInfo): void {
  here = Object.freeze(info);
}

let loads = false;
/** @internal Whether this thread belongs to a loader: it may not begin threads of its own. */
export const isLoaderThread = (): boolean => loads;
/** @internal Before anything of the program is loaded here. */
export function setLoaderThread(): void {
  loads = true;
}
