/** Dry runs of a step with and without activation checkpointing. */
import { countCheckpoints, scope } from "@nbit/torch";
import { checkpointModules, namesOf } from "../activations.js";
import type { ModuleClass } from "../module-classes.js";
import type { CheckpointForecast } from "./checkpoint-forecast.js";
import { dryRun, type DryRunParts } from "./dry-run.js";

/** How often each is timed: the fastest counts. */
const TIMES = 3;

/** By dry runs of a step whose modules are not checkpointed yet; `wait` returns when the device has done what it was asked for. */
export function observeCheckpoints(
  parts: DryRunParts,
  classes: readonly ModuleClass[],
  wait: () => void,
): CheckpointForecast {
  const fastest = (): number => {
    dryRun(parts); // caches warm up
    let best = Infinity;
    for (let i = 0; i < TIMES; i++) {
      let from = 0;
      let seconds = 0;
      dryRun(parts, {
        beforeStep: () => {
          wait();
          from = performance.now();
        },
        afterStep: () => {
          wait();
          seconds = (performance.now() - from) / 1000;
        },
      });
      best = Math.min(best, seconds);
    }
    return best;
  };
  const plainSeconds = fastest();
  const undo = checkpointModules(parts.module, classes);
  try {
    const { calls, dropped, kept } = countCheckpoints(() => scope(() => dryRun(parts)));
    return { modules: namesOf(classes), calls, saved: dropped, kept, plainSeconds, seconds: fastest() };
  } finally {
    undo();
  }
}
