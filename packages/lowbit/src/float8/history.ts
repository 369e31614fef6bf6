/** Delayed scaling: the largest values of recent steps. */
import { atMost, cat, checkArguments, isTensor, kinds, nn, zeros, type DeviceLike, type Tensor } from "@nbit/torch";
import { isMap } from "@nbit/torch/realm";

/**
 * An empty history: int32 holding the bits of float32 numbers, so that casting a module to 16 bits leaves it alone.
 * Numbers ≥ 0 order as their bits do.
 */
export function emptyHistory(length: number, device: DeviceLike): Tensor {
  return zeros([length], { dtype: "int32", device });
}

/**
 * The amax that scales now: the largest of the history, or the current one while the history is empty. With `update`
 * the current one enters in front, unless it is not finite. Does not synchronize.
 */
export function delayedAmax(history: Tensor, current: Tensor, update: boolean): Tensor {
  const past = history.amax().view("float32");
  const chosen = past.where(past.gt(0), current);
  if (update) {
    const entry = current.where(current.isfinite(), past).view("int32").view([1]);
    history.copy_(cat([entry, history.narrow(0, 0, history.numel() - 1)]));
  }
  return chosen;
}

const STATE = kinds.such<ReadonlyMap<string, Tensor> | Readonly<Record<string, Tensor>>>(
  "a state dict: an object or a Map of tensors by name",
  (v) => typeof v === "object" && v !== null && !Array.isArray(v) && !isTensor(v),
);
const isHistory = (key: string): boolean => /(^|\.)amax_history_(input|weight|gradient)$/.test(key);

/**
 * The state dict of a module whose layers may have had another precision, as `module` loads it: histories of delayed
 * scaling are no weights, so those that it has no place for are left out, and those that it has and the state lacks
 * begin empty, as in a new layer. Of longer ones the newest entries stay.
 *
 * @returns A new object; its tensors are those of `state`, but for histories that changed.
 * @throws {ArgumentError} `withFloat8Histories: expected module to be a module. Received: null.`
 * @example
 * plain.loadStateDict(withFloat8Histories(plain, delayed.stateDict()));
 */
export function withFloat8Histories(
  module: nn.Module,
  state: ReadonlyMap<string, Tensor> | Readonly<Record<string, Tensor>>,
): Record<string, Tensor> {
  atMost("withFloat8Histories", arguments, 2);
  checkArguments(
    "withFloat8Histories",
    { module, state },
    { module: kinds.instanceOf("a module", nn.Module), state: STATE },
  );
  const own = new Map([...module.stateDict({ keepVars: true })].filter(([key]) => isHistory(key)));
  const given: readonly (readonly [string, Tensor])[] = isMap(state)
    ? [...(state as ReadonlyMap<string, Tensor>)]
    : Object.entries(state);
  const fitted: Record<string, Tensor> = Object.fromEntries(given.filter(([key]) => !isHistory(key) || own.has(key)));
  for (const [key, history] of own) fitted[key] = resized(fitted[key], history);
  return fitted;
}

function resized(given: unknown, own: Tensor): Tensor {
  if (given === undefined) return emptyHistory(own.numel(), own.device);
  if (!isTensor(given) || given.disposed || given.dtype !== "int32" || given.ndim !== 1) return given as Tensor; // for loadStateDict to refuse
  const [has, wants] = [given.numel(), own.numel()];
  return has === wants
    ? given
    : has > wants
      ? given.narrow(0, 0, wants)
      : cat([given, emptyHistory(wants - has, given.device)]);
}
