/** A profiler that still runs when the process ends. */
import { native } from "../native.js";

let listens = false;

/** Libtorch's own end of a process does not expect a profiler that runs: it is ended before. */
export function endAtExit(): void {
  if (listens) return;
  listens = true;
  process.once("exit", () => native.profilerForget());
}
