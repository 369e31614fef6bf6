/** Several datasets side by side. */
import { ArgumentError } from "../errors.js";
import { isPlain } from "../kinds.js";
import { atMost } from "../options.js";
import { Dataset } from "./dataset.js";
import { isPromise } from "./fetch.js";
import { lengthNow } from "./sampler.js";

type Sets = readonly Dataset<unknown>[] | Readonly<Record<string, Dataset<unknown>>>;
/** The elements of datasets, in the same structure. */
export type Stacked<S extends Sets> = { -readonly [K in keyof S]: S[K] extends Dataset<infer T> ? T : never };

/**
 * Elements of several datasets of one length, side by side: element i is `[a.get(i), b.get(i), …]`, or an object where
 * datasets are given by name.
 *
 * @throws {ArgumentError} `StackDataset: expected datasets of one length. Received: [10, 9].`
 * @example new StackDataset({ image: images, text: texts }).get(0); // { image: …, text: … }
 */
export class StackDataset<S extends Sets> extends Dataset<Stacked<S>> {
  readonly datasets: S;
  constructor(...datasets: S extends readonly unknown[] ? S : [datasets: S]) {
    super();
    const [first] = datasets as readonly unknown[];
    const named = datasets.length === 1 && isPlain(first) && !("get" in first);
    this.datasets = (named ? first : datasets) as unknown as S;
    const all = Object.values(this.datasets) as Dataset<unknown>[];
    if (all.length === 0) throw new ArgumentError("StackDataset", "at least one dataset", []);
    for (const each of all)
      if (typeof each !== "object" || (each as unknown) === null || typeof each.get !== "function")
        throw new ArgumentError("StackDataset", "datasets with length and get", each);
    const lengths = all.map((each) => lengthNow("StackDataset", each));
    if (lengths.some((n) => n !== lengths[0]))
      throw new ArgumentError("StackDataset", "datasets of one length", lengths);
  }
  get length(): number {
    return lengthNow("StackDataset", (Object.values(this.datasets) as Dataset<unknown>[])[0] as Dataset<unknown>);
  }
  get(index: number): Stacked<S> | Promise<Stacked<S>> {
    atMost("StackDataset.get", arguments, 1);
    const values = (Object.values(this.datasets) as Dataset<unknown>[]).map((each) => each.get(index));
    return values.some(isPromise)
      ? Promise.all(values).then((all) => like(this.datasets, all))
      : like(this.datasets, values);
  }
  /** The batches of all, where every dataset makes batches of its own. */
  override getBatch(indices: readonly number[]): unknown {
    atMost("StackDataset.getBatch", arguments, 1);
    if (this.get !== StackDataset.prototype.get) return undefined;
    const batches: unknown[] = [];
    for (const each of Object.values(this.datasets) as Dataset<unknown>[]) {
      const batch = each.getBatch?.(indices);
      if (batch === undefined) return undefined;
      batches.push(batch);
    }
    return like(this.datasets, batches);
  }
}

/** Values in the structure of the datasets. (No private method: workers get copies of the fields.) */
function like<S extends Sets>(datasets: S, values: readonly unknown[]): Stacked<S> {
  if (Array.isArray(datasets)) return values as Stacked<S>;
  return Object.fromEntries(Object.keys(datasets).map((name, i) => [name, values[i]])) as Stacked<S>;
}
