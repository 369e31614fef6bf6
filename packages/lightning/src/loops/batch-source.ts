import type { Tensor } from "@nbit/torch";

/** Anything that yields batches. A `length`, when it has one, is the number of batches. */
export type Loader = Iterable<unknown> | AsyncIterable<unknown>;

/** How many batches to take of a loader: undefined all, a share in (0, 1), or a whole number. */
export type BatchLimit = number | undefined;

export interface Fetched {
  readonly batch: unknown;
  /** Nothing comes after this batch. */
  readonly isLast: boolean;
}

export interface FetcherState {
  /** State of the random number generator before the epoch's iterator was made; null before the first. */
  readonly rng: Tensor | null;
  readonly fetched: number;
  readonly loader: Record<string, unknown> | null;
}

/** What gives the batches of an epoch, from one loader or from several. */
export interface BatchSource {
  /** Batches per epoch after the limit; Infinity when it is not known. */
  readonly length: number;
  /** Whether the number of batches is known in advance. */
  readonly sized: boolean;
  readonly loaders: readonly Loader[];
  /** Samples in a batch, where the loader says so. */
  readonly batchSize: number | null;
  readonly fetched: number;
  /** Take at most so many batches per epoch. */
  limitTo(batches: number): void;
  /** Begin an epoch. */
  start(epoch: number): void;
  /** The next batch, or null when there is none. */
  next(): Fetched | null | Promise<Fetched | null>;
  stateDict(): FetcherState;
  /** What the loader says of itself; null where it says nothing. */
  loaderState(): Record<string, unknown> | null;
  /** Go to where `state` says. */
  resume(state: FetcherState, epoch: number): Promise<void>;
  /** Take over what loaders carry from one epoch to the next, before an epoch that has not begun. */
  resumeBetweenEpochs(state: FetcherState): void;
  /** The same, from what {@link loaderState} said, after a pass or before the first. */
  resumeLoader(state: Record<string, unknown> | null, begun: boolean): void;
  /** Let go of what an epoch holds. */
  close(): Promise<void>;
}
