/**
 * What this process's JavaScript can hold: asked before something large is begun, because a heap or a stack that
 * overflows ends the process or gives an error that says nothing.
 */
import { getHeapStatistics } from "node:v8";
import { ArgumentError, verbatim } from "./errors.js";

/** Levels of arrays and objects in one another. Deeper ones are mistakes, such as a list inside itself. */
export const DEEPEST = 400;

/**
 * @throws {ArgumentError} `defaultCollate: expected at most 400 levels of arrays and objects. Received: one that is
 * deeper.`
 */
export function checkDepth(fn: string, depth: number): void {
  if (depth > DEEPEST)
    throw new ArgumentError(
      fn,
      `at most ${DEEPEST} levels of arrays and objects`,
      verbatim("one that is deeper"),
      "Is it inside itself?",
    );
}

/** So little is not worth asking for. */
const SMALL = 1 << 20;

/**
 * Check that `bytes` more have room on V8's heap.
 * @throws {ArgumentError} `tolist: expected what has room on JavaScript's heap, at most … MiB. Received: about … MiB.`
 */
export function checkHeap(fn: string, bytes: number, instead: string): void {
  if (bytes < SMALL) return;
  const heap = getHeapStatistics();
  // Arrays are copied while they grow and while they are collected.
  const room = Math.max(0, (heap.heap_size_limit - heap.used_heap_size) / 2);
  const mib = (n: number): string => `${Math.ceil(n / 2 ** 20)} MiB`;
  if (!(bytes <= room))
    throw new ArgumentError(
      fn,
      `what has room on JavaScript's heap, at most ${mib(room)}`,
      verbatim(`about ${mib(bytes)}`),
      `${instead} A larger heap: node --max-old-space-size=….`,
      "TORCH_OUT_OF_MEMORY",
    );
}
