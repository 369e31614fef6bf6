/** Random numbers drawn on GPUs: every device has a generator of its own. */
import { Generator } from "../random.js";
import type { DeviceLike } from "../tensor/device.js";
import type { Tensor } from "../tensor/tensor.js";
import { deviceCount, indexOf } from "./device.js";
import { cudaFunction } from "./native.js";

/** The generator that operators on a device draw from when they are given none. */
export function defaultGenerator(device?: DeviceLike | number): Generator {
  cudaFunction("cudaCurrentDevice", "cuda.defaultGenerator");
  return new Generator(`cuda:${indexOf(device, "cuda.defaultGenerator")}`, true);
}
/** Seed the generator of the current device. `manualSeed` of @nbit/torch seeds every device's, and the CPU's. */
export function manualSeed(seed: number | bigint): void {
  defaultGenerator().manualSeed(seed);
}
/** Seed the generators of all GPUs. */
export function manualSeedAll(seed: number | bigint): void {
  for (let i = 0; i < deviceCount(); i++) defaultGenerator(i).manualSeed(seed);
}
/** The seed that a device's generator began with. */
export function initialSeed(device?: DeviceLike | number): bigint {
  return defaultGenerator(device).initialSeed();
}
/** State of a device's generator: a uint8 tensor on the CPU, in PyTorch's format. */
export function getRngState(device?: DeviceLike | number): Tensor {
  return defaultGenerator(device).getState();
}
export function setRngState(state: Tensor, device?: DeviceLike | number): void {
  defaultGenerator(device).setState(state);
}
