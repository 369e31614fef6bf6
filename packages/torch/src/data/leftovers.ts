/**
 * Elements that were collated and are nobody's any more. Where a dataset is asynchronous, its tensors belong to no
 * scope, and the loader can't dispose of them: the dataset may have kept them. The garbage collector knows; told of
 * nothing, it looks through the whole heap for every 64 MB of tensors (0.6 ms a photograph, a fifth of its cost), and
 * the next elements take fresh memory meanwhile. They are all young, so that a look at the young ones does.
 */
import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";
import { isPlain } from "../realm.js";
import { isTensor } from "../tensor/handle.js";

/** Elements of so many bytes are worth a look, which takes about a millisecond. */
const ENOUGH = 16 << 20;

type Collect = (options: { readonly type: "minor" }) => void;
let collector: Collect | null | undefined;

/** V8's own, which it gives to contexts that are made while a flag is set; null in a runtime without. */
function youngCollector(): Collect | null {
  if (collector !== undefined) return collector;
  try {
    setFlagsFromString("--expose-gc");
    collector = runInNewContext("gc") as Collect;
  } catch {
    collector = null;
  }
  if (globalThis.gc === undefined) setFlagsFromString("--no-expose-gc");
  return collector;
}

function bytesOf(element: unknown, depth = 0): number {
  if (isTensor(element)) return element.disposed ? 0 : element.nbytes;
  // A typed array's values are not for listing, nor are fields of classes.
  if (depth > 2 || !(Array.isArray(element) || isPlain(element))) return 0;
  const parts: readonly unknown[] = Array.isArray(element) ? element : Object.values(element);
  return parts.length > 16 ? 0 : parts.reduce<number>((sum, part) => sum + bytesOf(part, depth + 1), 0);
}

export class Leftovers {
  #bytes = 0;

  /** These have been copied into a batch. */
  add(elements: readonly unknown[]): void {
    for (const element of elements) this.#bytes += bytesOf(element);
  }
  /** Frees what is worth it. For a time when no element is in a variable: before the next ones are asked for. */
  sweep(): void {
    if (this.#bytes < ENOUGH) return;
    this.#bytes = 0;
    youngCollector()?.({ type: "minor" });
  }
}
