/** PyTorch's first way to make tensors, which programs still have: `FloatTensor([1, 2])`, `LongTensor(2, 3)`. */
import { ArgumentError } from "../errors.js";
import { empty } from "../generated/functions.js";
import { setDefaultDtype, getDefaultDtype } from "./default-dtype.js";
import { isFloatingPoint, type DType } from "./dtype.js";
import { isTensor } from "./handle.js";
import { atMost } from "../options.js";
import { provideLegacy, type Tensor } from "./tensor.js";
import { tensor, type TensorData } from "./values.js";

type Given = readonly [data?: TensorData | Tensor] | readonly number[];

/**
 * Makes tensors of one dtype on the CPU, with or without `new`: of sizes (`FloatTensor(2, 3)`: not initialised), of data
 * (`FloatTensor([1, 2])`), or of a tensor of that dtype, which shares its memory. `x instanceof FloatTensor` asks for
 * dtype and device.
 */
export interface TensorType {
  (...given: Given): Tensor;
  new (...given: Given): Tensor;
  readonly dtype: DType;
}

function make(name: string, dtype: DType, given: readonly unknown[]): Tensor {
  const [first] = given;
  if (given.every((size) => typeof size === "number")) {
    const sizes = given.length === 0 ? [0] : given;
    if (!sizes.every((size) => Number.isInteger(size) && size >= 0))
      throw new ArgumentError(name, "sizes to be whole numbers ≥ 0, or one array of data", given);
    return empty(sizes, { dtype });
  }
  if (given.length > 1) throw new ArgumentError(name, "sizes, or one array of data", given);
  if (isTensor(first)) {
    if (first.dtype !== dtype || first.device.type !== "cpu")
      throw new ArgumentError(name, `a tensor of ${dtype} on the CPU`, first, "Use .to(…) to convert it.");
    return first.detach();
  }
  return tensor(first as TensorData, { dtype });
}

function tensorType(name: string, dtype: DType): TensorType {
  const type = function (...given: Given): Tensor {
    return make(name, dtype, given);
  };
  Object.defineProperty(type, "name", { value: name });
  Object.defineProperty(type, Symbol.hasInstance, {
    value: (value: unknown) =>
      isTensor(value) && !value.disposed && value.dtype === dtype && value.device.type === "cpu",
  });
  return Object.assign(type, { dtype }) as unknown as TensorType;
}

export const FloatTensor = tensorType("FloatTensor", "float32");
export const DoubleTensor = tensorType("DoubleTensor", "float64");
export const HalfTensor = tensorType("HalfTensor", "float16");
export const BFloat16Tensor = tensorType("BFloat16Tensor", "bfloat16");
export const ByteTensor = tensorType("ByteTensor", "uint8");
export const CharTensor = tensorType("CharTensor", "int8");
export const ShortTensor = tensorType("ShortTensor", "int16");
export const IntTensor = tensorType("IntTensor", "int32");
export const LongTensor = tensorType("LongTensor", "int64");
export const BoolTensor = tensorType("BoolTensor", "bool");

provideLegacy((given) => make("Tensor", getDefaultDtype(), given));

const TYPES = [FloatTensor, DoubleTensor, HalfTensor, BFloat16Tensor];

/**
 * The older name of `setDefaultDtype`: `setDefaultTensorType(DoubleTensor)`, or by name.
 * @throws {ArgumentError} `setDefaultTensorType: expected a floating point tensor type, such as FloatTensor. Received: …`
 */
export function setDefaultTensorType(type: TensorType | string): void {
  atMost("setDefaultTensorType", arguments, 1);
  const name = typeof type === "string" ? type.replace(/^torch\./, "") : null;
  const found = TYPES.find((each) => each === type || each.name === name);
  if (found === undefined || !isFloatingPoint(found.dtype))
    throw new ArgumentError("setDefaultTensorType", "a floating point tensor type, such as FloatTensor", type);
  setDefaultDtype(found.dtype);
}
