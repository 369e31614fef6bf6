/** Seeds and generators, equal to PyTorch's. */
import { ArgumentError } from "./errors.js";
import { argBuffer, native } from "./native.js";
import { atMost } from "./options.js";
import { Generator, writeSeed } from "./ops/generator.js";
import type { Tensor } from "./tensor/tensor.js";

export { Generator };

/** The CPU generator that operators draw from when they are given none. */
export const defaultGenerator = new Generator("cpu", true);

/**
 * Seed the default generators of every device.
 * @param seed - A whole number; negative ones and bigints as in PyTorch.
 * @throws {ArgumentError} `manualSeed: expected seed to be a whole number (a bigint beyond 2^53). Received: 1.5.`
 */
export function manualSeed(seed: number | bigint): Generator {
  atMost("manualSeed", arguments, 1);
  argBuffer[0] = writeSeed("manualSeed", seed, 1);
  native.manualSeed();
  return defaultGenerator;
}
/** The seed that the default CPU generator began with. */
export function initialSeed(): bigint {
  atMost("initialSeed", arguments, 0);
  return defaultGenerator.initialSeed();
}
/** State of the default CPU generator: a uint8 tensor in PyTorch's format. */
export function getRngState(): Tensor {
  atMost("getRngState", arguments, 0);
  return defaultGenerator.getState();
}
export function setRngState(state: Tensor): void {
  atMost("setRngState", arguments, 1);
  defaultGenerator.setState(state);
}

/**
 * Seed everything that draws random numbers: every device's default generator. Call it before the model is built:
 * layers initialise in the same order with the same draws as in PyTorch.
 * @returns The seed.
 * @throws {ArgumentError} `seedEverything: expected seed to be a whole number from 0 to 4294967295. Received: -1.`
 */
export function seedEverything(seed = 0): number {
  atMost("seedEverything", arguments, 1);
  if (!Number.isInteger(seed) || seed < 0 || seed > 0xffffffff)
    throw new ArgumentError("seedEverything", "seed to be a whole number from 0 to 4294967295", seed);
  manualSeed(seed);
  return seed;
}
