import { MisconfigurationError } from "../errors.js";
import type { ResolvedOptions } from "../resolve-options.js";
import { CSVLogger } from "./csv.js";
import { Logger } from "./logger.js";

/** The user's loggers, or the one that is used without any. */
export function configureLoggers({ logger, defaultRootDir }: ResolvedOptions): readonly Logger[] {
  if (logger === false) return [];
  if (logger === true) return [new CSVLogger(defaultRootDir)];
  const loggers: readonly unknown[] = Array.isArray(logger) ? logger : [logger];
  return loggers.map((each) => {
    if (each instanceof Logger) return each;
    throw new MisconfigurationError(
      "Trainer",
      "logger to be true, false, a Logger or a list of them",
      each,
      'Such as new CSVLogger("logs").',
      "ERR_LOGGER",
    );
  });
}
