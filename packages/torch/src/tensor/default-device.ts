/** Where factories make tensors when no device is named. */
import { atMost } from "../options.js";
import { device as deviceOf, type Device, type DeviceLike } from "./device.js";

/** @internal null: libtorch's own default, the CPU. */
export let defaultDevice: Device | null = null;

/**
 * The device of tensors that factories (`zeros`, `tensor`, `randn`, …, and the layers that call them) make from here on
 * without a `device`: null for the CPU again. What makes tensors like others (`zerosLike`, `newEmpty`) follows those.
 * Of this thread. A model that is built under `setDefaultDevice("cuda")` is initialised with the GPU's own generator.
 *
 * @throws {ArgumentError} `setDefaultDevice: expected a device such as "cpu", "cuda" or "cuda:0". Received: "gpu".`
 */
export function setDefaultDevice(device: DeviceLike | null): void {
  atMost("setDefaultDevice", arguments, 1);
  defaultDevice = device === null ? null : deviceOf(device, "setDefaultDevice");
}
/** Where factories make tensors without a `device`. */
export function getDefaultDevice(): Device {
  atMost("getDefaultDevice", arguments, 0);
  return defaultDevice ?? deviceOf("cpu");
}
