/** Values between JavaScript and tensors: nested arrays, typed arrays, and bytes. */
import { ArgumentError, verbatim } from "../errors.js";
import { checkHeap } from "../limits.js";
import { native, writeLists } from "../native.js";
import { becomesInfinity, checkIntegers, warnOfInfinity } from "../number-range.js";
import { elementsOf } from "../read-once.js";
import { isBuffer } from "../realm.js";
import { Complex } from "../ops/complex.js";
import { flag, listOf, orNull, whole } from "../kinds.js";
import { autocastRegion } from "./autocast-region.js";
import { deviceKind, dtypeKind } from "./kinds.js";
import { atMost, checkArguments, checkOptions, type OptionNames } from "../options.js";
import { dtypeCode, isComplex, isFloatingPoint, type DType } from "./dtype.js";
import { device as deviceOf, type DeviceLike } from "./device.js";
import { defaultDevice } from "./default-device.js";
import { getDefaultDtype } from "./default-dtype.js";
import { handleOrZero, isTensor, wrap } from "./handle.js";
import type { Tensor } from "./tensor.js";
import { dtypeOfTypedArray, plainBytes, type TypedArray } from "./typed-arrays.js";

/** What `tolist` returns. */
export type Nested = number | boolean | bigint | Complex | Nested[];
/** What `tensor` takes. */
export type TensorData = number | boolean | bigint | Complex | TypedArray | readonly TensorData[];
interface Flat {
  readonly shape: number[];
  readonly values: (number | boolean | bigint | Complex)[];
}

function flatten(data: TensorData, flat: Flat, depth: number): void {
  if (depth > 64) throw new ArgumentError("tensor", "at most 64 dimensions (is the array inside itself?)", data);
  if (Array.isArray(data) || ArrayBuffer.isView(data)) {
    const list = data as readonly TensorData[];
    const length = list.length;
    if (flat.shape.length === depth) {
      if (flat.values.length > 0)
        throw new ArgumentError("tensor", "all elements at one depth to be numbers, or all to be arrays", data);
      flat.shape.push(length);
    } else if (flat.shape[depth] !== length) {
      throw new ArgumentError(
        "tensor",
        `arrays of equal length at depth ${depth} (${flat.shape[depth]})`,
        verbatim(`length ${length}`),
      );
    }
    const n = flat.shape[depth] as number;
    for (let i = 0; i < n; i++) flatten(list[i] as TensorData, flat, depth + 1);
    return;
  }
  if (depth !== flat.shape.length)
    throw new ArgumentError("tensor", "all elements at one depth to be numbers, or all to be arrays", data);
  if (typeof data !== "number" && typeof data !== "boolean" && typeof data !== "bigint" && !(data instanceof Complex))
    throw new ArgumentError("tensor", "numbers, booleans, bigints, typed arrays or nested arrays of them", data);
  flat.values.push(data);
}

export interface TensorOptions {
  readonly dtype?: DType | undefined;
  readonly device?: DeviceLike | undefined;
  readonly requiresGrad?: boolean | undefined;
  /** Of as many elements as there are. Default: that of the data; of a typed array, one dimension. */
  readonly shape?: readonly number[] | undefined;
}
const NAMES: OptionNames<TensorOptions> = {
  dtype: orNull(dtypeKind),
  device: orNull(deviceKind),
  requiresGrad: flag,
  shape: listOf(whole("[0, ∞)")),
};

/**
 * A new tensor from JavaScript values, copied.
 *
 * JavaScript has one kind of number, so numbers become the default dtype (float32) whether they are whole or not; pass
 * `dtype: "int64"` for class indices. Booleans become bool, bigints int64, typed arrays their own dtype (one dimension;
 * Float16Array is float16, where JavaScript has it).
 *
 * @param data - A number, boolean, bigint, typed array, or nested arrays of equal lengths.
 * @throws {ArgumentError} `tensor: expected arrays of equal length at depth 1 (2). Received: "length 3".`
 * @example tensor([[1, 2], [3, 4]]).shape; // [2, 2]
 */
export function tensor(data: TensorData | Tensor, options: TensorOptions = {}): Tensor {
  atMost("tensor", arguments, 2);
  checkOptions("tensor", options, NAMES);
  const own = make(data, options);
  const made = options.shape === undefined ? own : shaped(own, options.shape);
  if (options.requiresGrad === true) native.setRequiresGrad(handleOrZero(made), true);
  return made;
}

function shaped(made: Tensor, shape: readonly number[]): Tensor {
  const wanted = shape.reduce((a, b) => a * b, 1);
  if (wanted !== made.numel()) {
    const n = made.numel();
    made.dispose();
    throw new ArgumentError("tensor", `shape to have as many elements as the data (${n})`, shape);
  }
  const view = made.view(shape);
  made.dispose();
  return view;
}

function make(data: TensorData | Tensor, options: TensorOptions): Tensor {
  const device = deviceOf(options.device ?? defaultDevice ?? "cpu", "tensor");
  if (options.dtype !== undefined) dtypeCode(options.dtype, "tensor");
  if (isTensor(data)) {
    const copy = data.detach().clone();
    return options.dtype === undefined && options.device === undefined
      ? copy
      : copy.to({ dtype: options.dtype ?? data.dtype, device: options.device ?? data.device });
  }
  if (ArrayBuffer.isView(data)) {
    const own = dtypeOfTypedArray(data);
    const made = fromBytes(data, own, [data.length], device.code);
    return convert(made, own, options.dtype);
  }
  const flat: Flat = { shape: [], values: [] };
  flatten(data, flat, 0);
  const natural = naturalDtype(flat.values);
  const target = options.dtype ?? natural;
  if (target === "float16") tellInfinities(flat.values);
  else if (target !== "float32") checkIntegers(flat.values, target);
  // Numbers travel as float64, which holds every float32 and integers to 2^53; int64 from bigints travels exactly.
  if (flat.values.some((v) => v instanceof Complex)) {
    const pairs = new Float64Array(flat.values.length * 2);
    flat.values.forEach((v, i) => {
      pairs[2 * i] = v instanceof Complex ? v.re : Number(v);
      pairs[2 * i + 1] = v instanceof Complex ? v.im : 0;
    });
    return convert(fromBytes(pairs, "complex128", flat.shape, device.code), "complex128", target);
  }
  if (target === "float32")
    return fromBytes(Float32Array.from(flat.values, Number), "float32", flat.shape, device.code);
  if (
    !isFloatingPoint(target) &&
    (target === "int64" || target === "uint64" || flat.values.some((v) => typeof v === "bigint"))
  ) {
    const exact = target === "uint64" ? "uint64" : "int64";
    const ints = BigInt64Array.from(flat.values, (v) => toBigInt(v, exact));
    return convert(fromBytes(ints, exact, flat.shape, device.code), exact, target);
  }
  return convert(
    fromBytes(Float64Array.from(flat.values, Number), "float64", flat.shape, device.code),
    "float64",
    target,
  );
}

/** As PyTorch returns infinity, but told where float16 is the precision's choice. */
function tellInfinities(values: Flat["values"]): void {
  const beyond = values.find(becomesInfinity);
  if (beyond === undefined) return;
  const region = float16Region();
  if (region !== null) warnOfInfinity("tensor", beyond, region);
}
/** Why numbers are in float16 here, where that is a precision's choice; null: it is not. */
function float16Region(): string | null {
  if (getDefaultDtype() === "float16") return "float16 is the default dtype here";
  const region = autocastRegion("float16");
  return region === null ? null : `this is a region of ${region}`;
}

function toBigInt(v: number | boolean | bigint | Complex, dtype: "int64" | "uint64"): bigint {
  if (typeof v !== "bigint") {
    const n = Number(v);
    if (!Number.isFinite(n)) throw new ArgumentError("tensor", "finite values for an integer dtype", n);
    return toBigInt(BigInt(Math.trunc(n)), dtype);
  }
  const held = dtype === "int64" ? BigInt.asIntN(64, v) : BigInt.asUintN(64, v);
  if (held !== v)
    throw new ArgumentError(
      "tensor",
      `whole numbers that ${dtype} holds`,
      v,
      dtype === "int64" ? 'dtype: "float64" takes any.' : "",
    );
  return BigInt.asIntN(64, v);
}

function naturalDtype(values: readonly (number | boolean | bigint | Complex)[]): DType {
  if (values.length === 0) return getDefaultDtype();
  if (values.every((v) => typeof v === "boolean")) return "bool";
  if (values.every((v) => typeof v === "bigint" || typeof v === "boolean")) return "int64";
  if (values.some((v) => v instanceof Complex)) return getDefaultDtype() === "float64" ? "complex128" : "complex64";
  return getDefaultDtype();
}

function fromBytes(bytes: ArrayBufferView, dtype: DType, shape: readonly number[], device: number): Tensor {
  writeLists(shape);
  return wrap(native.fromBytes(plainBytes(bytes), dtypeCode(dtype, "tensor"), device));
}

function convert(made: Tensor, from: DType, to: DType | undefined): Tensor {
  if (to === undefined || to === from) return made;
  const result = made.to(to);
  made.dispose();
  return result;
}

/**
 * A new tensor from raw bytes in row-major order, copied.
 * @throws {TorchError} when the number of bytes is not that of the shape and dtype.
 */
export function tensorFromBytes(
  bytes: ArrayBufferView | ArrayBuffer,
  dtype: DType,
  shape: readonly number[],
  device: DeviceLike = "cpu",
): Tensor {
  atMost("tensorFromBytes", arguments, 4);
  checkArguments("tensorFromBytes", { dtype, device }, { dtype: dtypeKind, device: deviceKind });
  const code = deviceOf(device, "tensorFromBytes").code;
  const sizes = Array.isArray(shape) ? elementsOf(shape as readonly number[]) : [-1];
  if (sizes.some((s) => !Number.isInteger(s) || s < 0))
    throw new ArgumentError("tensorFromBytes", "shape to be an array of whole numbers ≥ 0", shape);
  if (!ArrayBuffer.isView(bytes) && !isBuffer(bytes))
    throw new ArgumentError("tensorFromBytes", "a typed array or an ArrayBuffer", bytes);
  return fromBytes(isBuffer(bytes) ? new Uint8Array(bytes) : bytes, dtype, sizes, code);
}

/** @internal Elements in row-major order, as JavaScript values. 16- and 8-bit floats are widened exactly. */
export function flatValues(t: Tensor): ArrayLike<number | bigint> | boolean[] | Complex[] {
  const dtype = t.dtype;
  if (dtype === "bool") return Array.from(t.toTypedArray() as Uint8Array, (b) => b !== 0);
  if (isComplex(dtype)) {
    const pairs =
      dtype === "complex32"
        ? (t.to("complex64").toTypedArray() as Float32Array)
        : (t.toTypedArray() as Float32Array | Float64Array);
    return Array.from(
      { length: pairs.length / 2 },
      (_, i) => new Complex(pairs[2 * i] as number, pairs[2 * i + 1] as number),
    );
  }
  if (isFloatingPoint(dtype) && dtype !== "float32" && dtype !== "float64") {
    const wide = t.detach().to("float32");
    const values = wide.toTypedArray() as Float32Array;
    wide.dispose();
    return values;
  }
  return t.toTypedArray();
}

/** Bytes on the heap for one element of nested arrays. */
const PER_VALUE: Readonly<Partial<Record<DType, number>>> = {
  bool: 8,
  int64: 40,
  uint64: 40,
  complex64: 96,
  complex128: 96,
  complex32: 96,
};
const PER_ARRAY = 48;

/** @internal */
export function nested(t: Tensor): Nested {
  const shape = t.shape;
  let arrays = 0;
  for (let d = 0, n = 1; d < shape.length; d++) {
    arrays += n;
    n *= shape[d] as number;
  }
  checkHeap(
    "tolist",
    arrays * PER_ARRAY + t.numel() * (PER_VALUE[t.dtype] ?? 16),
    "Use toTypedArray(), or part of the tensor.",
  );
  const flat = flatValues(t);
  let at = 0;
  const value = (): Nested => {
    const v = flat[at++] as number | bigint | boolean | Complex;
    return typeof v === "bigint" && v <= 9007199254740992n && v >= -9007199254740992n ? Number(v) : v;
  };
  const build = (depth: number): Nested =>
    depth === shape.length ? value() : Array.from({ length: shape[depth] as number }, () => build(depth + 1));
  return build(0);
}
