/** GPUs: how many, which, what they can do, what they hold. */
import { ArgumentError } from "../errors.js";
import { F, info } from "../native.js";
import { device as deviceOf, type DeviceLike } from "../tensor/device.js";
import { cudaFunction } from "./native.js";

export interface DeviceProperties {
  readonly name: string;
  /** Compute capability: 8.0 and later has bfloat16 arithmetic, 8.9 and later float8. */
  readonly major: number;
  readonly minor: number;
  readonly totalMemory: number;
  readonly multiprocessors: number;
  /** Bytes. */
  readonly l2CacheSize: number;
}
export function isAvailable(): boolean {
  return info.cuda && info.cudaDevices > 0;
}
export function deviceCount(): number {
  return info.cudaDevices;
}

/** @internal Index of a CUDA device; the current one when none is named. */
export function indexOf(device: DeviceLike | number | undefined, fn: string): number {
  if (device === undefined) return cudaFunction("cudaCurrentDevice", fn)();
  if (typeof device === "number") {
    if (!Number.isInteger(device) || device < 0 || device >= info.cudaDevices) throw new ArgumentError(fn, `a device index below ${info.cudaDevices}`, device);
    return device;
  }
  const d = deviceOf(device, fn);
  if (d.type !== "cuda") throw new ArgumentError(fn, "a CUDA device", d.toString());
  return d.index ?? cudaFunction("cudaCurrentDevice", fn)();
}

export function getDeviceProperties(device?: DeviceLike | number): DeviceProperties {
  return cudaFunction("cudaProperties", "cuda.getDeviceProperties")(indexOf(device, "cuda.getDeviceProperties"));
}
/** [major, minor]. */
export function getDeviceCapability(device?: DeviceLike | number): readonly [number, number] {
  const p = getDeviceProperties(device);
  return [p.major, p.minor];
}
export function currentDevice(): number {
  return cudaFunction("cudaCurrentDevice", "cuda.currentDevice")();
}
export function setDevice(device: DeviceLike | number): void {
  cudaFunction("cudaSetDevice", "cuda.setDevice")(indexOf(device, "cuda.setDevice"));
}
/** Versions of the CUDA runtime and of the driver's API, such as 13000 for 13.0. */
export function cudaVersions(): { readonly runtime: number; readonly driver: number } {
  cudaFunction("cudaVersions", "cuda.cudaVersions")();
  return { runtime: F[0] as number, driver: F[1] as number };
}
/** Wait until everything given to the device has run. */
export function synchronize(device?: DeviceLike | number): void {
  cudaFunction("cudaSynchronize", "cuda.synchronize")(indexOf(device, "cuda.synchronize"));
}
/** What happens when an operation makes the host wait for the device: nothing, a warning, or an error. How to find needless synchronization. */
export function setSyncDebugMode(mode: "default" | "warn" | "error"): void {
  const code = ["default", "warn", "error"].indexOf(mode);
  if (code < 0) throw new ArgumentError("cuda.setSyncDebugMode", "mode to be one of default, warn, error", mode);
  cudaFunction("cudaSyncDebug", "cuda.setSyncDebugMode")(code);
}
