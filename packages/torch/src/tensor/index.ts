export { Tensor } from "./tensor.js";
export type { Dim, DTypeOf, Same, Shape, ShapeOf } from "./shapes.js";
export { isTensor } from "./handle.js";
export { TensorList } from "./list.js";
export { scope, keep, outsideScopes, ReentrantScope } from "./scope.js";
export { memory, resetPeakMemory, trimMemory, setCacheLimit, type MemoryReport } from "./memory.js";
export { tensor, tensorFromBytes, flatValues, type Nested, type TensorData, type TensorOptions } from "./values.js";
export type { TypedArray } from "./typed-arrays.js";
export { getDefaultDtype, setDefaultDtype } from "./default-dtype.js";
export * from "./dtype.js";
export { device, Device, type DeviceLike } from "./device.js";
export type { ToOptions } from "./conversions.js";
export { formatTensor, getPrintOptions, setPrintOptions, type PrintOptions, type PrintProfile } from "./print.js";
export { ellipsis, Slice, type Index, type IndexList } from "./indexing.js";
export type { Members, NewTensorArguments, NewTensorCall } from "./members.js";
export { getDefaultDevice, setDefaultDevice } from "./default-device.js";
export {
  asTensor,
  asarray,
  frombuffer,
  fromNumpy,
  type AsarrayArguments,
  type AsTensorArguments,
  type FrombufferArguments,
} from "./from-values.js";
export {
  BFloat16Tensor,
  BoolTensor,
  ByteTensor,
  CharTensor,
  DoubleTensor,
  FloatTensor,
  HalfTensor,
  IntTensor,
  LongTensor,
  setDefaultTensorType,
  ShortTensor,
  type TensorType,
} from "./legacy-types.js";
