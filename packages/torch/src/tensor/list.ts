/** Packed lists of tensors for code that runs every step over the same tensors: optimizers, clipping, scaling. */
import { ArgumentError, verbatim } from "../errors.js";
import { argBuffer, native, reserve } from "../native.js";
import { atMost } from "../options.js";
import { handlesOf, wrap } from "./handle.js";
import type { Tensor } from "./tensor.js";

interface Accessors {
  isTensorList(value: unknown): value is TensorList;
  packedHandles(list: TensorList): Float64Array;
}
/** @internal */
export let isTensorList: Accessors["isTensorList"];
/** @internal What an operator copies into the buffer; not to be written to. */
export let packedHandles: Accessors["packedHandles"];
function provideList(accessors: Accessors): void {
  ({ isTensorList, packedHandles } = accessors);
}

const INSIDE = Symbol("TensorList");
const NONE: readonly number[] = [];

/**
 * An immutable list of tensors, packed as handles. Any operator that takes a list of tensors takes one of these, at the
 * cost of one copy of n numbers.
 *
 * A list made by {@link TensorList.of} borrows: it is valid as long as its tensors are. A list made by {@link
 * TensorList.gradsOf} owns what it holds; `dispose()` it (a step does so in a `finally`).
 */
export class TensorList {
  readonly #handles: Float64Array;
  readonly #owned: boolean;
  /** Positions without a tensor (a parameter that has no gradient). */
  readonly missing: readonly number[];

  static {
    provideList({
      isTensorList: (value): value is TensorList => typeof value === "object" && value !== null && #handles in value,
      packedHandles: (list) => list.#handles,
    });
  }

  private constructor(key: symbol, handles: Float64Array, owned: boolean, missing: readonly number[]) {
    if (key !== INSIDE)
      throw new ArgumentError(
        "TensorList",
        "to be made by TensorList.of or TensorList.gradsOf",
        verbatim("new TensorList(…)"),
        "",
        "ERR_TENSOR_CONSTRUCTOR",
      );
    this.#handles = handles;
    this.#owned = owned;
    this.missing = missing;
  }

  get length(): number {
    return this.#handles.length;
  }

  /** A borrowed list. */
  static of(tensors: readonly Tensor[]): TensorList {
    atMost("TensorList.of", arguments, 1);
    return new TensorList(INSIDE, new Float64Array(handlesOf("TensorList.of", "tensors", tensors)), false, NONE);
  }

  /**
   * The gradients of `params`, in one native call; owned. Where a parameter has none, the position is listed in
   * `missing`.
   */
  static gradsOf(params: TensorList): TensorList {
    atMost("TensorList.gradsOf", arguments, 1);
    if (!isTensorList(params)) throw new ArgumentError("TensorList.gradsOf", "a TensorList", params);
    const n = params.length;
    load(params.#handles);
    native.gradsInto(n);
    const handles = argBuffer.slice(0, n);
    let missing: number[] | null = null;
    for (let i = 0; i < n; i++) if (handles[i] === 0) (missing ??= []).push(i);
    return new TensorList(INSIDE, handles, true, missing ?? NONE);
  }

  /** A borrowed list of some positions. */
  select(indices: readonly number[]): TensorList {
    atMost("TensorList.select", arguments, 1);
    return new TensorList(
      INSIDE,
      Float64Array.from(indices, (i) => this.#handles[i] ?? 0),
      false,
      NONE,
    );
  }

  /** New tensors (tracked as any other) for every position; missing ones are an error. */
  toArray(): Tensor[] {
    atMost("TensorList.toArray", arguments, 0);
    if (this.missing.length > 0)
      throw new ArgumentError(
        "TensorList.toArray",
        "every position to hold a tensor",
        verbatim(`missing ${this.missing.join(", ")}`),
      );
    return Array.from(this.#handles, (h) => wrap(native.alias(h)));
  }

  /** Forget the gradients of every tensor of this list: `p.grad = null`. */
  clearGrads(): void {
    atMost("TensorList.clearGrads", arguments, 0);
    load(this.#handles);
    native.clearGrads(this.length);
  }

  /** Give back what this list owns. */
  dispose(): void {
    atMost("TensorList.dispose", arguments, 0);
    if (!this.#owned) return;
    load(this.#handles);
    native.releaseMany(this.length);
    this.#handles.fill(0);
  }
  [Symbol.dispose](): void {
    this.dispose();
  }
}

function load(handles: Float64Array): void {
  reserve(handles.length);
  argBuffer.set(handles);
}
