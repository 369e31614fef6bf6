/** What is saved of a loader, and how its generators are brought back. */
import { ArgumentError } from "../errors.js";
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

export function finishedState(epoch: number, generators: readonly Generator[]): LoaderState {
  return { version: 1, epoch, position: 0, before: null, now: asTensors(snapshot(withDefault(generators).slice(1))) };
}

export function runningState(
  epoch: number,
  position: number,
  before: Snapshot,
  generators: readonly Generator[] | null,
): LoaderState {
  return {
    version: 1,
    epoch,
    position,
    before: asTensors(before),
    now: generators === null ? null : asTensors(snapshot(withDefault(generators).slice(1))),
  };
}

/** A state that was read back and checked. */
export interface StoredLoaderState {
  readonly epoch: number;
  readonly position: number;
  readonly before: Snapshot | null;
  /** Give the loader's own generators their saved states, where they were saved. */
  restoreNow(): void;
  readonly dict: LoaderState;
}

export function readState(
  state: Readonly<Record<string, unknown>>,
  generators: readonly Generator[],
): StoredLoaderState {
  const fn = "loadStateDict";
  const own = withDefault(generators).slice(1);
  if (typeof state !== "object" || state === null || state["version"] !== 1)
    throw new ArgumentError(fn, "a loader state of version 1", state);
  const epoch = whole(fn, "epoch", state["epoch"]);
  const position = whole(fn, "position", state["position"]);
  const before = states(fn, "before", state["before"], own.length + 1);
  const now = states(fn, "now", state["now"], own.length);
  return {
    epoch,
    position,
    before,
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
      };
    },
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
