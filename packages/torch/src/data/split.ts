/** Splitting a dataset at random. */
import { ArgumentError } from "../errors.js";
import { listOf, real } from "../kinds.js";
import { atMost, checkArguments, checkOptions } from "../options.js";
import { Subset, type Dataset } from "./dataset.js";
import { checkGenerator, permutation } from "./random-ops.js";
import { DRAW, lengthNow, sized, type DrawOptions } from "./sampler.js";

/**
 * Split a dataset into random parts that do not overlap.
 *
 * @param dataset - Any dataset with a length.
 * @param lengths - How many elements each part gets, summing to the length of the dataset; or fractions summing to 1,
 * which are rounded down, what remains going
 *   one by one to the parts from the first.
 * @param options.generator - Default: the default generator. One permutation is drawn.
 * @throws {ArgumentError} `randomSplit: expected lengths to sum to 10, the length of the dataset. Received: [3, 6].`
 * @example const [train, val] = randomSplit(dataset, [0.9, 0.1], { generator: new Generator().manualSeed(42) });
 */
export function randomSplit<T>(
  dataset: Dataset<T>,
  lengths: readonly number[],
  options: DrawOptions = {},
): Subset<T>[] {
  atMost("randomSplit", arguments, 3);
  checkArguments("randomSplit", { dataset, lengths }, { dataset: sized, lengths: listOf(real("[0, ∞)")) });
  checkOptions("randomSplit", options, DRAW);
  const generator = checkGenerator("randomSplit", options.generator);
  const n = lengthNow("randomSplit", dataset);
  const total = lengths.reduce((a, b) => a + b, 0);
  // As close to 1 as Python's math.isclose finds close, and not above.
  const fractions = total <= 1 && Math.abs(total - 1) <= 1e-9;
  const parts = fractions ? shares(lengths, n) : lengths;
  if (parts.some((p) => !Number.isInteger(p) || p < 0))
    throw new ArgumentError("randomSplit", "lengths to be whole numbers ≥ 0, or fractions that sum to 1", lengths);
  if (parts.reduce((a, b) => a + b, 0) !== n)
    throw new ArgumentError("randomSplit", `lengths to sum to ${n}, the length of the dataset`, lengths);
  const order = Array.from(permutation(n, generator));
  let offset = 0;
  return parts.map((length) => new Subset(dataset, order.slice(offset, (offset += length))));
}

function shares(fractions: readonly number[], n: number): number[] {
  const bad = fractions.findIndex((f) => !(f >= 0 && f <= 1));
  if (bad !== -1) throw new ArgumentError("randomSplit", `fraction ${bad} to be from 0 to 1`, fractions[bad]);
  const counts = fractions.map((f) => Math.floor(n * f));
  const remainder = n - counts.reduce((a, b) => a + b, 0);
  for (let i = 0; i < remainder; i++) (counts[i % counts.length] as number) += 1;
  return counts;
}
