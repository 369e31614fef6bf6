/** Random numbers drawn on GPUs: every device has a generator of its own. */
import { Generator } from "../random.js";
import type { DeviceLike } from "../tensor/device.js";
import type { Tensor } from "../tensor/tensor.js";
import { deviceCount, indexOf } from "./device.js";
import { cudaFunction } from "./native.js";
import { atMost } from "../options.js";

/** The generator that operators on a device draw from when they are given none. */
export function defaultGenerator(device?: DeviceLike | number): Generator {
  atMost("cuda.defaultGenerator", arguments, 1);
  cudaFunction("cudaCurrentDevice", "cuda.defaultGenerator");
  return new Generator(`cuda:${indexOf(device, "cuda.defaultGenerator")}`, true);
}
/** Seed the generator of the current device. `manualSeed` of @nbit/torch seeds every device's, and the CPU's. */
export function manualSeed(seed: number | bigint): void {
  atMost("cuda.manualSeed", arguments, 1);
  defaultGenerator().manualSeed(seed);
}
/** Seed the generators of all GPUs. */
export function manualSeedAll(seed: number | bigint): void {
  atMost("cuda.manualSeedAll", arguments, 1);
  for (let i = 0; i < deviceCount(); i++) defaultGenerator(i).manualSeed(seed);
}
/** The seed that a device's generator began with. */
export function initialSeed(device?: DeviceLike | number): bigint {
  atMost("cuda.initialSeed", arguments, 1);
  return defaultGenerator(device).initialSeed();
}
/** State of a device's generator: a uint8 tensor on the CPU, in PyTorch's format. */
export function getRngState(device?: DeviceLike | number): Tensor {
  atMost("cuda.getRngState", arguments, 1);
  return defaultGenerator(device).getState();
}
export function setRngState(state: Tensor, device?: DeviceLike | number): void {
  atMost("cuda.setRngState", arguments, 2);
  defaultGenerator(device).setState(state);
}
