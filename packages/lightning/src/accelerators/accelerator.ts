import type { Device } from "@nbit/torch";
import type { PrecisionName } from "../precision/names.js";

/** What a device can do with small numbers, as found at run time. */
export interface DeviceSupport {
  /** Native float16 arithmetic (not emulated through float32). */
  readonly float16: boolean;
  readonly bfloat16: boolean;
  readonly float8: boolean;
  /** For people: "AVX512, AVX512-BF16, AMX", "NVIDIA H200, compute capability 9.0". */
  readonly description: string;
}

/**
 * A kind of device. Register another with `registerAccelerator`.
 *
 * Everything here is asked when a Trainer is constructed, so it must be cheap and must not start work on the device.
 */
export interface Accelerator {
  readonly name: string;
  /** Null when usable here; else what is missing and what to do about it. */
  missing(): string | null;
  deviceCount(): number;
  /** Every process uses the same device, so that `devices` counts processes: the processor. */
  readonly isShared?: boolean;
  device(index: number): Device;
  support(index: number): DeviceSupport;
  /** One process uses all of its devices, so that `devices` starts no others. */
  readonly drivesAllDevices?: boolean;
  /** A run on this accelerator is over: give back what its devices hold beyond tensors. */
  teardown?(): void;
  /**
   * Chance to turn a precision into the one that this device has (with the warning to give), or to refuse it by
   * throwing.
   */
  mapPrecision?(name: PrecisionName): { readonly name: PrecisionName; readonly warning?: string };
}
