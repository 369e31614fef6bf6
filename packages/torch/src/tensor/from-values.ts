/** Tensors from what may be one already: PyTorch's other ways to make them. */
import { ArgumentError } from "../errors.js";
import { anything, byDefault, flag, orNull, such, whole, type Kind } from "../kinds.js";
import { isBuffer } from "../realm.js";
import { signature, type Call } from "../signature.js";
import type { DeviceLike } from "./device.js";
import { isFloatingPoint, itemSize, type DType } from "./dtype.js";
import { isTensor } from "./handle.js";
import { deviceKind, dtypeKind } from "./kinds.js";
import type { Tensor } from "./tensor.js";
import type { TypedArray } from "./typed-arrays.js";
import { tensor, tensorFromBytes, type TensorData } from "./values.js";

export interface AsTensorArguments {
  /** A tensor, which is returned as it is when nothing changes; or values, as `tensor` takes them. */
  readonly data: TensorData | Tensor;
  /** Default: that of the data. */
  readonly dtype?: DType | null;
  /** Default: that of the data. */
  readonly device?: DeviceLike | null;
}
const DTYPE = byDefault(null, orNull(dtypeKind));
const DEVICE = byDefault(null, orNull(deviceKind));
const DATA: Kind<TensorData | Tensor> = anything;
const readAsTensor = signature("asTensor", { data: DATA, dtype: DTYPE, device: DEVICE });
export type AsTensorCall = Call<
  AsTensorArguments,
  ["data", "dtype", "device"],
  [data: TensorData | Tensor, dtype?: DType | null, device?: DeviceLike | null]
>;

function asIs(data: TensorData | Tensor, dtype: DType | null, device: DeviceLike | null): Tensor {
  const target = { ...(dtype === null ? {} : { dtype }), ...(device === null ? {} : { device }) };
  return isTensor(data) ? data.to(target) : tensor(data, target);
}

/**
 * A tensor of the data: the tensor itself, with its graph, where dtype and device stay. JavaScript's values are copied:
 * their memory is the garbage collector's, and a tensor's is libtorch's, so that neither can be the other's.
 */
export function asTensor(...given: AsTensorCall): Tensor {
  const { data, dtype, device } = readAsTensor(given);
  return asIs(data, dtype, device);
}

export interface AsarrayArguments {
  readonly obj: TensorData | Tensor;
  readonly dtype?: DType | null;
  readonly device?: DeviceLike | null;
  /** true: always a copy; false: an error where one is needed, as of JavaScript's values. Default null: where needed. */
  readonly copy?: boolean | null;
  /** Default false. */
  readonly requiresGrad?: boolean;
}
const readAsarray = signature(
  "asarray",
  {
    obj: DATA,
    dtype: DTYPE,
    device: DEVICE,
    copy: byDefault(null, orNull(flag)),
    requiresGrad: byDefault(false, flag),
  },
  1,
);
export type AsarrayCall = Call<AsarrayArguments, ["obj"], [obj: TensorData | Tensor]>;

/**
 * The same, detached unless `requiresGrad`.
 * @throws {ArgumentError} `asarray: expected copy to be true or null for values that are no tensor. Received: false.`
 */
export function asarray(...given: AsarrayCall): Tensor {
  const { obj, dtype, device, copy, requiresGrad } = readAsarray(given);
  if (copy === false && !isTensor(obj))
    throw new ArgumentError("asarray", "copy to be true or null for values that are no tensor", copy);
  const made = asIs(obj, dtype, device);
  if (copy === false && made !== obj)
    throw new ArgumentError("asarray", "dtype and device to stay without a copy", dtype ?? device);
  const own = copy === true && made === obj ? made.clone() : made;
  if (own.requiresGrad === requiresGrad) return own;
  return requiresGrad ? own.detach().requiresGrad_() : own.detach();
}

const typedArrayKind: Kind<TypedArray> = such(
  "a typed array, such as a Float32Array",
  (v) => ArrayBuffer.isView(v) && !(v instanceof DataView),
);
const readNumpy = signature("fromNumpy", { ndarray: typedArrayKind });

/**
 * A tensor of a typed array, of its dtype and of one dimension: `fromNumpy(new Float32Array(6)).view(2, 3)`. Unlike
 * NumPy's arrays in PyTorch, the values are copied. Files of NumPy: `numpy`.
 */
export function fromNumpy(
  ...given: readonly [ndarray: TypedArray] | readonly [options: { readonly ndarray: TypedArray }]
): Tensor {
  return tensor(readNumpy(given).ndarray);
}

export interface FrombufferArguments {
  readonly buffer: ArrayBuffer | ArrayBufferView;
  readonly dtype: DType;
  /** Elements to read; -1: all that there are. Default -1. */
  readonly count?: number;
  /** Bytes to pass over. Default 0. */
  readonly offset?: number;
  /** Default false. */
  readonly requiresGrad?: boolean;
}
const readBuffer = signature(
  "frombuffer",
  {
    buffer: such<ArrayBuffer | ArrayBufferView>(
      "an ArrayBuffer, a Buffer or a typed array",
      (v) => ArrayBuffer.isView(v) || isBuffer(v),
    ),
    dtype: dtypeKind,
    count: byDefault(-1, whole("[-1, ∞)")),
    offset: byDefault(0, whole("[0, ∞)")),
    requiresGrad: byDefault(false, flag),
  },
  1,
);
export type FrombufferCall = Call<FrombufferArguments, ["buffer"], [buffer: ArrayBuffer | ArrayBufferView]>;

/**
 * A tensor of one dimension of a buffer's bytes, copied.
 * @throws {ArgumentError} `frombuffer: expected a multiple of 4 bytes behind the offset. Received: 6.`
 */
export function frombuffer(...given: FrombufferCall): Tensor {
  const { buffer, dtype, count, offset, requiresGrad } = readBuffer(given);
  const bytes = ArrayBuffer.isView(buffer)
    ? new Uint8Array(buffer.buffer, buffer.byteOffset, buffer.byteLength)
    : new Uint8Array(buffer);
  const size = itemSize(dtype);
  const left = bytes.byteLength - offset;
  if (left < 0) throw new ArgumentError("frombuffer", `offset of at most ${bytes.byteLength} bytes`, offset);
  if (count === -1 && left % size !== 0)
    throw new ArgumentError("frombuffer", `a multiple of ${size} bytes behind the offset`, left);
  const n = count === -1 ? left / size : count;
  if (n * size > left) throw new ArgumentError("frombuffer", `count of at most ${Math.floor(left / size)}`, count);
  const made = tensorFromBytes(bytes.subarray(offset, offset + n * size), dtype, [n]);
  if (!requiresGrad) return made;
  if (!isFloatingPoint(dtype)) throw new ArgumentError("frombuffer", "a floating point dtype for requiresGrad", dtype);
  return made.requiresGrad_();
}
