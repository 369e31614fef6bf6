/**
 * Tensors whose values are elsewhere, on a device that libtorch does not know, until somebody uses them. Costs nothing
 * where none is: a tensor that is asleep has no handle of its own, and only who finds none comes here.
 */
import { argBuffer } from "../native.js";
import { handleOrZero, isTensor, provideSleep, putHandle, sweepHandle } from "./handle.js";
import { advanceWeightsEpoch } from "../weights-epoch.js";
import type { Tensor } from "./tensor.js";

export { keepCount } from "./scope.js";

interface Sleeper {
  readonly handle: number;
  readonly fetch: () => void;
}
const asleep = new WeakMap<Tensor, Sleeper>();

provideSleep({
  wake(tensor) {
    const sleeper = asleep.get(tensor);
    if (sleeper === undefined) return 0;
    advanceWeightsEpoch(); // casts of what was here before are of no use
    const arguments_ = argBuffer.slice(); // somebody may be in the middle of writing them
    // First: what fails is tried again by the next who asks.
    try {
      sleeper.fetch();
    } finally {
      argBuffer.set(arguments_);
    }
    asleep.delete(tensor);
    putHandle(tensor, sleeper.handle);
    return sleeper.handle;
  },
  sleeping: (tensor) => asleep.get(tensor)?.handle ?? 0,
  takeSleeping(tensor) {
    const handle = asleep.get(tensor)?.handle ?? 0;
    if (handle !== 0) asleep.delete(tensor);
    return handle;
  },
});

/**
 * From here on the values of `tensor` are elsewhere: `fetch` brings them to its memory before anybody uses it, once.
 * It runs in the middle of whatever uses the tensor, and may block; who uses the tensor gets what it throws.
 * @internal
 */
export function defer(tensor: Tensor, fetch: () => void): void {
  const before = asleep.get(tensor);
  const handle = before?.handle ?? sweepHandle(tensor);
  if (handle !== 0) asleep.set(tensor, { handle, fetch });
}

/** Whether the values of a tensor are elsewhere. @internal */
export function isDeferred(tensor: Tensor): boolean {
  return isTensor(tensor) && asleep.has(tensor);
}

/** Bring the values of a tensor here, if they are elsewhere. @internal */
export function awaken(tensor: Tensor): void {
  handleOrZero(tensor);
}

/** Values that are elsewhere do not count any more: those in the tensor's memory do. @internal */
export function undefer(tensor: Tensor): void {
  const sleeper = asleep.get(tensor);
  if (sleeper === undefined) return;
  asleep.delete(tensor);
  putHandle(tensor, sleeper.handle);
}
