/** Whichever accelerator there is: CUDA's GPUs, or none. As in torch.accelerator. */
import { byDefault, callable, flag } from "../kinds.js";
import { CudaGraph } from "../cuda/graph.js";
import * as cuda from "../cuda/index.js";
import { Stream } from "../cuda/stream.js";
import { atMost, checkArguments } from "../options.js";
import { device as deviceOf, type Device, type DeviceLike } from "../tensor/device.js";
import { isPromise, refusePromise } from "../synchronous.js";
import { signature } from "../signature.js";

type Which = DeviceLike | number;

/** Whether there is a GPU that works. */
export function isAvailable(): boolean {
  atMost("accelerator.isAvailable", arguments, 0);
  return cuda.isAvailable();
}
const readCurrent = signature("accelerator.currentAccelerator", { checkAvailable: byDefault(false, flag) });
/**
 * The device type of the accelerator that libtorch was built for; null where it was built for none. With
 * `checkAvailable` null, too, where no GPU is there.
 * @example const device = accelerator.isAvailable() ? accelerator.currentAccelerator() : device("cpu");
 */
export function currentAccelerator(
  ...given: readonly [checkAvailable?: boolean] | readonly [options: { readonly checkAvailable?: boolean }]
): Device | null {
  const { checkAvailable } = readCurrent(given);
  if (!cuda.isAvailable() && (checkAvailable || !cuda.isBuilt())) return null;
  return deviceOf("cuda");
}
export function deviceCount(): number {
  atMost("accelerator.deviceCount", arguments, 0);
  return cuda.deviceCount();
}
/** The index of the GPU that a plain "cuda" means. */
export function currentDeviceIndex(): number {
  atMost("accelerator.currentDeviceIndex", arguments, 0);
  return cuda.currentDevice();
}
export function setDeviceIndex(device: Which): void {
  atMost("accelerator.setDeviceIndex", arguments, 1);
  cuda.setDevice(device);
}
/** Run `fn` with another GPU as the current one; null: with the present one. */
export function deviceIndex<T>(device: number | null, fn: () => T): T {
  atMost("accelerator.deviceIndex", arguments, 2);
  checkArguments("accelerator.deviceIndex", { fn }, { fn: callable });
  if (device === null) return fn();
  const before = cuda.currentDevice();
  cuda.setDevice(device);
  try {
    const result = fn();
    if (isPromise(result))
      refusePromise(
        result,
        "accelerator.deviceIndex: expected a synchronous function. Received: a function that returns a promise.",
        "ERR_ASYNC_MODE",
      );
    return result;
  } finally {
    cuda.setDevice(before);
  }
}
/** Wait until everything given to a device has run. */
export function synchronize(device?: Which): void {
  atMost("accelerator.synchronize", arguments, 1);
  cuda.synchronize(device);
}
export function currentStream(device?: Which): Stream {
  atMost("accelerator.currentStream", arguments, 1);
  return Stream.current(device);
}
/** Make a stream this thread's. Prefer `stream.run(fn)`, which ends. */
export function setStream(stream: Stream): void {
  atMost("accelerator.setStream", arguments, 1);
  cuda.setStream(stream);
}
/** What a device can do. */
export function getDeviceCapability(device?: Which): { readonly major: number; readonly minor: number } {
  atMost("accelerator.getDeviceCapability", arguments, 1);
  const [major, minor] = cuda.getDeviceCapability(device);
  return { major, minor };
}

/** Bytes, as PyTorch calls them: see `cuda.memoryStats`. Without a GPU: nothing is allocated. */
export function memoryStats(device?: Which): Readonly<Record<string, number>> {
  atMost("accelerator.memoryStats", arguments, 1);
  if (!cuda.isAvailable()) return {};
  const m = cuda.memoryStats(device);
  return {
    "allocated_bytes.all.current": m.allocated,
    "allocated_bytes.all.peak": m.peakAllocated,
    "reserved_bytes.all.current": m.reserved,
    "reserved_bytes.all.peak": m.peakReserved,
    num_alloc_retries: m.retries,
    num_ooms: m.outOfMemory,
  };
}
const bytes = (fn: string, device: Which | undefined, key: string): number => {
  if (device !== undefined && typeof device !== "number") deviceOf(device, fn);
  return memoryStats(device)[key] ?? 0;
};
export function memoryAllocated(device?: Which): number {
  atMost("accelerator.memoryAllocated", arguments, 1);
  return bytes("accelerator.memoryAllocated", device, "allocated_bytes.all.current");
}
export function maxMemoryAllocated(device?: Which): number {
  atMost("accelerator.maxMemoryAllocated", arguments, 1);
  return bytes("accelerator.maxMemoryAllocated", device, "allocated_bytes.all.peak");
}
export function memoryReserved(device?: Which): number {
  atMost("accelerator.memoryReserved", arguments, 1);
  return bytes("accelerator.memoryReserved", device, "reserved_bytes.all.current");
}
export function maxMemoryReserved(device?: Which): number {
  atMost("accelerator.maxMemoryReserved", arguments, 1);
  return bytes("accelerator.maxMemoryReserved", device, "reserved_bytes.all.peak");
}
/** Free and total bytes of a device, as the driver says. */
export function getMemoryInfo(device?: Which): readonly [free: number, total: number] {
  atMost("accelerator.getMemoryInfo", arguments, 1);
  const { free, total } = cuda.memoryStats(device);
  return [free, total];
}
/** Give unused memory back to the driver; nothing without a GPU. */
export function emptyCache(): void {
  atMost("accelerator.emptyCache", arguments, 0);
  if (cuda.isAvailable()) cuda.emptyCache();
}
/** Give unused page-locked memory of the host back. libtorch does so by itself when it runs short: nothing is done here. */
export function emptyHostCache(): void {
  atMost("accelerator.emptyHostCache", arguments, 0);
}
/** Let peaks begin anew at what is allocated now; nothing without a GPU. */
export function resetPeakMemoryStats(device?: Which): void {
  atMost("accelerator.resetPeakMemoryStats", arguments, 1);
  if (cuda.isAvailable()) cuda.resetPeakMemoryStats(device);
}
/** Counts of allocations since the start cannot be set back here; peaks can: {@link resetPeakMemoryStats}. */
export function resetAccumulatedMemoryStats(device?: Which): void {
  atMost("accelerator.resetAccumulatedMemoryStats", arguments, 1);
  resetPeakMemoryStats(device);
}
export { CudaGraph as Graph };
