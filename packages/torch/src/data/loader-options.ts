/** Options of a DataLoader: what each may be, which go together, and the order of positions that they make. */
import { ArgumentError } from "../errors.js";
import { byDefault, callable, flag, isPlain, iterable, orNull, real, such, text, whole } from "../kinds.js";
import type { OptionNames } from "../options.js";
import type { Generator } from "../random.js";
import { signature } from "../signature.js";
import { BatchSampler } from "./batch-sampler.js";
import { isIterableDataset, type Source } from "./dataset.js";
import { checkGenerator, generatorKind } from "./random-ops.js";
import { RandomSampler, SequentialSampler, type Sized } from "./sampler.js";
import { isWorkerDataset, recipeOf, remote, type WorkerDataset } from "./workers/remote.js";

export interface DataLoaderOptions<T, B> {
  /** Elements per batch. Default 1. Null: no batches, one element at a time, without a new dimension. */
  readonly batchSize?: number | null;
  /** A new random order each pass. Default false. */
  readonly shuffle?: boolean | null;
  /** The order of positions, instead of `shuffle`. */
  readonly sampler?: Iterable<number> | null;
  /** The positions of each batch, instead of `batchSize`, `shuffle`, `sampler` and `dropLast`. */
  readonly batchSampler?: Iterable<readonly number[]> | null;
  /**
   * How many threads load batches, beside this one. Default 0: this one does, when it is asked.
   *
   * Each has a copy of the dataset: its fields, with tensors that share memory. The dataset's class, `collateFn` and
   * `workerInitFn` must be exported by the modules they are written in, from which threads load them; what cannot be
   * copied is made by each thread for itself (`new DataLoader({ module, export, args }, …)`). Tensors come without a
   * copy. Batches and their order are those of no workers; random draws of `get` are each thread's own, seeded with
   * the pass's seed plus the thread's number. A dataset that keeps tensors from one `get` to the next must `keep` them.
   */
  readonly numWorkers?: number;
  /** From elements to a batch. Default: `defaultCollate` (without batches: typed arrays become tensors). */
  readonly collateFn?: ((elements: readonly T[]) => B) | null;
  /**
   * Return batches in page-locked memory, from which a copy to a GPU does not make the host wait (the Trainer copies
   * so). Default false. Without a GPU nothing is done.
   */
  readonly pinMemory?: boolean;
  /** Leave out a last batch that is not full. Default false. */
  readonly dropLast?: boolean;
  /** Seconds to wait for a batch of the workers. Default 0: for ever. */
  readonly timeout?: number;
  /** Called in each worker with its number, after seeding and before anything is loaded. May return a promise. */
  readonly workerInitFn?: ((id: number) => unknown) | null;
  /** Must be left out: workers are threads, which begin in one way. */
  readonly multiprocessingContext?: null;
  /** What the order and the pass's seed are drawn from. Default: the default generator. */
  readonly generator?: Generator | null;
  /** Batches that each worker loads in advance. Default 2. */
  readonly prefetchFactor?: number | null;
  /** Keep the workers, with their datasets, from pass to pass. Default false: each pass begins new ones. */
  readonly persistentWorkers?: boolean;
  /** Has no effect, as in PyTorch: memory is pinned for the device that there is. */
  readonly pinMemoryDevice?: string;
  /** Default true. False: batches in the order in which workers have them ready. */
  readonly inOrder?: boolean;
  /**
   * How many batches `for await` (and the Trainer) keeps loading at once when the dataset's `get` returns promises and
   * there are no workers. Default 0: one after the other. Batches and their order do not depend on it.
   */
  readonly concurrency?: number;
}
export interface DataLoaderArguments<T, B> extends DataLoaderOptions<T, B> {
  readonly dataset: Source<T> | WorkerDataset;
}
const FN = "DataLoader";
const OPTIONS = {
  batchSize: byDefault(1, orNull(whole("[1, ∞)"))),
  shuffle: byDefault(false, orNull(flag)),
  sampler: byDefault(null, orNull(iterable)),
  batchSampler: byDefault(null, orNull(iterable)),
  numWorkers: byDefault(0, whole("[0, 1024]")),
  collateFn: byDefault(null, orNull(callable)),
  pinMemory: byDefault(false, flag),
  dropLast: byDefault(false, flag),
  timeout: byDefault(0, real("[0, ∞)")),
  workerInitFn: byDefault(null, orNull(callable)),
  multiprocessingContext: byDefault(
    null,
    such<null>("left out: workers are threads, which begin in one way", (v) => v === null),
  ),
  generator: byDefault(null, generatorKind),
  prefetchFactor: byDefault(null, orNull(whole("[1, ∞)"))),
  persistentWorkers: byDefault(false, flag),
  pinMemoryDevice: byDefault("", text),
  inOrder: byDefault(true, flag),
  concurrency: byDefault(0, whole("[0, ∞)")),
} satisfies OptionNames<DataLoaderOptions<never, unknown>>;
const read = signature(
  FN,
  { dataset: such<unknown>("an object with length and get, a stream, or an array", isSource), ...OPTIONS },
  13,
);

export interface Settled<T, B> {
  readonly dataset: Source<T>;
  readonly batchSize: number | null;
  readonly shuffle: boolean;
  readonly sampler: Iterable<number> | null;
  readonly batchSampler: Iterable<readonly number[]> | null;
  readonly numWorkers: number;
  readonly collateFn: ((elements: readonly T[]) => B) | null;
  readonly pinMemory: boolean;
  readonly dropLast: boolean;
  readonly timeout: number;
  readonly workerInitFn: ((id: number) => unknown) | null;
  readonly generator: Generator | null;
  readonly prefetchFactor: number | null;
  readonly persistentWorkers: boolean;
  readonly pinMemoryDevice: string;
  readonly inOrder: boolean;
  readonly concurrency: number;
}

/** A plain object without any of these is one of arguments by name. */
function isSource(value: unknown): boolean {
  return (
    Array.isArray(value) ||
    isWorkerDataset(value) ||
    (typeof value === "object" && value !== null && (!isPlain(value) || "get" in value || isIterableDataset(value)))
  );
}

/**
 * What does not go together: whether it is so, what is expected instead, what of the options it is about, and a fix.
 */
const CONFLICTS: readonly (readonly [
  when: (o: Settled<never, unknown>, stream: boolean) => boolean,
  expected: string,
  received: (o: Settled<never, unknown>) => unknown,
  fix?: string,
])[] = [
  [
    ({ shuffle }, stream) => stream && shuffle,
    "shuffle to be left out for a stream",
    (o) => o.shuffle,
    "Shuffle inside the stream.",
  ],
  [
    ({ sampler, batchSampler }, stream) => stream && (sampler ?? batchSampler) !== null,
    "sampler and batchSampler to be left out for a stream",
    (o) => o.sampler ?? o.batchSampler,
    "A stream has no positions.",
  ],
  [
    ({ shuffle, sampler }) => shuffle && sampler !== null,
    "shuffle to be left out when there is a sampler",
    (o) => o.shuffle,
  ],
  [
    ({ batchSampler, batchSize, shuffle, sampler, dropLast }) =>
      batchSampler !== null && (batchSize !== 1 || shuffle || sampler !== null || dropLast),
    "batchSize, shuffle, sampler and dropLast to be left out when there is a batchSampler",
    ({ batchSampler, ...o }) => ({
      batchSampler,
      ...(o.batchSize === 1 ? {} : { batchSize: o.batchSize }),
      ...(o.shuffle ? { shuffle: true } : {}),
      ...(o.sampler === null ? {} : { sampler: o.sampler }),
      ...(o.dropLast ? { dropLast: true } : {}),
    }),
  ],
  [
    ({ batchSize, dropLast }) => batchSize === null && dropLast,
    "dropLast to be left out when batchSize is null",
    (o) => o.dropLast,
  ],
  ...(
    [
      ["timeout", (o) => o.timeout !== 0],
      ["workerInitFn", (o) => o.workerInitFn !== null],
      ["prefetchFactor", (o) => o.prefetchFactor !== null],
      ["persistentWorkers", (o) => o.persistentWorkers],
    ] as const satisfies readonly (readonly [keyof Settled<never, unknown>, (o: Settled<never, unknown>) => boolean])[]
  ).map(
    ([name, given]) =>
      [
        (o: Settled<never, unknown>) => o.numWorkers === 0 && given(o),
        `${name} to be left out without workers`,
        (o: Settled<never, unknown>) => o[name],
        "Set numWorkers, or leave it out.",
      ] as const,
  ),
  [
    (o) => o.numWorkers > 0 && o.concurrency > 0,
    "concurrency to be left out when there are workers",
    (o) => o.concurrency,
    "A worker loads the elements of its batch at once.",
  ],
  [
    (o) => o.numWorkers === 0 && recipeOf(o.dataset) !== null,
    "numWorkers to be at least 1 for a dataset that workers make",
    (o) => o.numWorkers,
  ],
];

/**
 * The arguments with their defaults; a batchSampler makes the batches, so that there is no batchSize.
 * @throws {ArgumentError} for an argument of another kind, and for two that do not go together.
 */
export function settleOptions<T, B>(given: readonly unknown[]): Settled<T, B> & { readonly stream: boolean } {
  const values = read(given);
  checkGenerator(FN, values.generator);
  const dataset = isWorkerDataset(values.dataset) ? remote(values.dataset) : values.dataset;
  const settled = { ...values, dataset, shuffle: values.shuffle ?? false } as unknown as Settled<T, B>;
  const stream = isStream(dataset);
  for (const [when, expected, received, fix] of CONFLICTS)
    if (when(settled as unknown as Settled<never, unknown>, stream))
      throw new ArgumentError(FN, expected, received(settled as unknown as Settled<never, unknown>), fix);
  return { ...settled, stream, batchSize: settled.batchSampler === null ? settled.batchSize : null };
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
  if (batchSampler !== null) return { sampler: null, batchSampler };
  const order = sampler ?? (shuffle ? new RandomSampler(source, { generator }) : new SequentialSampler(source));
  return { sampler: order, batchSampler: batchSize === null ? null : new BatchSampler(order, batchSize, dropLast) };
}
interface Order {
  readonly sampler: Iterable<number> | null;
  readonly batchSampler: Iterable<readonly number[]> | null;
}
