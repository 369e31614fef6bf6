/**
 * The few random draws that samplers and loaders make, each the same operator on the same generator as PyTorch's: the
 * CPU's, whatever the default device is.
 */
import { ArgumentError } from "../errors.js";
import { instanceOf, orNull } from "../kinds.js";
import { empty, multinomial as drawMultinomial, randint, randperm } from "../ops/index.js";
import { Generator } from "../random.js";
import { scope, type Tensor } from "../tensor/index.js";

/** int64 values of a tensor as numbers; below 2^53, which positions are. */
function positions(t: Tensor): Float64Array {
  const words = new Uint32Array(t.toBytes());
  const values = new Float64Array(words.length / 2);
  for (let i = 0; i < values.length; i++)
    values[i] = (words[2 * i] as number) + (words[2 * i + 1] as number) * 4294967296;
  return values;
}

/** A 63-bit seed: one draw from a generator, the default one if null. */
export function drawSeed(generator: Generator | null): bigint {
  return scope(() => empty([], { dtype: "int64", device: "cpu" }).random_({ generator }).itemBigInt());
}

export function permutation(n: number, generator: Generator | null): Float64Array {
  return scope(() => positions(randperm(n, { generator, dtype: "int64", device: "cpu" })));
}

export function uniform(high: number, count: number, generator: Generator | null): Float64Array {
  return scope(() => positions(randint(high, [count], { generator, dtype: "int64", device: "cpu" })));
}

export function multinomial(
  weights: Tensor,
  count: number,
  replacement: boolean,
  generator: Generator | null,
): Float64Array {
  return scope(() => positions(drawMultinomial(weights, count, replacement, { generator })));
}

/** A generator of its own, seeded by one draw from the default generator. */
export function seededGenerator(): Generator {
  return new Generator().manualSeed(drawSeed(null));
}

/** @internal */
export const generatorKind = orNull(instanceOf("a Generator", Generator));

/** @internal Options shared by everything that draws. */
export function checkGenerator(fn: string, generator: unknown): Generator | null {
  if (generator === undefined || generator === null) return null;
  if (!(generator instanceof Generator)) throw new ArgumentError(fn, "generator to be a Generator", generator);
  if (generator.device.type !== "cpu")
    throw new ArgumentError(fn, "generator to be on the CPU", generator.device.toString());
  return generator;
}
