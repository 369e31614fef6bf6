/** Batches of several loaders as those of one. */
import { verbatim, type CombinedMode } from "@nbit/torch";
import { count, fieldsOf, flag, listOf } from "@nbit/torch/schema";
import { checkState, fetcherState } from "../checkpoint/schema.js";
import { MisconfigurationError } from "../errors.js";
import { isPromise } from "../promises.js";
import type { BatchSource } from "./batch-source.js";
import { Fetcher, limitBatches, type BatchLimit, type Fetched, type FetcherState, type Loader } from "./fetch.js";
import { filled, type LoaderGroup } from "./loader-group.js";

type Next = Fetched | null | Promise<Fetched | null>;

/** What a checkpoint holds of it, in the place of a loader's own state. */
const STATE = fieldsOf({ loaders: listOf(fetcherState), ended: listOf(flag), at: count });

/** A source for a group: of one loader, or of several together. */
export function sourceOf(group: LoaderGroup, limit: BatchLimit, option: string): BatchSource {
  const [only] = group.loaders;
  return group.mode === null && only !== undefined
    ? new Fetcher(only, limit, option)
    : new CombinedFetcher(group, group.mode ?? "min_size", limit, option);
}

/** The loaders of an evaluation: one, or a list of those that steps tell by their numbers. */
export function loadersOf(sources: readonly BatchSource[]): unknown {
  const each = sources.map(({ loaders }) => (loaders.length === 1 ? loaders[0] : loaders));
  return each.length === 1 ? each[0] : each;
}

/**
 * Takes a batch of each loader at once, or, in turn, all of one after the other, as PyTorch Lightning's CombinedLoader
 * does: "min_size" ends with the shortest; "max_size" with the longest, null standing for those that have ended;
 * "max_size_cycle" with the longest, the others beginning again.
 *
 * Each loader has a fetcher of its own, which knows what is read ahead and how it is resumed.
 */
export class CombinedFetcher implements BatchSource {
  length: number;
  readonly sized: boolean;
  readonly loaders: readonly Loader[];
  /** Nobody can say how many samples several loaders' batches have together. */
  readonly batchSize = null;
  readonly #mode: CombinedMode;
  readonly #like: unknown;
  readonly #each: readonly Fetcher[];
  /** All loaders say how many batches they have. */
  readonly #known: boolean;
  #fetched = 0;
  #epoch = 0;
  /** Which have ended once. */
  #ended: boolean[];
  /** Which a checkpoint has left at their last batch. */
  #over: boolean[];
  /** In turn: whose turn it is. */
  #at = 0;

  constructor({ like, loaders }: LoaderGroup, mode: CombinedMode, limit: BatchLimit, option: string) {
    const inTurn = mode === "sequential";
    this.loaders = loaders;
    this.#mode = mode;
    this.#like = like;
    this.#each = loaders.map((loader) => new Fetcher(loader, inTurn ? limit : undefined, option));
    this.#known = this.#each.every((fetcher) => fetcher.known);
    const lengths = this.#each.map((fetcher) =>
      Math.min(fetcher.length, limitBatches(fetcher.known ? fetcher.length : null, inTurn ? undefined : limit, option)),
    );
    this.length = inTurn
      ? lengths.reduce((a, b) => a + b, 0)
      : mode === "min_size"
        ? Math.min(...lengths)
        : Math.max(...lengths);
    this.sized = this.length !== Infinity;
    this.#ended = loaders.map(() => false);
    this.#over = loaders.map(() => false);
  }

  get fetched(): number {
    return this.#fetched;
  }

  limitTo(batches: number): void {
    this.length = Math.min(this.length, batches);
  }

  /** One after the other begins one at a time: nobody's workers wait for their turn. */
  start(epoch: number): void {
    this.#epoch = epoch;
    this.#fetched = 0;
    this.#ended.fill(false);
    this.#over.fill(false);
    this.#at = 0;
    if (this.#mode === "sequential") this.#each[0]?.start(epoch);
    else for (const fetcher of this.#each) fetcher.start(epoch);
  }

  next(): Next {
    if (this.#fetched >= this.length) return null;
    return this.#mode === "sequential" ? this.#inTurn() : this.#together([]);
  }

  #take(i: number): Next {
    return this.#over[i] === true ? null : (this.#each[i]?.next() ?? null);
  }

  #together(taken: readonly (Fetched | null)[]): Next {
    const i = taken.length;
    if (i === this.#each.length) return this.#give(taken);
    const next = this.#mode === "max_size" && this.#ended[i] === true ? null : this.#take(i);
    return isPromise(next) ? next.then((late) => this.#took(late, taken)) : this.#took(next, taken);
  }

  #took(batch: Fetched | null, taken: readonly (Fetched | null)[]): Next {
    if (batch !== null) return this.#together([...taken, batch]);
    const i = taken.length;
    this.#ended[i] = true;
    if (this.#mode === "min_size" || this.#ended.every(Boolean)) return null;
    if (this.#mode === "max_size") return this.#together([...taken, null]);
    this.#over[i] = false;
    this.#each[i]?.start(this.#epoch);
    const again = this.#take(i);
    // Null: there is nothing in it to go over again.
    const then = (first: Fetched | null): Next => (first === null ? null : this.#together([...taken, first]));
    return isPromise(again) ? again.then(then) : then(again);
  }

  #give(taken: readonly (Fetched | null)[]): Fetched | null {
    if (taken.every((one) => one === null)) return null;
    const last = (one: Fetched | null, i: number): boolean => one?.isLast !== false || this.#ended[i] === true;
    const ends = !this.#known && (this.#mode === "min_size" ? taken.some((one) => one?.isLast) : taken.every(last));
    const batches = taken.map((one) => one?.batch ?? null);
    return this.#count(filled(this.#like, batches), ends);
  }

  #inTurn(): Next {
    for (; this.#at < this.#each.length; this.#begin(this.#at + 1)) {
      const next = this.#take(this.#at);
      if (isPromise(next)) return next.then((late) => (late === null ? this.#afterTurn() : this.#giveInTurn(late)));
      if (next !== null) return this.#giveInTurn(next);
    }
    return null;
  }
  #afterTurn(): Next {
    this.#begin(this.#at + 1);
    return this.#inTurn();
  }
  #begin(at: number): void {
    this.#at = at;
    this.#each[at]?.start(this.#epoch);
  }
  #giveInTurn({ batch, isLast }: Fetched): Fetched {
    const rest = this.#each.slice(this.#at + 1);
    return this.#count(batch, !this.#known && isLast && rest.every((fetcher) => fetcher.length === 0));
  }

  #count(batch: unknown, ends: boolean): Fetched {
    this.#fetched++;
    return { batch, isLast: ends || this.#fetched >= this.length };
  }

  stateDict(): FetcherState {
    return { rng: null, fetched: this.#fetched, loader: this.loaderState() };
  }

  loaderState(): Record<string, unknown> {
    return { loaders: this.#each.map((fetcher) => fetcher.stateDict()), ended: [...this.#ended], at: this.#at };
  }

  async resume(state: FetcherState, epoch: number): Promise<void> {
    const { loaders, ended, at } = this.#read(state.loader);
    this.#epoch = epoch;
    this.#fetched = state.fetched;
    this.#ended = [...ended];
    this.#at = at;
    for (const [i, fetcher] of this.#each.entries()) {
      const own = loaders[i];
      if (own === undefined) continue;
      const inPass = this.#mode === "sequential" ? i === at : !(this.#mode === "max_size" && ended[i] === true);
      this.#over[i] = inPass && own.fetched >= fetcher.length;
      if (inPass && this.#over[i] !== true) await fetcher.resume(own, epoch);
      else fetcher.resumeLoader(own.loader, own.fetched > 0);
    }
  }

  resumeBetweenEpochs(state: FetcherState): void {
    this.resumeLoader(state.loader, state.fetched > 0);
  }

  resumeLoader(state: Record<string, unknown> | null, _begun: boolean): void {
    const { loaders } = this.#read(state);
    this.#each.forEach((fetcher, i) => {
      const own = loaders[i];
      if (own !== undefined) fetcher.resumeLoader(own.loader, own.fetched > 0);
    });
  }

  #read(state: Readonly<Record<string, unknown>> | null): {
    readonly loaders: readonly FetcherState[];
    readonly ended: readonly boolean[];
    readonly at: number;
  } {
    const n = this.#each.length;
    const wrong = (received: string): MisconfigurationError =>
      new MisconfigurationError(
        "fit",
        `the ${n} loaders that the checkpoint was made with`,
        verbatim(received),
        "Resume with the loaders that the checkpoint was made with.",
        "ERR_RESUME_LOADER",
      );
    if (state === null || !("loaders" in state)) throw wrong("a checkpoint of one loader");
    const saved = checkState("fit", STATE, state);
    if (saved.loaders.length !== n || saved.ended.length !== n)
      throw wrong(`a checkpoint of ${saved.loaders.length} loaders`);
    return saved as typeof saved & { readonly loaders: readonly FetcherState[] };
  }

  async close(): Promise<void> {
    for (const fetcher of this.#each) await fetcher.close();
  }
}
