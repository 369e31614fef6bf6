import { plainText } from "@nbit/torch";
import { AT_ONCE, mustEnd } from "../promises.js";
import { warn } from "../warnings.js";
import type { Logger } from "./logger.js";

/** Where a logger stood: its class, and what it said. */
export interface LogState {
  readonly name: string;
  readonly state: Record<string, unknown>;
}

/** Where loggers stand. A log that cannot be written is no reason to lose a checkpoint: it says nothing then. */
export function logStates(loggers: readonly Logger[]): LogState[] {
  return loggers.map((logger) => {
    const { name } = logger.constructor;
    try {
      return { name, state: mustEnd("stateDict", logger.stateDict(), AT_ONCE) };
    } catch (error) {
      warn(
        "WARN_LOGGER_STATE",
        plainText(
          `${name}: could not say where its log stands: ${error instanceof Error ? error.message : String(error)} A run that goes on from this checkpoint may log lines twice.`,
        ),
      );
      return { name, state: {} };
    }
  });
}
