/** As in torch.random. */
import * as cuda from "./cuda/random.js";
import { deviceCount } from "./cuda/device.js";
import { callable, flag, listOf, orNull, whole } from "./kinds.js";
import { atMost, checkArguments, checkOptions, type OptionNames } from "./options.js";
import { getRngState, setRngState } from "./random.js";
import { isPromise, refusePromise } from "./synchronous.js";
import { keep } from "./tensor/scope.js";

export { getRngState, initialSeed, manualSeed, setRngState, defaultGenerator } from "./random.js";
export { seed } from "./process-settings.js";

export interface ForkRngOptions {
  /** Indices of GPUs whose generators come back, too. Default: all. */
  readonly devices?: readonly number[] | null;
  /** Default true. */
  readonly enabled?: boolean;
}
const FORK: OptionNames<ForkRngOptions> = { devices: orNull(listOf(whole("[0, ∞)"))), enabled: flag };
/**
 * Run `fn`; the generators are as they were before when it ends.
 * @example const same = random.forkRng(() => (manualSeed(0), randn([3])));
 */
export function forkRng<T>(fn: () => T, options: ForkRngOptions = {}): T {
  atMost("random.forkRng", arguments, 2);
  checkArguments("random.forkRng", { fn }, { fn: callable });
  checkOptions("random.forkRng", options, FORK);
  if (options.enabled === false) return fn();
  const devices = options.devices ?? Array.from({ length: deviceCount() }, (_, i) => i);
  const state = keep(getRngState());
  const states = devices.map((index) => [index, keep(cuda.getRngState(index))] as const);
  try {
    const result = fn();
    if (isPromise(result))
      refusePromise(
        result,
        "random.forkRng: expected a synchronous function. Received: a function that returns a promise.",
        "ERR_ASYNC_MODE",
      );
    return result;
  } finally {
    setRngState(state);
    state.dispose();
    for (const [index, each] of states) {
      cuda.setRngState(each, index);
      each.dispose();
    }
  }
}
