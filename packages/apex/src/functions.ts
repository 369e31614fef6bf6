/** Functions of a user's own under O1: what dtype their tensors come in. */
import { addForwardRegion, atMost, amp, Tensor, type DType } from "@nbit/torch";
import { castTensors } from "./casts.js";
import { isMap } from "@nbit/torch/realm";

/** Whether code runs inside an O1 region with its casts on. */
let active = false;

/** @internal Run `fn` with O1's casts of user functions on or off. */
export function withCasts<T>(on: boolean, fn: () => T): T {
  const before = active;
  active = on;
  try {
    return fn();
  } finally {
    active = before;
  }
}

addForwardRegion(() => {
  const on = active;
  return (fn) => withCasts(on, fn);
});

type Fn<A extends readonly unknown[], R> = (...args: A) => R;

function casting<A extends readonly unknown[], R>(fn: Fn<A, R>, dtypeOf: (args: A) => DType | null): Fn<A, R> {
  return (...args) => {
    const dtype = active ? dtypeOf(args) : null;
    // Containers keep their shape: only tensors' dtypes differ.
    return dtype === null ? fn(...args) : fn(...(castTensors(args, dtype) as A));
  };
}

/**
 * A function that gets float16 tensors under O1, and its arguments as they are elsewhere: for kernels that want half.
 * @example const attend = halfFunction((q: Tensor, k: Tensor) => q.mm(k.t()));
 */
export function halfFunction<A extends readonly unknown[], R>(fn: Fn<A, R>): Fn<A, R> {
  atMost("halfFunction", arguments, 1);
  return casting(fn, () => "float16");
}
/** A function that gets float32 tensors under O1: for arithmetic that needs the range. */
export function floatFunction<A extends readonly unknown[], R>(fn: Fn<A, R>): Fn<A, R> {
  atMost("floatFunction", arguments, 1);
  return casting(fn, () => "float32");
}
/** A function that gets all its tensors in the widest floating dtype among them under O1. */
export function promoteFunction<A extends readonly unknown[], R>(fn: Fn<A, R>): Fn<A, R> {
  atMost("promoteFunction", arguments, 1);
  return casting(fn, (args) => widest(args));
}

const ORDER: readonly DType[] = ["float16", "bfloat16", "float32", "float64"];

function widest(value: unknown): DType | null {
  if (value instanceof Tensor) return ORDER.includes(value.dtype) ? value.dtype : null;
  const items: unknown[] = Array.isArray(value) ? value : isMap(value) ? [...value.values()] : [];
  let found: DType | null = null;
  for (const dtype of items.map(widest))
    if (dtype !== null && (found === null || ORDER.indexOf(dtype) > ORDER.indexOf(found))) found = dtype;
  return found;
}

/** Run `fn` inside an O1 region as if there were none. */
export function disableCasts<T>(fn: () => T, deviceType = "cpu"): T {
  atMost("disableCasts", arguments, 2);
  return withCasts(false, () => amp.autocast({ deviceType, enabled: false }, fn));
}
