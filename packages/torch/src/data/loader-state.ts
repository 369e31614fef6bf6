/** What is saved of a loader, and how its generators are brought back. */
import { ArgumentError, verbatim } from "../errors.js";
import { defaultGenerator, type Generator } from "../random.js";
import { isTensor, tensor, type Tensor } from "../tensor/index.js";

export interface LoaderState {
  readonly version: 1;
  /** Passes that came to their end. */
  readonly epoch: number;
  /** Batches given in the pass that is under way. */
  readonly position: number;
  /** Generator states when the pass began: the default one, then the loader's own. Null between passes. */
  readonly before: readonly Tensor[] | null;
  /** States of the loader's own generators now; null when they are to follow from `before`. */
  readonly now: readonly Tensor[] | null;
  /** What is to be known of threads that load; null where none do, or where they end with the pass. */
  readonly workers?: WorkersState | null;
}

/** Threads that load, as far as batches were given. */
export interface WorkersState {
  /** What they began with. */
  readonly seed: string;
  /** Whether this pass drew it: threads that stay from pass to pass draw once. */
  readonly drawn: boolean;
  /** Who gave the last batch; -1: nobody yet. */
  readonly last: number;
  /** Batches that each gave in this pass. */
  readonly given: readonly number[];
  /** Whose stream has ended. */
  readonly dry: readonly boolean[];
  /** States of their generators; null of one that has given nothing. */
  readonly random: readonly (Tensor | null)[];
}

/** The same, outside of tensors. */
export interface Workers extends Omit<WorkersState, "random" | "seed"> {
  readonly seed: bigint;
  readonly random: readonly (Uint8Array | null)[];
}

/** States outside of tensors, so that no scope can free them while a pass runs. */
export type Snapshot = readonly Uint8Array[];

export function snapshot(generators: readonly Generator[]): Snapshot {
  return generators.map((g) => {
    const state = g.getState();
    const bytes = new Uint8Array(state.toBytes());
    state.dispose();
    return bytes;
  });
}

export function restore(generators: readonly Generator[], states: Snapshot): void {
  generators.forEach((g, i) => {
    const state = tensor(states[i] as Uint8Array);
    g.setState(state);
    state.dispose();
  });
}

const asTensors = (states: Snapshot): Tensor[] => states.map((s) => tensor(s));

/** The default generator first, then the others. */
export function withDefault(generators: readonly Generator[]): readonly Generator[] {
  return [defaultGenerator, ...generators.filter((g) => g !== defaultGenerator)];
}

const workersState = (workers: Workers | null): { readonly workers?: WorkersState } =>
  workers === null
    ? {}
    : {
        workers: {
          ...workers,
          seed: String(workers.seed),
          random: workers.random.map((s) => (s === null ? null : tensor(s))),
        },
      };

export function finishedState(
  epoch: number,
  generators: readonly Generator[],
  workers: Workers | null = null,
): LoaderState {
  const now = asTensors(snapshot(withDefault(generators).slice(1)));
  return { version: 1, epoch, position: 0, before: null, now, ...workersState(workers) };
}

export function runningState(
  epoch: number,
  position: number,
  before: Snapshot,
  generators: readonly Generator[] | null,
  workers: Workers | null = null,
): LoaderState {
  return {
    version: 1,
    epoch,
    position,
    before: asTensors(before),
    now: generators === null ? null : asTensors(snapshot(withDefault(generators).slice(1))),
    ...workersState(workers),
  };
}

/** A state that was read back and checked. */
export interface StoredLoaderState {
  readonly epoch: number;
  readonly position: number;
  readonly before: Snapshot | null;
  /** Give the loader's own generators their saved states, where they were saved. */
  restoreNow(): void;
  readonly workers: Workers | null;
  readonly dict: LoaderState;
}

/** @param numWorkers - Threads of the loader that continues: as many as of the one that was saved. */
export function readState(
  state: Readonly<Record<string, unknown>>,
  generators: readonly Generator[],
  numWorkers = 0,
): StoredLoaderState {
  const fn = "loadStateDict";
  const own = withDefault(generators).slice(1);
  if (typeof state !== "object" || state === null || state["version"] !== 1)
    throw new ArgumentError(fn, "a loader state of version 1", state);
  const epoch = whole(fn, "epoch", state["epoch"]);
  const position = whole(fn, "position", state["position"]);
  const before = states(fn, "before", state["before"], own.length + 1);
  const now = states(fn, "now", state["now"], own.length);
  const workers = workersOf(fn, state["workers"], numWorkers, position);
  return {
    epoch,
    position,
    before,
    workers,
    restoreNow: () => {
      if (now !== null) restore(own, now);
    },
    get dict(): LoaderState {
      return {
        version: 1,
        epoch,
        position,
        before: before === null ? null : asTensors(before),
        now: now === null ? null : asTensors(now),
        ...workersState(workers),
      };
    },
  };
}

/** @throws {ArgumentError} where another number of threads would give other batches. */
function workersOf(fn: string, value: unknown, numWorkers: number, position: number): Workers | null {
  if (value === undefined || value === null) {
    if (numWorkers > 0 && position > 0)
      throw new ArgumentError(
        fn,
        `the state of a loader with ${numWorkers} workers`,
        verbatim("one without"),
        "Resume with as many workers as were saved.",
      );
    return null;
  }
  const { seed, drawn, last, given, dry, random } = value as Readonly<Record<string, unknown>>;
  if (
    !(typeof seed === "string" && /^\d{1,20}$/.test(seed) && typeof drawn === "boolean" && Array.isArray(random)) ||
    !(Array.isArray(given) && Array.isArray(dry) && given.length === random.length && dry.length === random.length) ||
    !dry.every((d) => typeof d === "boolean")
  )
    throw new ArgumentError(fn, "workers to say of each what it gave and where its generator stands", value);
  if (random.length !== numWorkers)
    throw new ArgumentError(
      fn,
      `the state of a loader with ${numWorkers} workers`,
      verbatim(`one with ${random.length}`),
      "Resume with as many workers as were saved.",
    );
  return {
    seed: BigInt(seed),
    drawn,
    last: last === -1 ? -1 : whole(fn, "workers.last", last),
    given: given.map((n) => whole(fn, "workers.given", n)),
    dry: dry as boolean[],
    random: random.map((s) =>
      s === null ? null : ((states(fn, "workers.random", [s], 1) as Snapshot)[0] as Uint8Array),
    ),
  };
}

function whole(fn: string, name: string, value: unknown): number {
  if (typeof value !== "number" || !Number.isSafeInteger(value) || value < 0)
    throw new ArgumentError(fn, `${name} to be a whole number ≥ 0`, value);
  return value;
}

function states(fn: string, name: string, value: unknown, count: number): Snapshot | null {
  if (value === null) return null;
  if (!Array.isArray(value) || !value.every((s): s is Tensor => isTensor(s) && s.dtype === "uint8"))
    throw new ArgumentError(fn, `${name} to be a list of uint8 tensors or null`, value);
  if (value.length !== count)
    throw new ArgumentError(
      fn,
      `${name} to hold the states of ${count} generators, as this loader has`,
      value.length,
      "Make the loader with the same sampler and generator options.",
    );
  return value.map((s) => new Uint8Array(s.toBytes()));
}
