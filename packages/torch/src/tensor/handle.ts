/**
 * The one private field of a tensor that matters, its handle, and who may see it. The accessors are filled in by the
 * class itself (tensor.ts), so that code outside the package can neither read nor forge a handle.
 */
import { ArgumentError, TensorDisposedError } from "../errors.js";
import { MOST_ELEMENTS } from "../read-once.js";
import type { Tensor } from "./tensor.js";

/** Where a tensor stands with scopes. */
export const Lifetime = { free: 0, scoped: 1, escaping: 2 } as const;
export type Lifetime = (typeof Lifetime)[keyof typeof Lifetime];

interface Accessors {
  isTensor(value: unknown): value is Tensor;
  handleOrZero(tensor: Tensor): number;
  escapeOf(tensor: Tensor): Lifetime;
  setEscape(tensor: Tensor, state: Lifetime): void;
  sweepHandle(tensor: Tensor): number;
  ownHandle(tensor: Tensor): number;
  putHandle(tensor: Tensor, handle: number): void;
  wrap(handle: number): Tensor;
  mint(handle: number): void;
}

/** Whether a value is a tensor (disposed or not). */
export let isTensor: (value: unknown) => value is Tensor;
/** @internal 0 when the tensor has been disposed. One whose values are elsewhere gets them first (deferred.ts). */
export let handleOrZero: (tensor: Tensor) => number;
/** @internal */
export let escapeOf: (tensor: Tensor) => Lifetime;
/** @internal */
export let setEscape: (tensor: Tensor, state: Lifetime) => void;
/** @internal Take the handle away: the tensor is disposed as JavaScript sees it. */
export let sweepHandle: (tensor: Tensor) => number;
/** @internal The handle, wherever the values are: for who does not look at them. 0 when the tensor has been disposed. */
export let ownHandle: (tensor: Tensor) => number;
/** @internal Of a tensor without one. */
export let putHandle: (tensor: Tensor, handle: number) => void;
/** @internal A tensor for a handle that this side now owns; tracked by the current scope, or guarded. */
export let wrap: (handle: number) => Tensor;

/**
 * @internal The next tensor that is constructed holds this handle: for classes that extend Tensor. Without it, no
 * constructor makes one.
 */
export let mint: (handle: number) => void;

/** @internal The handle of a live tensor. */
export function liveHandle(tensor: Tensor, fn: string | null): number {
  if (!isTensor(tensor)) throw new ArgumentError(fn ?? "Tensor", "a tensor before the dot", tensor);
  const handle = handleOrZero(tensor);
  if (handle === 0) throw new TensorDisposedError(fn);
  return handle;
}

/**
 * @internal Handles of a list of tensors, read once, whatever getters it has.
 * @param nullable - Null and undefined may stand for no tensor: 0.
 */
export function handlesOf(fn: string, name: string, list: unknown, nullable = false): number[] {
  if (!Array.isArray(list)) throw new ArgumentError(fn, `${name} to be an array of tensors`, list);
  const n = list.length;
  if (!(n <= MOST_ELEMENTS))
    throw new ArgumentError(fn, `${name} to have at most ${MOST_ELEMENTS.toLocaleString("en")} elements`, list);
  const handles = new Array<number>(n).fill(0);
  for (let i = 0; i < n; i++) {
    const t: unknown = list[i];
    if (isTensor(t)) {
      const handle = handleOrZero(t);
      if (handle === 0) throw new TensorDisposedError(fn);
      handles[i] = handle;
    } else if (!nullable || (t !== null && t !== undefined))
      throw new ArgumentError(fn, `${name}[${i}] to be a tensor${nullable ? " or null" : ""}`, t);
  }
  return handles;
}

/** @internal Called once, by the class. */
export function provide(accessors: Accessors): void {
  ({ isTensor, handleOrZero, escapeOf, setEscape, sweepHandle, ownHandle, putHandle, wrap, mint } = accessors);
}

/** What tensors without a handle may be: asleep (deferred.ts). */
interface Sleep {
  /** Its handle, when its values are here; 0: it has none. */
  wake(tensor: Tensor): number;
  sleeping(tensor: Tensor): number;
  takeSleeping(tensor: Tensor): number;
}
/** @internal Filled in by deferred.ts. */
export const sleep: Sleep = { wake: () => 0, sleeping: () => 0, takeSleeping: () => 0 };
/** @internal Called once. */
export function provideSleep(given: Sleep): void {
  Object.assign(sleep, given);
}
