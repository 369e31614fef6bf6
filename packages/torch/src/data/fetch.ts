/** Batches of a dataset that has positions: elements fetched and collated, at once where they are there at once. */
import { ArgumentError } from "../errors.js";
import { defaultCollate, defaultConvert } from "./collate.js";
import type { Dataset, Source } from "./dataset.js";
import { Leftovers } from "./leftovers.js";

export interface FetchPlan<T, B> {
  readonly dataset: Source<T>;
  readonly collateFn: ((elements: readonly T[]) => B) | null;
}
/** A position, or those of a batch. */
export type Where = number | readonly number[];

type MapStyle<T> = Pick<Dataset<T>, "length" | "get" | "getBatch">;

export function isPromise<V>(value: V | Promise<V>): value is Promise<V> {
  return typeof value === "object" && value !== null && "then" in value && typeof value.then === "function";
}

export class Fetch<T, B> {
  readonly #plan: FetchPlan<T, B>;
  readonly #leftovers = new Leftovers();

  constructor(plan: FetchPlan<T, B>) {
    this.#plan = plan;
  }

  #element(index: number): T | Promise<T> {
    const dataset = this.#plan.dataset;
    if (!Array.isArray(dataset)) return (dataset as MapStyle<T>).get(index);
    const list: readonly T[] = dataset;
    if (!(index in list)) throw new ArgumentError("DataLoader", `positions from 0 to ${list.length - 1}`, index);
    return list[index] as T;
  }

  /** The batch (or element) at a place of the order. A promise where the dataset, or collateFn, returns one. */
  at(where: Where): B | Promise<B> {
    if (typeof where === "number") {
      const element = this.#element(where);
      return isPromise(element) ? Promise.resolve(element).then((e) => this.convert(e)) : this.convert(element);
    }
    const whole = this.#gathered(where);
    if (whole !== undefined) return whole as B | Promise<B>;
    this.#leftovers.sweep();
    const elements = this.#elementsAt(where);
    if (!elements.some(isPromise)) return this.collate(elements as T[]);
    return Promise.all(elements).then((all) => {
      const batch = this.collate(all);
      this.#leftovers.add(all);
      return batch;
    });
  }

  /** The whole batch at once, where the dataset can and nobody asked for a collate of their own. */
  #gathered(where: readonly number[]): unknown {
    if (this.#plan.collateFn !== null || Array.isArray(this.#plan.dataset)) return undefined;
    return (this.#plan.dataset as MapStyle<T>).getBatch?.(where);
  }

  #elementsAt(where: readonly number[]): (T | Promise<T>)[] {
    const elements: (T | Promise<T>)[] = [];
    try {
      for (const i of where) elements.push(this.#element(i));
    } catch (error) {
      // Nobody will wait for those that are under way: their failures must not count as unheard of.
      for (const element of elements) if (isPromise(element)) element.then(undefined, () => undefined);
      throw error;
    }
    return elements;
  }

  collate(elements: readonly T[]): B {
    // B is Collated<T> when there is no collateFn: the class's default type argument says so, which the compiler cannot
    // carry to here.
    return this.#plan.collateFn === null ? (defaultCollate(elements) as unknown as B) : this.#plan.collateFn(elements);
  }
  /** One element, without batches. A collateFn sees it as it is, as PyTorch's does. */
  convert(element: T): B {
    return this.#plan.collateFn === null
      ? (defaultConvert(element) as B)
      : this.#plan.collateFn(element as unknown as readonly T[]);
  }
}
