/**
 * The one private field of a tensor that matters, its handle, and who may see it. The accessors are filled in by the class itself (tensor.ts), so that
 * code outside the package can neither read nor forge a handle.
 */
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
  wrap(handle: number): Tensor;
}

/** Whether a value is a tensor (disposed or not). */
export let isTensor: (value: unknown) => value is Tensor;
/** @internal 0 when the tensor has been disposed. */
export let handleOrZero: (tensor: Tensor) => number;
/** @internal */
export let escapeOf: (tensor: Tensor) => Lifetime;
/** @internal */
export let setEscape: (tensor: Tensor, state: Lifetime) => void;
/** @internal Take the handle away: the tensor is disposed as JavaScript sees it. */
export let sweepHandle: (tensor: Tensor) => number;
/** @internal A tensor for a handle that this side now owns; tracked by the current scope, or guarded. */
export let wrap: (handle: number) => Tensor;

/** @internal Called once, by the class. */
export function provide(accessors: Accessors): void {
  ({ isTensor, handleOrZero, escapeOf, setEscape, sweepHandle, wrap } = accessors);
}
