/**
 * Levels of function transforms: what runs inside one is mapped over a dimension, or differentiated. A level ends with
 * the function that it was entered for, and its tensors are of no use behind it.
 */
import { NbitError } from "../errors.js";
import { argBuffer, native } from "../native.js";
import { isPromise, refusePromise } from "../synchronous.js";
import { liveHandle, wrap } from "../tensor/handle.js";
import type { Tensor } from "../tensor/tensor.js";

/** What random operators do where each sample of a `vmap` calls them: fail, draw once for all, or for each. */
export type Randomness = "error" | "different" | "same";
const RANDOMNESS: Readonly<Record<Randomness, number>> = { error: 0, same: 1, different: 2 };

/** What a function of a transform returned, at once. */
export function settled(fn: string, result: unknown): unknown {
  if (!isPromise(result)) return result;
  return refusePromise(
    result,
    `${fn}: expected a synchronous function. Received: a function that returns a promise: the transform ends before its code after an await runs.`,
    "ERR_ASYNC_MODE",
  );
}

function within<T>(level: number, run: (level: number) => T): T {
  try {
    return run(level);
  } finally {
    native.transformLeave(level);
  }
}

export function inVmap<T>(size: number, randomness: Randomness, run: (level: number) => T): T {
  return within(native.vmapEnter(size, RANDOMNESS[randomness]), run);
}
export function inGrad<T>(run: (level: number) => T): T {
  return within(native.gradEnter(), run);
}
export function inJvp<T>(run: (level: number) => T): T {
  return within(native.jvpEnter(), run);
}

/** One sample of a tensor, which stands for all of them. */
export function batched(fn: string, t: Tensor, dim: number, level: number): Tensor {
  return wrap(native.addBatchDim(liveHandle(t, fn), dim, level));
}
export function isBatched(fn: string, t: Tensor, level: number): boolean {
  return native.hasBatchDim(liveHandle(t, fn), level);
}
/** All samples again, along `dim`. */
export function unbatched(fn: string, t: Tensor, level: number, size: number, dim: number): Tensor {
  return wrap(native.removeBatchDim(liveHandle(t, fn), level, size, dim));
}
/** A tensor as one of a level; `differentiate`: a leaf of the level's graph. */
export function lifted(fn: string, t: Tensor, level: number, differentiate: boolean): Tensor {
  return wrap(native.wrapForLevel(liveHandle(t, fn), level, differentiate));
}
/** The tensor behind one of a level; also behind one whose level is over. */
export function lowered(fn: string, t: Tensor, level: number): Tensor {
  return wrap(native.unwrapFromLevel(liveHandle(t, fn), level));
}
/** What a tensor of levels holds. */
export function innermost(fn: string, t: Tensor, all: boolean): Tensor {
  return wrap(native.innermost(liveHandle(t, fn), all));
}
export function dual(fn: string, primal: Tensor, tangent: Tensor): Tensor {
  return wrap(native.makeDual(liveHandle(primal, fn), liveHandle(tangent, fn)));
}
/** The value, and its derivative; null where it has none. */
export function undual(fn: string, t: Tensor): readonly [primal: Tensor, tangent: Tensor | null] {
  native.unpackDual(liveHandle(t, fn));
  const [primal = 0, tangent = 0] = argBuffer.slice(0, 2);
  if (primal === 0) throw new NbitError(`${fn}: expected a tensor with values`, "ERR_FUNC_TRANSFORM");
  return [wrap(primal), tangent === 0 ? null : wrap(tangent)];
}
