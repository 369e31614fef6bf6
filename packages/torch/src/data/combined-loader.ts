/** Several loaders as one. */
import { ArgumentError } from "../errors.js";
import { byDefault, isPlain, oneOf, such } from "../kinds.js";
import type { OptionNames } from "../options.js";
import { signature, type Call } from "../signature.js";
import { isPromise } from "./fetch.js";

/** When a combination ends, and what becomes of loaders that end before. */
export type CombinedMode = "min_size" | "max_size" | "max_size_cycle" | "sequential";
/** Loaders, in lists and objects in one another. */
export type Iterables =
  Iterable<unknown> | AsyncIterable<unknown> | readonly Iterables[] | { readonly [name: string]: Iterables };

export interface CombinedLoaderArguments {
  /** A loader, or loaders in lists and plain objects. (A list is one of loaders, never of batches.) */
  readonly iterables: Iterables;
  /**
   * "min_size" (the default) ends with the shortest; "max_size" with the longest, null standing for those that have
   * ended; "max_size_cycle" with the longest, the others beginning again; "sequential" gives one after the other.
   */
  readonly mode?: CombinedMode;
}
const read = signature("CombinedLoader", {
  iterables: such<Iterables>("loaders, or lists and objects of them", (v) => leavesOf(v).every(isLoader)),
  mode: byDefault("min_size", oneOf("min_size", "max_size", "max_size_cycle", "sequential")),
} satisfies OptionNames<CombinedLoaderArguments>);

type Loader = Iterable<unknown> | AsyncIterable<unknown>;
type Batches = Iterator<unknown> | AsyncIterator<unknown>;
/** A batch in the structure of the loaders, its number, and (one after the other) the loader's. */
export type Combined = [batch: unknown, batchIdx: number, dataloaderIdx: number];

const isLoader = (v: unknown): v is Loader =>
  typeof v === "object" && v !== null && (Symbol.iterator in v || Symbol.asyncIterator in v);
const isLeaf = (v: unknown): boolean => !Array.isArray(v) && (!isPlain(v) || isLoader(v));

function leavesOf(v: unknown): unknown[] {
  if (isLeaf(v)) return [v];
  return (Array.isArray(v) ? v : Object.values(v as object)).flatMap(leavesOf);
}
/** The same structure, with `values` in the places of its leaves. */
function unflatten(like: unknown, values: Iterator<unknown>): unknown {
  if (isLeaf(like)) return values.next().value;
  if (Array.isArray(like)) return like.map((each) => unflatten(each, values));
  return Object.fromEntries(Object.entries(like as object).map(([name, each]) => [name, unflatten(each, values)]));
}

/**
 * Several loaders as one. Each iteration begins all of them anew and gives `[batch, batchIdx, dataloaderIdx]`; where a
 * loader gives promises, iterate with `for await`.
 *
 * @throws {ArgumentError} `CombinedLoader: expected mode to be one of min_size, … Received: "shortest".`
 * @example
 * for (const [{ a, b }] of new CombinedLoader({ a: loaderA, b: loaderB }, "max_size_cycle")) step(a, b);
 */
export class CombinedLoader implements Iterable<Combined>, AsyncIterable<Combined> {
  readonly iterables: Iterables;
  readonly mode: CombinedMode;
  #limits: readonly number[] | null = null;

  constructor(
    ...given: Call<CombinedLoaderArguments, ["iterables", "mode"], [iterables: Iterables, mode?: CombinedMode]>
  ) {
    const { iterables, mode } = read(given, new.target.name);
    this.iterables = iterables;
    this.mode = mode;
  }

  /** The loaders, without what they stand in. */
  get flattened(): readonly Loader[] {
    return leavesOf(this.iterables) as Loader[];
  }
  /** Batches of each loader at most; "sequential" heeds them, and `length`. One for all, or one for each. */
  get limits(): readonly number[] | null {
    return this.#limits;
  }
  set limits(limits: number | readonly number[] | null) {
    const n = this.flattened.length;
    const list = typeof limits === "number" ? new Array<number>(n).fill(limits) : limits;
    if (list !== null && (!Array.isArray(list) || list.length !== n || !list.every((x) => x >= 0)))
      throw new ArgumentError("CombinedLoader", `limits to be a number ≥ 0, or one for each of ${n} loaders`, limits);
    this.#limits = list;
  }
  /** Batches of a pass; null where a loader does not say. */
  get length(): number | null {
    const lengths = this.flattened.map((loader) => {
      const length: unknown = Reflect.get(loader, "length");
      return typeof length === "number" ? length : null;
    });
    if (lengths.some((n) => n === null)) return null;
    const known = (lengths as number[]).map((n, i) => Math.min(n, this.#limits?.[i] ?? Infinity));
    if (known.length === 0) return 0;
    if (this.mode === "sequential") return known.reduce((a, b) => a + b, 0);
    return this.mode === "min_size" ? Math.min(...known) : Math.max(...known);
  }

  [Symbol.iterator](): Iterator<Combined, undefined> {
    return new Pass(this, (loader) => {
      if (Symbol.iterator in loader) return loader[Symbol.iterator]();
      throw new ArgumentError(
        "CombinedLoader",
        "loaders that give their batches at once, for one iterated with for…of",
        loader,
        "Iterate with `for await`.",
      );
    }).atOnce();
  }
  [Symbol.asyncIterator](): AsyncIterator<Combined, undefined> {
    return new Pass(this, (loader) =>
      Symbol.asyncIterator in loader ? loader[Symbol.asyncIterator]() : loader[Symbol.iterator](),
    ).late();
  }
}

const DONE = { done: true, value: undefined } as const;
type Result = IteratorResult<Combined, undefined>;

class Pass {
  readonly #loaders: readonly Loader[];
  readonly #iterators: Batches[];
  /** Which have ended once. */
  readonly #ended: boolean[];
  #index = 0;
  #at = 0;

  constructor(
    readonly of: CombinedLoader,
    readonly open: (loader: Loader) => Batches,
  ) {
    this.#loaders = of.flattened;
    this.#ended = this.#loaders.map(() => false);
    // One after the other begins one at a time: no workers wait for their turn.
    this.#iterators = of.mode === "sequential" ? [] : this.#loaders.map(open);
  }

  atOnce(): Iterator<Combined, undefined> {
    return {
      next: () => {
        const result = this.#run();
        if (!isPromise(result)) return result;
        result.then(undefined, () => undefined);
        throw new ArgumentError(
          "CombinedLoader",
          "loaders that give their batches at once, for one iterated with for…of",
          result,
          "Iterate with `for await`.",
        );
      },
      return: () => {
        for (const each of this.#iterators) void each.return?.();
        return DONE;
      },
    };
  }
  late(): AsyncIterator<Combined, undefined> {
    return {
      next: async () => this.#run(),
      return: async () => {
        await Promise.all(this.#iterators.map(async (each) => each.return?.()));
        return DONE;
      },
    };
  }

  /** Asks loaders one after the other, and waits where one gives a promise. */
  #run(): Result | Promise<Result> {
    const steps = this.of.mode === "sequential" ? this.#sequential() : this.#together();
    const on = (given?: IteratorResult<unknown>): Result | Promise<Result> => {
      let step = given === undefined ? steps.next() : steps.next(given);
      while (step.done !== true) {
        const waiting = step.value;
        if (isPromise(waiting)) return Promise.resolve(waiting).then(on);
        step = steps.next(waiting);
      }
      return step.value;
    };
    return on();
  }

  *#together(): Steps {
    const { mode } = this.of;
    const values: unknown[] = [];
    let any = false;
    for (let i = 0; i < this.#iterators.length; i++) {
      let next = this.#ended[i] === true && mode === "max_size" ? DONE : yield this.#next(i);
      if (next.done === true) {
        this.#ended[i] = true;
        if (mode === "min_size" || this.#ended.every(Boolean)) return this.#end();
        if (mode === "max_size_cycle") {
          this.#iterators[i] = this.open(this.#loaders[i] as Loader);
          next = yield this.#next(i);
          if (next.done === true) return this.#end(); // it is empty
        }
      }
      any ||= next.done !== true;
      values.push(next.done === true ? null : next.value);
    }
    if (!any) return this.#end();
    return { done: false, value: [unflatten(this.of.iterables, values.values()), this.#index++, 0] };
  }

  *#sequential(): Steps {
    for (; this.#at < this.#loaders.length; this.#at++, this.#index = 0) {
      const limit = this.of.limits?.[this.#at] ?? Infinity;
      if (this.#index >= limit) {
        void this.#iterators[0]?.return?.();
        this.#iterators.length = 0;
        continue;
      }
      if (this.#iterators.length === 0) this.#iterators.push(this.open(this.#loaders[this.#at] as Loader));
      const next = yield this.#next(0);
      if (next.done !== true) return { done: false, value: [next.value, this.#index++, this.#at] };
      this.#iterators.length = 0;
    }
    return DONE;
  }
  #next(i: number): IteratorResult<unknown> | Promise<IteratorResult<unknown>> {
    return (this.#iterators[i] as Batches).next();
  }
  /** Loaders that have more are left. */
  #end(): Result {
    this.#iterators.forEach((each, i) => {
      if (this.#ended[i] !== true || this.of.mode === "max_size_cycle") void each.return?.();
    });
    return DONE;
  }
}
type Steps = Generator<IteratorResult<unknown> | Promise<IteratorResult<unknown>>, Result, IteratorResult<unknown>>;
