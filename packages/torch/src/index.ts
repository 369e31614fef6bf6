/** @nbit/torch: tensors, autograd, layers, optimizers, mixed precision and data, on libtorch. */
export * from "./errors.js";
export { calledByProgram, DTypeMismatchError, userLine, describeLine, type UserLine } from "./dtype-mismatch.js";
export * from "./tensor/index.js";
export * from "./ops/index.js";
export * from "./autograd/index.js";
export { addForwardRegion, type Enter } from "./forward-regions.js";
export * from "./random.js";
export * as random from "./random-names.js";
export * from "./constants.js";
export * as version from "./version.js";
export * as backends from "./backends.js";
export * as accelerator from "./accelerator/index.js";
export * as autograd from "./autograd/namespace.js";
export * as utils from "./utils/index.js";
export {
  areDeterministicAlgorithmsEnabled,
  compile,
  getNumInteropThreads,
  isDeterministicAlgorithmsWarnOnlyEnabled,
  seed,
  setFlushDenormal,
  setNumInteropThreads,
  type CompileOptions,
} from "./process-settings.js";
export { plainText, quoted } from "./plain-text.js";
export { NumberRangeError } from "./number-range.js";
export { LateNumbers, type LateNumbersOptions, type LateRow } from "./late-numbers.js";
export {
  atMost,
  checkArguments,
  checkOptions,
  kinds,
  optionsFrom,
  withDefaults,
  type Filled,
  type Given,
  type OptionNames,
} from "./options.js";
export { copiedByConstruction, deepcopy } from "./deep-copy.js";
export { signature, type Call, type Signature, type Values } from "./signature.js";
export { deviceKind, dtypeKind, tensorKind } from "./tensor/kinds.js";
export { weightsEpoch } from "./weights-epoch.js";
export * as optim from "./optim/index.js";
export * as amp from "./amp/index.js";
export { autocast, GradScaler } from "./amp/index.js";
export * as nn from "./nn/index.js";
export * as func from "./func/index.js";
export { vmap } from "./func/vmap.js";
export * as cuda from "./cuda/index.js";
export * as distributions from "./distributions/index.js";
export * as program from "./program/index.js";
export * as onnx from "./onnx/index.js";
export * as profiler from "./profiler/index.js";
export * from "./data/index.js";
export * from "./io/index.js";
export {
  setNumThreads,
  getNumThreads,
  versions,
  cpuCapability,
  showConfig,
  isMkldnnBf16Supported,
  isMkldnnFp16Supported,
  cudaAvailable,
  cudaDeviceCount,
  setSwitch,
  getSwitch,
  useDeterministicAlgorithms,
  setFloat32MatmulPrecision,
  getFloat32MatmulPrecision,
  setCpuKernels,
  getCpuKernels,
  type Float32MatmulPrecision,
  type CpuKernels,
  type Switch,
  type Versions,
} from "./backend.js";
