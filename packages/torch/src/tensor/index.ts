export { Tensor } from "./tensor.js";
export { isTensor } from "./handle.js";
export { TensorList } from "./list.js";
export { scope, keep, outsideScopes, ReentrantScope } from "./scope.js";
export { memory, resetPeakMemory, trimMemory, setCacheLimit, type MemoryReport } from "./memory.js";
export {
  tensor,
  tensorFromBytes,
  flatValues,
  getDefaultDtype,
  setDefaultDtype,
  type Nested,
  type TensorData,
  type TensorOptions,
  type TypedArray,
} from "./values.js";
export * from "./dtype.js";
export { device, Device, type DeviceLike } from "./device.js";
export type { ToOptions } from "./conversions.js";
export { formatTensor, getPrintOptions, setPrintOptions, type PrintOptions, type PrintProfile } from "./print.js";
export { ellipsis, Slice, type Index, type IndexList } from "./indexing.js";
