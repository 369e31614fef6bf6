/** Seeds and generators, equal to PyTorch's. */
import { ArgumentError } from "./errors.js";
import { byDefault, flag, such } from "./kinds.js";
import { argBuffer, native } from "./native.js";
import { atMost, type OptionNames } from "./options.js";
import { Generator, writeSeed } from "./ops/generator.js";
import { signature, type Call } from "./signature.js";
import type { Tensor } from "./tensor/tensor.js";
import { mixWorkerSeeds } from "./worker-seeds.js";

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

/** What `seedEverything` takes. */
export interface SeedArguments {
  /** From 0 to 4294967295. Default (and for null): the environment's `NBIT_GLOBAL_SEED`, else 0. */
  readonly seed?: number | null;
  /**
   * Seed the threads of data loaders from the pass's seed, their number and this process's rank, mixed as Lightning
   * mixes them, so that no two threads of any two processes draw alike. Default false: the pass's seed plus the
   * thread's number, as PyTorch has it.
   */
  readonly workers?: boolean;
  /** Say the seed on the standard error stream. Default false (Lightning: true). */
  readonly verbose?: boolean;
}
const SEED = {
  seed: byDefault(
    null,
    such<number | null>("a whole number from 0 to 4294967295", (v) => v === null || isSeed(v)),
  ),
  workers: byDefault(false, flag),
  verbose: byDefault(false, flag),
} satisfies OptionNames<SeedArguments>;
const readSeed = signature("seedEverything", SEED);
const isSeed = (value: unknown): value is number =>
  typeof value === "number" && Number.isInteger(value) && value >= 0 && value <= 0xffffffff;

/** What processes and threads that this one starts find there. */
const GLOBAL_SEED = "NBIT_GLOBAL_SEED";

/**
 * Seed everything that draws random numbers: every device's default generator. Call it before the model is built:
 * layers initialise in the same order with the same draws as in PyTorch. Processes started from here find the seed in
 * `NBIT_GLOBAL_SEED`, and take it where `seedEverything` is given none.
 * @returns The seed.
 * @throws {ArgumentError} `seedEverything: expected seed to be a whole number from 0 to 4294967295. Received: -1.`
 */
export function seedEverything(
  ...given: Call<
    SeedArguments,
    ["seed", "workers", "verbose"],
    [seed?: number | null, workers?: boolean, verbose?: boolean]
  >
): number {
  const { seed: asked, workers, verbose } = readSeed(given);
  const seed = asked ?? seedOfEnvironment();
  if (verbose) process.stderr.write(`seedEverything: ${seed}\n`);
  manualSeed(seed);
  process.env[GLOBAL_SEED] = String(seed);
  mixWorkerSeeds(workers);
  return seed;
}

function seedOfEnvironment(): number {
  const text = process.env[GLOBAL_SEED];
  if (text === undefined || text === "") return 0;
  const seed = Number(text);
  if (!isSeed(seed))
    throw new ArgumentError("seedEverything", `${GLOBAL_SEED} to be a whole number from 0 to 4294967295`, text);
  return seed;
}
