/** Packed lists of tensors for code that runs every step over the same tensors: optimizers, clipping, scaling. */
import { ArgumentError, TensorDisposedError, words } from "../errors.js";
import { BUFFER_LENGTH, F, native } from "../native.js";
import { atMost } from "../options.js";
import { handleOrZero, isTensor, wrap } from "./handle.js";
import type { Tensor } from "./tensor.js";

/**
 * An immutable list of tensors, packed as handles. Any operator that takes a list of tensors takes one of these, at the cost of one copy of n numbers.
 *
 * A list made by {@link TensorList.of} borrows: it is valid as long as its tensors are. A list made by {@link TensorList.gradsOf} owns what it holds; `dispose()` it
 * (a step does so in a `finally`).
 */
export class TensorList {
  /** @internal */
  readonly handles: Float64Array;
  readonly #owned: boolean;
  /** Positions without a tensor (a parameter that has no gradient). */
  readonly missing: readonly number[];

  private constructor(handles: Float64Array, owned: boolean, missing: readonly number[]) {
    this.handles = handles;
    this.#owned = owned;
    this.missing = missing;
  }

  get length(): number {
    return this.handles.length;
  }

  /** A borrowed list. */
  static of(tensors: readonly Tensor[]): TensorList {
    atMost("TensorList.of", arguments, 1);
    if (!Array.isArray(tensors)) throw new ArgumentError("TensorList.of", "an array of tensors", tensors);
    const handles = new Float64Array(tensors.length);
    for (let i = 0; i < tensors.length; i++) {
      const tensor: unknown = tensors[i];
      if (!isTensor(tensor)) throw new ArgumentError("TensorList.of", `element ${i} to be a tensor`, tensor);
      const handle = handleOrZero(tensor);
      if (handle === 0) throw new TensorDisposedError("TensorList.of");
      handles[i] = handle;
    }
    return new TensorList(handles, false, []);
  }

  /** The gradients of `params`, in one native call; owned. Where a parameter has none, the position is listed in `missing`. */
  static gradsOf(params: TensorList): TensorList {
    atMost("TensorList.gradsOf", arguments, 1);
    const n = params.length;
    if (n > BUFFER_LENGTH) throw new ArgumentError("TensorList.gradsOf", `at most ${BUFFER_LENGTH} tensors`, n);
    F.set(params.handles);
    native.gradsInto(n);
    const handles = F.slice(0, n);
    let missing: number[] | null = null;
    for (let i = 0; i < n; i++) if (handles[i] === 0) (missing ??= []).push(i);
    return new TensorList(handles, true, missing ?? NONE);
  }

  /** A borrowed list of some positions. */
  select(indices: readonly number[]): TensorList {
    atMost("TensorList.select", arguments, 1);
    return new TensorList(Float64Array.from(indices, (i) => this.handles[i] ?? 0), false, []);
  }

  /** New tensors (tracked as any other) for every position; missing ones are an error. */
  toArray(): Tensor[] {
    atMost("TensorList.toArray", arguments, 0);
    if (this.missing.length > 0) throw new ArgumentError("TensorList.toArray", "every position to hold a tensor", words(`missing ${this.missing.join(", ")}`));
    return Array.from(this.handles, (h) => wrap(native.alias(h)));
  }

  /** Forget the gradients of every tensor of this list: `p.grad = null`. */
  clearGrads(): void {
    atMost("TensorList.clearGrads", arguments, 0);
    F.set(this.handles);
    native.clearGrads(this.length);
  }

  /** Give back what this list owns. */
  dispose(): void {
    atMost("TensorList.dispose", arguments, 0);
    if (!this.#owned) return;
    F.set(this.handles);
    native.releaseMany(this.length);
    this.handles.fill(0);
  }
  [Symbol.dispose](): void {
    this.dispose();
  }
}

const NONE: readonly number[] = [];
