/** Datasets: things with a length and elements, or streams of elements. */
import { ArgumentError } from "../errors.js";
import { iterable, listOf, such, whole } from "../kinds.js";
import { atMost, checkArguments } from "../options.js";
import { iterated, MOST_ELEMENTS } from "../read-once.js";
import { isTensor, keep, tensor, type Tensor } from "../tensor/index.js";
import { lengthNow } from "./sampler.js";

/**
 * A dataset with a length, whose elements are found by position. Any object with `length` and `get` will do; this class
 * is for `instanceof` and documentation.
 *
 * @example
 * class Squares extends Dataset<[number, number]> {
 *   readonly length = 100;
 *   get(i: number): [number, number] { return [i, i * i]; }
 * }
 */
export abstract class Dataset<T> {
  constructor() {
    // Classes without a constructor of their own pass on what they are given.
    atMost(new.target.name || "Dataset", arguments, 0);
  }
  abstract readonly length: number;
  /**
   * Element `index`, 0 ≤ index < length. May return a promise; then the loader is iterated with `for await`. The
   * Trainer waits where it must.
   */
  abstract get(index: number): T | Promise<T>;
  /**
   * A faster way to the same result: the elements at these positions, already collated into a batch as the default
   * collate would. A loader uses it when it has no `collateFn` of its own. Undefined: not possible, use `get`.
   */
  getBatch?(indices: readonly number[]): unknown;
}

/**
 * A dataset that is a stream: implement `[Symbol.iterator]`, or `[Symbol.asyncIterator]` for one that waits. Each
 * iteration starts over. `length` is optional.
 */
export abstract class IterableDataset<T> {
  readonly length?: number;
  constructor() {
    atMost(new.target.name || "IterableDataset", arguments, 0);
  }
  [Symbol.iterator]?(): Iterator<T>;
  [Symbol.asyncIterator]?(): AsyncIterator<T>;
}

/** What a loader takes elements from: an object with `length` and `get`, a stream, or an array. */
export type Source<T> = Pick<Dataset<T>, "length" | "get" | "getBatch"> | IterableDataset<T> | readonly T[];

type TensorTuple = readonly Tensor[];

/**
 * Tensors that share their first dimension: element i is `[a.at(i), b.at(i), …]`.
 *
 * A batch is gathered with one `indexSelect` per tensor, not by stacking its elements. The dataset keeps its tensors
 * alive past any scope.
 *
 * @throws {ArgumentError} `TensorDataset: expected tensors whose first dimensions agree. Received: [10, 9].`
 * @example new TensorDataset(images, labels).get(0); // [image, label]
 */
export class TensorDataset<T extends TensorTuple> extends Dataset<T> {
  readonly tensors: T;
  readonly length: number;

  constructor(...tensors: T) {
    super();
    if (tensors.length === 0) throw new ArgumentError("TensorDataset", "at least one tensor", []);
    for (const t of tensors)
      if (!isTensor(t) || t.ndim === 0)
        throw new ArgumentError("TensorDataset", "tensors with at least one dimension", t);
    const sizes = tensors.map((t) => t.size(0));
    if (sizes.some((n) => n !== sizes[0]))
      throw new ArgumentError("TensorDataset", "tensors whose first dimensions agree", sizes);
    for (const t of tensors) keep(t);
    this.tensors = tensors;
    this.length = sizes[0] as number;
  }

  get(index: number): T {
    atMost("TensorDataset.get", arguments, 1);
    return this.tensors.map((t) => t.at(index)) as unknown as T;
  }
  override getBatch(indices: readonly number[]): Tensor[] | undefined {
    atMost("TensorDataset.getBatch", arguments, 1);
    // A subclass with elements of its own is not gathered behind its back.
    if (this.get !== TensorDataset.prototype.get) return undefined;
    const positions = indexTensor(indices, this.length);
    const here = new Map([[this.tensors[0]?.device, positions]]);
    try {
      return this.tensors.map((t) => {
        let at = here.get(t.device);
        if (at === undefined) here.set(t.device, (at = positions.to(t.device)));
        return t.indexSelect(0, at);
      });
    } finally {
      for (const p of new Set([positions, ...here.values()])) p.dispose();
    }
  }
}

function checkPositions(fn: string, indices: readonly number[]): void {
  if ((Array.isArray(indices) || ArrayBuffer.isView(indices)) && indices.length <= MOST_ELEMENTS) return;
  throw new ArgumentError(fn, `an array of at most ${MOST_ELEMENTS.toLocaleString("en")} positions`, indices);
}

/** Positions as a tensor, checked: indexSelect names a bad one less clearly. */
function indexTensor(indices: readonly number[], length: number): Tensor {
  checkPositions("TensorDataset", indices);
  const wrapped = (i: number): number => {
    const at = indices[i] as number;
    if (!Number.isInteger(at) || at < -length || at >= length)
      throw new ArgumentError("TensorDataset", `positions from 0 to ${length - 1}`, at);
    return at < 0 ? at + length : at;
  };
  if (length > 0x7fffffff) return tensor(BigInt64Array.from({ length: indices.length }, (_, i) => BigInt(wrapped(i))));
  const values = new Int32Array(indices.length);
  for (let i = 0; i < values.length; i++) values[i] = wrapped(i);
  return tensor(values);
}

/** Some elements of a dataset, by position. */
export class Subset<T> extends Dataset<T> {
  readonly dataset: Dataset<T>;
  readonly indices: readonly number[];
  constructor(dataset: Dataset<T>, indices: readonly number[]) {
    super();
    atMost("Subset", arguments, 2);
    checkArguments(
      "Subset",
      { dataset, indices },
      { dataset: such<Dataset<T>>("a dataset", (v) => typeof v === "object" && v !== null), indices: listOf(whole()) },
    );
    this.dataset = dataset;
    this.indices = indices;
  }
  get length(): number {
    return this.indices.length;
  }
  get(index: number): T | Promise<T> {
    atMost("Subset.get", arguments, 1);
    return this.dataset.get(at("Subset", this.indices, index));
  }
  override getBatch(indices: readonly number[]): unknown {
    atMost("Subset.getBatch", arguments, 1);
    if (this.get !== Subset.prototype.get) return undefined;
    checkPositions("Subset", indices);
    return this.dataset.getBatch?.(indices.map((i) => at("Subset", this.indices, i)));
  }
}

/**
 * Several datasets, one after the other. A negative position counts from the end.
 * @throws {ArgumentError} `ConcatDataset: expected index to be from -5 to 4. Received: 5.`
 */
export class ConcatDataset<T> extends Dataset<T> {
  readonly datasets: readonly Dataset<T>[];
  readonly cumulativeSizes: readonly number[];
  constructor(datasets: Iterable<Dataset<T>>) {
    super();
    atMost("ConcatDataset", arguments, 1);
    checkArguments("ConcatDataset", { datasets }, { datasets: iterable });
    this.datasets = iterated("ConcatDataset", "datasets", datasets) as Dataset<T>[];
    if (this.datasets.length === 0) throw new ArgumentError("ConcatDataset", "at least one dataset", []);
    for (const d of this.datasets)
      if (isIterableDataset(d))
        throw new ArgumentError(
          "ConcatDataset",
          "datasets with positions",
          d,
          "Streams cannot be concatenated by position: use ChainDataset.",
        );
    let sum = 0;
    this.cumulativeSizes = this.datasets.map((d) => (sum += lengthNow("ConcatDataset", d)));
  }
  get length(): number {
    return this.cumulativeSizes.at(-1) as number;
  }
  get(index: number): T | Promise<T> {
    atMost("ConcatDataset.get", arguments, 1);
    const n = this.length;
    if (!Number.isInteger(index) || index < -n || index >= n)
      throw new ArgumentError("ConcatDataset", `index to be from ${-n} to ${n - 1}`, index);
    const position = index < 0 ? index + n : index;
    // The first dataset that ends after the position.
    let low = 0;
    let high = this.cumulativeSizes.length - 1;
    while (low < high) {
      const middle = (low + high) >> 1;
      if ((this.cumulativeSizes[middle] as number) > position) high = middle;
      else low = middle + 1;
    }
    return (this.datasets[low] as Dataset<T>).get(
      position - (low === 0 ? 0 : (this.cumulativeSizes[low - 1] as number)),
    );
  }
}

/** Several streams, one after the other. */
export class ChainDataset<T> extends IterableDataset<T> {
  readonly datasets: readonly IterableDataset<T>[];
  constructor(datasets: Iterable<IterableDataset<T>>) {
    super();
    atMost("ChainDataset", arguments, 1);
    checkArguments("ChainDataset", { datasets }, { datasets: iterable });
    this.datasets = iterated("ChainDataset", "datasets", datasets) as IterableDataset<T>[];
    const bad = this.datasets.find((d) => !isIterableDataset(d));
    if (bad !== undefined) throw new ArgumentError("ChainDataset", "streams only", bad);
    if (this.datasets.some((d) => d[Symbol.iterator] === undefined)) {
      // One stream that waits makes the whole one that waits.
      Object.defineProperty(this, Symbol.iterator, { value: undefined });
    }
  }
  override *[Symbol.iterator](): Iterator<T, void, undefined> {
    for (const d of this.datasets) yield* d as Iterable<T>;
  }
  override async *[Symbol.asyncIterator](): AsyncIterator<T, void, undefined> {
    for (const d of this.datasets)
      yield* d[Symbol.asyncIterator] === undefined ? (d as Iterable<T>) : (d as AsyncIterable<T>);
  }
}

/** @internal A stream: it can be iterated and has no positions. */
export function isIterableDataset(value: unknown): value is IterableDataset<unknown> {
  if (typeof value !== "object" || value === null) return false;
  const has = value as { [Symbol.iterator]?: unknown; [Symbol.asyncIterator]?: unknown; get?: unknown };
  return (
    (typeof has[Symbol.iterator] === "function" || typeof has[Symbol.asyncIterator] === "function") &&
    typeof has.get !== "function"
  );
}

function at(fn: string, indices: readonly number[], index: number): number {
  const n = indices.length;
  const found = Number.isInteger(index) ? indices[index < 0 ? index + n : index] : undefined;
  if (found === undefined) throw new ArgumentError(fn, `index to be from ${-n} to ${n - 1}`, index);
  return found;
}
