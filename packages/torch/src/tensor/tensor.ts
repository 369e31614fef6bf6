/**
 * The tensor: a handle, its metadata, its values, its place in autograd. Operators come from the generated methods
 * (ops/methods.ts attaches them).
 */
import { addDescriber, ArgumentError, NbitError, verbatim } from "../errors.js";
import { argBuffer, native, writeLists, writeRoot } from "../native.js";
import { watch, watched } from "../autograd/watch.js";
import { isPromise, refusePromise } from "../synchronous.js";
import type { TensorMethods } from "../generated/methods.js";
import { takeScalar } from "../ops/read-results.js";
import { Complex } from "../ops/complex.js";
import { callable, flag, listOf, orNull, whole } from "../kinds.js";
import { tensorKind } from "./kinds.js";
import { atMost, checkArguments, optionsFrom, type Given, type OptionNames } from "../options.js";
import { dtypeName, isComplex, isFloatingPoint, type DType } from "./dtype.js";
import { deviceOfCode, type Device } from "./device.js";
import { handlesOf, isTensor, Lifetime, liveHandle, ownHandle, provide, sleep, sweepHandle, wrap } from "./handle.js";
import { track } from "./scope.js";
import type { Shape } from "./shapes.js";
import { plainBytes, typedArrayOf } from "./typed-arrays.js";
import { nested, type Nested, type TensorData } from "./values.js";
import type { Conversions } from "./conversions.js";
import type { Members } from "./members.js";
import { refuseArrayNames } from "./not-an-array.js";
import { formatTensor } from "./print.js";
import { index, setIndex, type Index } from "./indexing.js";
import { noteOtherMemory } from "../weights-epoch.js";
import { isBuffer } from "../realm.js";

const inspect = Symbol.for("nodejs.util.inspect.custom");

export interface BackwardOptions {
  /** The gradient of the tensor, of its shape; may be left out for a tensor of one element (then 1). */
  readonly gradient?: Tensor | null;
  /** Keep the graph for another backward. Default: `createGraph`. */
  readonly retainGraph?: boolean | null;
  /** Make the gradients differentiable themselves. Default false. */
  readonly createGraph?: boolean;
  /** Accumulate only into these leaves. */
  readonly inputs?: readonly Tensor[];
}
const BACKWARD: OptionNames<BackwardOptions> = {
  gradient: orNull(tensorKind),
  retainGraph: orNull(flag),
  createGraph: flag,
  inputs: listOf(tensorKind),
};

let legacy: (given: readonly unknown[]) => Tensor;
/** @internal How `new Tensor(2, 3)` makes one: filled in by legacy-types.ts. */
export function provideLegacy(make: (given: readonly unknown[]) => Tensor): void {
  legacy = make;
}

/** The handle that the tensor made next holds; 0 while none is to be made. */
let minted = 0;

/** For what does not depend on values, which may be elsewhere. */
function handleForMeta(t: Tensor, fn: string): number {
  return (isTensor(t) && ownHandle(t)) || liveHandle(t, fn);
}
/** Read metadata into the buffer. */
function meta(t: Tensor, fn: string): void {
  native.meta(handleForMeta(t, fn));
}

export interface Tensor<S extends Shape = Shape, D extends DType = DType> extends TensorMethods, Conversions, Members {
  /** Nobody reads it: it lets the compiler see shape and dtype, as parameters of a method, which go both ways. */
  readonly [known]?: { of(shape: S, dtype: D): void };
}
declare const known: unique symbol;

/**
 * An n-dimensional array on a device, with autograd. A thin JavaScript object around a handle to libtorch's own tensor.
 *
 * Made by {@link tensor}, factories (`zeros`, `randn`, …) and operators, never by `new`. Lives until its {@link scope}
 * ends, until `dispose()`, or until the garbage collector finds it. Using a disposed tensor is a {@link
 * TensorDisposedError}.
 */
// eslint-disable-next-line @typescript-eslint/no-unsafe-declaration-merging, @typescript-eslint/no-unused-vars -- the methods are attached to the prototype by ops/methods.ts; shape and dtype are the interface's
export class Tensor<S extends Shape = Shape, D extends DType = DType> {
  #handle: number;
  #lifetime: Lifetime = Lifetime.free;

  static {
    refuseArrayNames(this.prototype);
    provide({
      isTensor: (value): value is Tensor => typeof value === "object" && value !== null && #handle in value,
      handleOrZero: (t) => (t.#handle === 0 ? sleep.wake(t) : t.#handle),
      ownHandle: (t) => (t.#handle === 0 ? sleep.sleeping(t) : t.#handle),
      putHandle: (t, handle) => {
        t.#handle = handle;
      },
      escapeOf: (t) => t.#lifetime,
      setEscape: (t, state) => {
        t.#lifetime = state;
      },
      sweepHandle: (t) => {
        const handle = t.#handle === 0 ? sleep.takeSleeping(t) : t.#handle;
        t.#handle = 0;
        return handle;
      },
      wrap: (handle) => {
        minted = handle;
        const t = new Tensor();
        track(t);
        return t;
      },
      mint: (handle) => {
        minted = handle;
      },
    });
  }

  /** PyTorch's first way to make a tensor of the default dtype: of sizes (not initialised), or of data. */
  constructor(...sizes: readonly number[]);
  constructor(data: TensorData);
  // A handle comes from inside the package only: one that is forged could be another tensor's.
  constructor(...given: readonly unknown[]) {
    if (minted === 0 && new.target === Tensor && given.length > 0) {
      this.#handle = 0;
      return legacy(given);
    }
    if (minted === 0)
      throw new ArgumentError(
        "Tensor",
        "to be made by tensor(…), a factory or an operator",
        verbatim(`new ${new.target.name}(…)`),
        "",
        "ERR_TENSOR_CONSTRUCTOR",
      );
    this.#handle = minted;
    minted = 0;
  }

  // ---------------------------------------------------------------- metadata

  get shape(): readonly number[] {
    meta(this, "shape");
    const n = argBuffer[3] as number;
    const sizes = new Array<number>(n);
    for (let i = 0; i < n; i++) sizes[i] = argBuffer[8 + i] as number;
    return sizes;
  }
  get dtype(): DType {
    return dtypeName(native.dtypeOf(handleForMeta(this, "dtype")));
  }
  get device(): Device {
    meta(this, "device");
    return deviceOfCode(argBuffer[1] as number);
  }
  get ndim(): number {
    meta(this, "ndim");
    return argBuffer[3] as number;
  }
  dim(): number {
    atMost("dim", arguments, 0);
    return this.ndim;
  }
  numel(): number {
    atMost("numel", arguments, 0);
    meta(this, "numel");
    return argBuffer[4] as number;
  }
  /** Bytes of one element. */
  get itemsize(): number {
    meta(this, "itemsize");
    return argBuffer[7] as number;
  }
  /** Bytes of all elements; a view counts its own elements, not its storage. */
  get nbytes(): number {
    meta(this, "nbytes");
    return (argBuffer[7] as number) * (argBuffer[4] as number);
  }
  size(): readonly number[];
  size(dim: number): number;
  size(dim?: number): readonly number[] | number {
    atMost("size", arguments, 1);
    const shape = this.shape;
    if (dim === undefined) return shape;
    checkArguments("size", { dim }, { dim: whole() });
    const at = dim < 0 ? dim + shape.length : dim;
    const found = shape[at];
    if (found === undefined) throw new ArgumentError("size", `dim in [${-shape.length}, ${shape.length - 1}]`, dim);
    return found;
  }
  /** Steps in elements, one per dimension. */
  stride(): readonly number[] {
    atMost("stride", arguments, 0);
    meta(this, "stride");
    if (argBuffer[6] !== 0) throw new ArgumentError("stride", "a strided tensor", this);
    const n = argBuffer[3] as number;
    return Array.from(argBuffer.subarray(8 + n, 8 + 2 * n));
  }
  storageOffset(): number {
    atMost("storageOffset", arguments, 0);
    meta(this, "storageOffset");
    return argBuffer[5] as number;
  }
  isContiguous(): boolean {
    atMost("isContiguous", arguments, 0);
    meta(this, "isContiguous");
    return ((argBuffer[2] as number) & 4) !== 0;
  }
  get isView(): boolean {
    meta(this, "isView");
    return ((argBuffer[2] as number) & 8) !== 0;
  }
  /** Made in inference mode: autograd refuses it for good. */
  get isInference(): boolean {
    meta(this, "isInference");
    return ((argBuffer[2] as number) & 16) !== 0;
  }
  get layout(): "strided" | "sparseCoo" | "sparseCsr" | "other" {
    meta(this, "layout");
    return (["strided", "sparseCoo", "sparseCsr"] as const)[argBuffer[6] as number] ?? "other";
  }
  get isSparse(): boolean {
    return this.layout === "sparseCoo";
  }
  get isCuda(): boolean {
    return this.device.type === "cuda";
  }
  isFloatingPoint(): boolean {
    atMost("isFloatingPoint", arguments, 0);
    return isFloatingPoint(this.dtype);
  }
  isComplex(): boolean {
    atMost("isComplex", arguments, 0);
    return isComplex(this.dtype);
  }
  /** Address of the first element: equal addresses share memory. */
  dataPtr(): number {
    atMost("dataPtr", arguments, 0);
    return native.dataPointer(liveHandle(this, "dataPtr"));
  }
  /** Counts in-place changes; -1 for an inference tensor. */
  get version(): number {
    native.storageInfo(liveHandle(this, "version"));
    return argBuffer[2] as number;
  }

  // ---------------------------------------------------------------- values

  /**
   * The value of a tensor of one element, as a number; booleans return 0 and 1. Waits for the tensor's device.
   * @throws {ArgumentError} for more than one element, for a complex value, and for an int64 that a number cannot hold
   * (use `itemBigInt()`).
   */
  item(): number {
    atMost("item", arguments, 0);
    native.item(liveHandle(this, "item"));
    const value = takeScalar();
    if (typeof value === "number") return value;
    if (typeof value === "boolean") return value ? 1 : 0;
    if (typeof value === "bigint")
      throw new ArgumentError("item", "an integer within ±2^53", value, "Use itemBigInt().");
    throw new ArgumentError("item", "a real value", value.toString(), "Use itemComplex().");
  }
  itemBigInt(): bigint {
    atMost("itemBigInt", arguments, 0);
    native.item(liveHandle(this, "itemBigInt"));
    const value = takeScalar();
    if (value instanceof Complex || (typeof value === "number" && !Number.isInteger(value)))
      throw new ArgumentError("itemBigInt", "an integer", value);
    return BigInt(value);
  }
  itemComplex(): Complex {
    atMost("itemComplex", arguments, 0);
    native.item(liveHandle(this, "itemComplex"));
    const value = takeScalar();
    return value instanceof Complex ? value : new Complex(Number(value), 0);
  }
  /**
   * Nested arrays of numbers (booleans for bool; bigints where an int64 is beyond 2^53; `Complex` for complex dtypes).
   * A tensor without dimensions returns its value. Copies to the CPU.
   * @typeParam T - What the caller knows of it: `t.tolist<number[][]>()`. Nothing checks it.
   */
  tolist<T extends Nested = Nested>(): T {
    atMost("tolist", arguments, 0);
    return nested(this) as T;
  }
  /**
   * A copy of the elements in row-major order: Float32Array, Float64Array, Int8Array, Uint8Array (also bool),
   * Int16Array, Int32Array, BigInt64Array, … bfloat16 and float8 return their raw bits (Uint16Array, Uint8Array), as
   * does float16 where JavaScript has no Float16Array (before Node 24): convert with `.float()` first to get values.
   */
  toTypedArray(): ReturnType<typeof typedArrayOf> {
    atMost("toTypedArray", arguments, 0);
    return typedArrayOf(this.dtype, native.toBytes(liveHandle(this, "toTypedArray")));
  }
  /** The raw bytes of the elements in row-major order, copied. */
  toBytes(): ArrayBuffer {
    atMost("toBytes", arguments, 0);
    return native.toBytes(liveHandle(this, "toBytes"));
  }
  /** Overwrite all elements from bytes of the same dtype and count, in row-major order. Autograd does not see it. */
  copyFromBytes(bytes: ArrayBufferView | ArrayBuffer): this {
    atMost("copyFromBytes", arguments, 1);
    if (!ArrayBuffer.isView(bytes) && !isBuffer(bytes))
      throw new ArgumentError("copyFromBytes", "a typed array or an ArrayBuffer", bytes);
    native.copyFromBytes(
      liveHandle(this, "copyFromBytes"),
      ArrayBuffer.isView(bytes) ? plainBytes(bytes) : new Uint8Array(bytes),
    );
    return this;
  }

  /** As PyTorch prints it. */
  toString(): string {
    if (!isTensor(this)) return "Tensor {}";
    return ownHandle(this) === 0 ? "tensor(disposed)" : formatTensor(this);
  }
  [inspect](): string {
    return this.toString();
  }
  toJSON(): Nested {
    return this.tolist();
  }

  // ---------------------------------------------------------------- indexing

  /**
   * Index as in PyTorch: `t.at(0)`, `t.at(":", "1:3")`, `t.at("...", null)`, `t.at(mask)`, `t.at([0, 2])`. Views where
   * PyTorch returns views.
   */
  at(...indices: readonly Index[]): Tensor {
    return index(this, ...indices);
  }
  /** `t[indices] = value`. */
  setAt(indices: readonly Index[], value: Tensor | number | bigint | boolean): this {
    atMost("setAt", arguments, 2);
    setIndex(this, indices, value);
    return this;
  }

  /**
   * Its rows: views along the first dimension, as `unbind(0)` gives them.
   * @throws {ArgumentError} For a tensor without dimensions.
   */
  *[Symbol.iterator](): IterableIterator<Tensor> {
    if (this.ndim === 0)
      throw new ArgumentError("for…of", "a tensor with a dimension to walk along", this, "item() is its value.");
    yield* this.unbind(0);
  }

  // ---------------------------------------------------------------- autograd

  get requiresGrad(): boolean {
    meta(this, "requiresGrad");
    return ((argBuffer[2] as number) & 1) !== 0;
  }
  set requiresGrad(on: boolean) {
    native.setRequiresGrad(liveHandle(this, "requiresGrad"), on);
  }
  requiresGrad_(on = true): this {
    atMost("requiresGrad_", arguments, 1);
    checkArguments("requiresGrad_", { on }, { on: flag });
    native.setRequiresGrad(liveHandle(this, "requiresGrad_"), on);
    return this;
  }
  get isLeaf(): boolean {
    meta(this, "isLeaf");
    return ((argBuffer[2] as number) & 2) !== 0;
  }
  /** The accumulated gradient, as a new tensor object around the same memory; null before the first backward. */
  get grad(): Tensor | null {
    const handle = native.getGrad(liveHandle(this, "grad"));
    return handle === 0 ? null : wrap(handle);
  }
  set grad(value: Tensor | null) {
    if (value === null || value === undefined) {
      native.setGrad(liveHandle(this, "grad"), 0);
      return;
    }
    if (!isTensor(value)) throw new ArgumentError("grad", "a tensor or null", value);
    native.setGrad(liveHandle(this, "grad"), liveHandle(value, "grad"));
  }
  /** Name of the node that made this tensor, such as "AddBackward0"; null for a leaf. */
  get gradFn(): string | null {
    return native.gradFnName(liveHandle(this, "gradFn")) ?? null;
  }
  /** Keep the gradient of a tensor that is not a leaf. */
  retainGrad(): this {
    atMost("retainGrad", arguments, 0);
    native.retainGrad(liveHandle(this, "retainGrad"));
    return this;
  }
  /**
   * Accumulate gradients into every leaf that this tensor was computed from. Its gradient may stand by position, as in
   * PyTorch.
   */
  backward(...given: Given<BackwardOptions, [gradient: Tensor | null, retainGraph?: boolean | null]>): void {
    if (arguments.length === 0) {
      const root = liveHandle(this, "backward");
      if (watch !== null) return watch.backward(() => backwardOf(root), false);
      return backwardOf(root);
    }
    const options = optionsFrom("backward", 0, given, BACKWARD, 2);
    const { gradient, inputs = [], retainGraph, createGraph } = options;
    const leaves = handlesOf("backward", "inputs", inputs);
    const [root, from] = [liveHandle(this, "backward"), gradient ? [liveHandle(gradient, "backward")] : []];
    watched(() => {
      writeLists([root], from, leaves);
      native.backward(
        retainGraph === undefined || retainGraph === null ? -1 : retainGraph ? 1 : 0,
        createGraph === true,
      );
    });
  }
  /**
   * Call `fn` with this tensor's gradient whenever one is computed; a tensor that it returns takes its place. Runs
   * inside a scope: keep what must survive.
   *
   * The hook lives as long as this tensor. One that refers to the tensor itself keeps both for good: `remove()` it.
   */
  registerHook(fn: (grad: Tensor) => Tensor | null | undefined | void): { remove(): void } {
    atMost("registerHook", arguments, 1);
    checkArguments("registerHook", { fn }, { fn: callable });
    const handle = liveHandle(this, "registerHook");
    const id = native.registerHook(handle, gradientHook(fn));
    return {
      remove: () => {
        if (ownHandle(this) !== 0) native.removeHook(ownHandle(this), id);
      },
    };
  }
  /**
   * Call `fn` after the gradient of this leaf was accumulated into `grad`. One per tensor; null takes it away. Refer to
   * the tensor by the argument: a hook that holds it otherwise keeps both for good.
   */
  registerPostAccumulateGradHook(fn: ((parameter: Tensor) => void) | null): void {
    atMost("registerPostAccumulateGradHook", arguments, 1);
    checkArguments("registerPostAccumulateGradHook", { fn }, { fn: orNull(callable) });
    native.setPostAccumulateHook(
      liveHandle(this, "registerPostAccumulateGradHook"),
      fn === null ? null : accumulateHook(fn, new WeakRef(this)),
    );
  }
  /**
   * The same memory outside of autograd: what is written there changes this tensor, and everything that was derived from
   * a weight and kept notices. Differs from PyTorch's in that: a backward that needs the value from before says so,
   * instead of taking the new one.
   */
  get data(): Tensor {
    return this.detach();
  }
  set data(value: Tensor) {
    throw new ArgumentError(
      "data",
      "t.data.copy_(value)",
      verbatim(`t.data = ${isTensor(value) ? "a tensor" : "…"}`),
      "An optimizer, and whoever holds the tensor, would not see another one.",
    );
  }
  /**
   * @internal Take over another tensor's storage, dtype and device, keeping identity: how `module.to()` changes
   * parameters under an optimizer.
   */
  setData(source: Tensor): void {
    atMost("Tensor.setData", arguments, 1);
    if (!isTensor(source)) throw new ArgumentError("setData", "a tensor", source);
    native.setData(liveHandle(this, "setData"), liveHandle(source, "setData"));
    noteOtherMemory();
  }

  // ---------------------------------------------------------------- lifetime

  get disposed(): boolean {
    return isTensor(this) && ownHandle(this) === 0;
  }
  /** Give the memory back now. Safe to call twice. */
  dispose(): void {
    atMost("dispose", arguments, 0);
    if (!isTensor(this)) liveHandle(this, "dispose");
    const handle = sweepHandle(this);
    if (handle !== 0) native.release(handle);
  }
  [Symbol.dispose](): void {
    this.dispose();
  }

  /** Tensors are compared by operators, not by conversion. */
  [Symbol.toPrimitive](hint: string): string {
    if (hint === "string") return this.toString();
    throw new NbitError(
      "Tensor: expected an operator such as a.add(b) or a.lt(b). Received: a JavaScript operator on a tensor. Use item() for the number of a one-element tensor.",
      "ERR_TENSOR_OPERATOR",
    );
  }
}

function backwardOf(root: number): void {
  writeRoot(root);
  native.backward(-1, false);
}

// The addon holds a hook for as long as the native tensor lives. One that held the JavaScript tensor, also by sharing
// the variables of the method that made it, would keep both for good: hence functions of their own.

function gradientHook(fn: (grad: Tensor) => unknown): () => void {
  return () => {
    const gradient = wrap(takeHandle());
    const after = fn(gradient);
    if (isPromise(after))
      refusePromise(
        after,
        "registerHook: expected a hook that ends when it returns. Received: one that returns a promise: backward does not wait for it. Take what it needs of the gradient, and wait elsewhere.",
        "ERR_ASYNC_HOOK",
      );
    const replaced = isTensor(after) ? liveHandle(after, "registerHook") : 0;
    argBuffer[0] = replaced;
  };
}
function accumulateHook(fn: (parameter: Tensor) => void, known: WeakRef<Tensor>): () => void {
  return () => {
    const handle = takeHandle();
    const parameter = known.deref();
    if (parameter === undefined) return fn(wrap(handle)); // nobody else has it any more
    native.release(handle);
    fn(parameter);
  };
}

/** The handle that the addon gives to a hook; the mark before it says that it was read. */
function takeHandle(): number {
  const handle = argBuffer[1] as number;
  argBuffer[0] = 0;
  return handle;
}

addDescriber((value) => {
  if (!isTensor(value)) return null;
  if (ownHandle(value) === 0) return "a disposed Tensor";
  return `Tensor ${value.dtype} [${value.shape.join(", ")}] ${value.device.toString()}`;
});
