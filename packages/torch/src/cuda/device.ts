/** GPUs: how many, which, what they can do, what they hold. */
import { ArgumentError } from "../errors.js";
import { byDefault, flag } from "../kinds.js";
import { signature } from "../signature.js";
import { argBuffer, info } from "../native.js";
import { device as deviceOf, type DeviceLike } from "../tensor/device.js";
import { cudaFunction } from "./native.js";
import { atMost } from "../options.js";

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
  atMost("cuda.isAvailable", arguments, 0);
  return info.cuda && info.cudaDevices > 0;
}
export function deviceCount(): number {
  atMost("cuda.deviceCount", arguments, 0);
  return info.cudaDevices;
}

/** @internal Index of a CUDA device; the current one when none is named. */
export function indexOf(device: DeviceLike | number | undefined, fn: string): number {
  if (device === undefined) return cudaFunction("cudaCurrentDevice", fn)();
  if (typeof device === "number") {
    if (!Number.isInteger(device) || device < 0 || device >= info.cudaDevices)
      throw new ArgumentError(fn, `a device index below ${info.cudaDevices}`, device);
    return device;
  }
  const d = deviceOf(device, fn);
  if (d.type !== "cuda") throw new ArgumentError(fn, "a CUDA device", d.toString());
  return d.index ?? cudaFunction("cudaCurrentDevice", fn)();
}

export function getDeviceProperties(device?: DeviceLike | number): DeviceProperties {
  atMost("cuda.getDeviceProperties", arguments, 1);
  return cudaFunction("cudaProperties", "cuda.getDeviceProperties")(indexOf(device, "cuda.getDeviceProperties"));
}
/** [major, minor]. */
export function getDeviceCapability(device?: DeviceLike | number): readonly [number, number] {
  atMost("cuda.getDeviceCapability", arguments, 1);
  const p = getDeviceProperties(device);
  return [p.major, p.minor];
}
export function currentDevice(): number {
  atMost("cuda.currentDevice", arguments, 0);
  return cudaFunction("cudaCurrentDevice", "cuda.currentDevice")();
}
export function setDevice(device: DeviceLike | number): void {
  atMost("cuda.setDevice", arguments, 1);
  cudaFunction("cudaSetDevice", "cuda.setDevice")(indexOf(device, "cuda.setDevice"));
}
/** Versions of the CUDA runtime and of the driver's API, such as 13000 for 13.0. */
export function cudaVersions(): { readonly runtime: number; readonly driver: number } {
  atMost("cuda.cudaVersions", arguments, 0);
  cudaFunction("cudaVersions", "cuda.cudaVersions")();
  return { runtime: argBuffer[0] as number, driver: argBuffer[1] as number };
}
/** Wait until everything given to the device has run. */
export function synchronize(device?: DeviceLike | number): void {
  atMost("cuda.synchronize", arguments, 1);
  cudaFunction("cudaSynchronize", "cuda.synchronize")(indexOf(device, "cuda.synchronize"));
}
/**
 * What happens when an operation makes the host wait for the device: nothing, a warning, or an error. How to find
 * needless synchronization.
 */
export function setSyncDebugMode(mode: "default" | "warn" | "error"): void {
  atMost("cuda.setSyncDebugMode", arguments, 1);
  const code = ["default", "warn", "error"].indexOf(mode);
  if (code < 0) throw new ArgumentError("cuda.setSyncDebugMode", "mode to be one of default, warn, error", mode);
  cudaFunction("cudaSyncDebug", "cuda.setSyncDebugMode")(code);
}
/** Such as "NVIDIA H200". */
export function getDeviceName(device?: DeviceLike | number): string {
  atMost("cuda.getDeviceName", arguments, 1);
  return getDeviceProperties(device).name;
}
/** Whether libtorch was built for CUDA, be there a GPU or not. */
export function isBuilt(): boolean {
  atMost("cuda.isBuilt", arguments, 0);
  return info.cuda;
}
const readBf16 = signature("cuda.isBf16Supported", { includingEmulation: byDefault(true, flag) });
/**
 * Whether the current GPU computes in bfloat16: from compute capability 8.0 on by itself, before by emulation. False
 * without a GPU.
 */
export function isBf16Supported(
  ...given: readonly [includingEmulation?: boolean] | readonly [options: { readonly includingEmulation?: boolean }]
): boolean {
  const { includingEmulation } = readBf16(given);
  return isAvailable() && (includingEmulation || getDeviceProperties().major >= 8);
}
