/** Options of a DataLoader: what each may be, which go together, and the order of positions that they make. */
import { ArgumentError } from "../errors.js";
import { byDefault, callable, flag, iterable, orNull, whole } from "../kinds.js";
import { checkOptions, withDefaults, type Filled, type OptionNames } from "../options.js";
import type { Generator } from "../random.js";
import { BatchSampler } from "./batch-sampler.js";
import { isIterableDataset } from "./dataset.js";
import { checkGenerator, generatorKind } from "./random-ops.js";
import { RandomSampler, SequentialSampler, type Sized } from "./sampler.js";

export interface DataLoaderOptions<T, B> {
  /** Elements per batch. Default 1. Null: no batches, one element at a time, without a new dimension. */
  readonly batchSize?: number | null;
  /** A new random order each pass. Default false. */
  readonly shuffle?: boolean;
  /** The order of positions, instead of `shuffle`. */
  readonly sampler?: Iterable<number>;
  /** The positions of each batch, instead of `batchSize`, `shuffle`, `sampler` and `dropLast`. */
  readonly batchSampler?: Iterable<readonly number[]>;
  /** From elements to a batch. Default: `defaultCollate` (without batches: typed arrays become tensors). */
  readonly collateFn?: (elements: readonly T[]) => B;
  /** Leave out a last batch that is not full. Default false. */
  readonly dropLast?: boolean;
  /** What the order and the pass's seed are drawn from. Default: the default generator. */
  readonly generator?: Generator | null;
  /**
   * How many batches `for await` (and the Trainer) keeps loading at once when the dataset's `get` returns promises.
   * Default 0: one after the other. Loading stays in this process and thread; batches and their order do not depend on
   * it.
   */
  readonly numWorkers?: number;
  /**
   * Return batches in page-locked memory, from which a copy to a GPU does not make the host wait (the Trainer copies
   * so). Default false. Without a GPU nothing is done.
   */
  readonly pinMemory?: boolean;
}
const FN = "DataLoader";
const OPTIONS = {
  batchSize: byDefault(1, orNull(whole("[1, ∞)"))),
  shuffle: byDefault(false, flag),
  sampler: iterable,
  batchSampler: iterable,
  collateFn: callable,
  dropLast: byDefault(false, flag),
  generator: byDefault(null, generatorKind),
  numWorkers: byDefault(0, whole("[0, ∞)")),
  pinMemory: byDefault(false, flag),
} satisfies OptionNames<DataLoaderOptions<never, unknown>>;
type Settled<T, B> = Filled<DataLoaderOptions<T, B>, typeof OPTIONS>;

/**
 * What does not go together: whether it is so, what is expected instead, what of the options it is about, and a fix.
 */
const CONFLICTS: readonly (readonly [
  when: (o: Settled<never, unknown>, stream: boolean) => boolean,
  expected: string,
  received: (o: Settled<never, unknown>, given: object) => unknown,
  fix?: string,
])[] = [
  [
    ({ shuffle }, stream) => stream && shuffle,
    "shuffle to be left out for a stream",
    (o) => o.shuffle,
    "Shuffle inside the stream.",
  ],
  [
    ({ sampler, batchSampler }, stream) => stream && (sampler ?? batchSampler) !== undefined,
    "sampler and batchSampler to be left out for a stream",
    (o) => o.sampler ?? o.batchSampler,
    "A stream has no positions.",
  ],
  [
    ({ shuffle, sampler }) => shuffle && sampler !== undefined,
    "shuffle to be left out when there is a sampler",
    (o) => o.shuffle,
  ],
  [
    ({ batchSampler, batchSize, shuffle, sampler, dropLast }) =>
      batchSampler !== undefined && (batchSize !== 1 || shuffle || sampler !== undefined || dropLast),
    "batchSize, shuffle, sampler and dropLast to be left out when there is a batchSampler",
    (_, given) => given,
  ],
  [
    ({ batchSize, dropLast }) => batchSize === null && dropLast,
    "dropLast to be left out when batchSize is null",
    (o) => o.dropLast,
  ],
];

/**
 * The options with their defaults; a batchSampler makes the batches, so that there is no batchSize.
 * @throws {ArgumentError} for an option of another kind, and for two that do not go together.
 */
export function settleOptions<T, B>(options: DataLoaderOptions<T, B>, stream: boolean): Settled<T, B> {
  checkOptions(FN, options, OPTIONS);
  checkGenerator(FN, options.generator);
  const settled = withDefaults(options, OPTIONS);
  for (const [when, expected, received, fix] of CONFLICTS)
    if (when(settled, stream)) throw new ArgumentError(FN, expected, received(settled, options), fix);
  return settled.batchSampler === undefined ? settled : { ...settled, batchSize: null };
}

/**
 * Whether a source has no positions.
 * @throws {ArgumentError} for what is no source.
 */
export function isStream(source: unknown): boolean {
  if (Array.isArray(source)) return false;
  if (isIterableDataset(source)) return true;
  const hasPositions =
    typeof source === "object" &&
    source !== null &&
    typeof Reflect.get(source, "get") === "function" &&
    typeof Reflect.get(source, "length") === "number";
  if (!hasPositions)
    throw new ArgumentError(FN, "dataset to be an object with length and get, a stream, or an array", source);
  return false;
}

/** The order of positions, and the batches that it is cut into; null: no batches, or a batchSampler that makes both. */
export function orderOf(
  source: Sized,
  { sampler, batchSampler, shuffle, generator, batchSize, dropLast }: Settled<never, unknown>,
): Order {
  if (batchSampler !== undefined) return { sampler: null, batchSampler };
  const order = sampler ?? (shuffle ? new RandomSampler(source, { generator }) : new SequentialSampler(source));
  return { sampler: order, batchSampler: batchSize === null ? null : new BatchSampler(order, batchSize, dropLast) };
}
interface Order {
  readonly sampler: Iterable<number> | null;
  readonly batchSampler: Iterable<readonly number[]> | null;
}
