/** What only GPUs have. Importing it needs no GPU; using it without one is a clear error. */
export {
  isAvailable,
  deviceCount,
  getDeviceProperties,
  getDeviceCapability,
  getDeviceName,
  isBf16Supported,
  isBuilt,
  currentDevice,
  setDevice,
  cudaVersions,
  synchronize,
  setSyncDebugMode,
  type DeviceProperties,
} from "./device.js";
export {
  memoryStats,
  memoryAllocated,
  maxMemoryAllocated,
  memoryReserved,
  maxMemoryReserved,
  resetPeakMemoryStats,
  clearCublasWorkspaces,
  emptyCache,
  setMemoryFraction,
  memorySummary,
  type DeviceMemory,
} from "./memory.js";
export { defaultGenerator, manualSeed, manualSeedAll, initialSeed, getRngState, setRngState } from "./random.js";
export { Stream, Event, currentStream, setStream } from "./stream.js";
export { OutOfMemoryError } from "../errors.js";
export * as amp from "./amp.js";
export { CudaGraph } from "./graph.js";
