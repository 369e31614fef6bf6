import { atMost, checkArguments, cuda, getRngState, keep, kinds, setRngState } from "@nbit/torch";
import { isPromise } from "../promises.js";

/**
 * Call `fn`, then put the random generators back: what it draws is as if it had not been drawn. A function that
 * returns a promise is waited for; nothing else should draw meanwhile.
 *
 * @param includeCuda - GPUs' generators as well. Default true; without a GPU it costs nothing.
 * @returns What `fn` returns.
 */
export function isolateRng<T>(fn: () => T, includeCuda = true): T {
  atMost("isolateRng", arguments, 2);
  checkArguments("isolateRng", { fn, includeCuda }, { fn: kinds.callable, includeCuda: kinds.flag });
  const restore = generatorsAsTheyAre(includeCuda);
  let waits = false;
  try {
    const result = fn();
    waits = isPromise(result);
    return isPromise(result) ? (Promise.resolve(result).finally(restore) as T) : result;
  } finally {
    if (!waits) restore();
  }
}

function generatorsAsTheyAre(includeCuda: boolean): () => void {
  const cpu = keep(getRngState());
  const devices = includeCuda && cuda.isAvailable() ? cuda.deviceCount() : 0;
  const states = Array.from({ length: devices }, (_, i) => keep(cuda.getRngState(i)));
  return () => {
    setRngState(cpu);
    states.forEach((state, i) => cuda.setRngState(state, i));
    for (const state of [cpu, ...states]) state.dispose();
  };
}
