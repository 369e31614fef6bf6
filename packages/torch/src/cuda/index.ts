/** What only GPUs have. Importing it needs no GPU; using it without one is a clear error. */
export {
  isAvailable, deviceCount, getDeviceProperties, getDeviceCapability, currentDevice, setDevice, cudaVersions, synchronize, memoryStats, resetPeakMemoryStats, emptyCache, setSyncDebugMode,
  type DeviceProperties, type DeviceMemory,
} from "./device.js";
export { Stream, Event } from "./stream.js";
export { CudaGraph } from "./graph.js";
