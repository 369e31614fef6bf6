/** A profiler that still runs when the process ends. */
import { native } from "../native.js";

let running = 0;
const forget = (): void => {
  native.profilerForget();
};

/**
 * Libtorch's own end of a process does not expect a profiler that runs: it is ended before.
 * @returns What to call when it has ended by itself.
 */
export function endAtExit(): () => void {
  if (running++ === 0) process.once("exit", forget);
  let ended = false;
  return () => {
    if (ended) return;
    ended = true;
    if (--running === 0) process.off("exit", forget);
  };
}
