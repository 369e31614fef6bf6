/** Tensors that go from one thread to another without a copy. */
import { native } from "../native.js";
import { atMost } from "../options.js";
import { liveHandle, wrap } from "./handle.js";
import type { Tensor } from "./tensor.js";

/**
 * @internal Keep a tensor for another thread → a number that says which, for {@link takeOver} there. Both threads see
 * the same memory; shape, version and gradient are each one's own. The tensor stays with its owner.
 *
 * @param group - Who lets go of it if nobody takes it: {@link dropHandedOver}.
 * @throws {TorchError} for one that is not on the CPU, or has a graph.
 */
export function handOver(tensor: Tensor, group: number): number {
  return native.handOver(liveHandle(tensor, "handOver"), group);
}
/** @internal The tensor that was handed over under a number: a new one of this thread. Works once. */
export function takeOver(id: number): Tensor {
  return wrap(native.takeOver(id));
}
/** @internal Let go of all that was handed over in a group and not taken. @returns How many tensors that were. */
export function dropHandedOver(group: number): number {
  return native.dropHandedOver(group);
}
/**
 * @internal From now on this thread draws from a default generator of its own, and its operators use no other thread.
 * For good: a thread that loads data ends with its loader.
 */
export function drawAlone(): void {
  atMost("drawAlone", arguments, 0);
  native.drawAlone();
}
