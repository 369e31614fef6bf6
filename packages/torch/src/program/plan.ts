import { argBuffer } from "../native.js";

/** How a recorded step runs. */
export interface ReplayPlan {
  /** Recorded, and calls of kernels in a replay: views and room that nobody has written yet need none. */
  readonly operators: number;
  readonly calls: number;
  /** Of the calls: without the dispatcher; and those whose results get memory of their own in every replay. */
  readonly straight: number;
  readonly allocating: number;
  /** Memory of intermediate results, shared out by lifetime; and of results with memory of their own. */
  readonly arenaBytes: number;
  readonly ownBytes: number;
}

/** @internal What the addon has left in the buffer. */
export function readPlan(): ReplayPlan {
  const [operators = 0, calls = 0, straight = 0, , allocating = 0, arenaBytes = 0, ownBytes = 0] = argBuffer;
  return { operators, calls, straight, allocating, arenaBytes, ownBytes };
}
