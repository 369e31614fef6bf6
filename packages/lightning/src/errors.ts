import { ArgumentError, NbitError } from "@nbit/torch";
import { exitCodeOf } from "./signals.js";
import type { EndingSignal } from "./signals.js";

/** Settings that cannot work together, or a value that no setting accepts. Raised before any work starts. */
export class MisconfigurationError extends ArgumentError {
  constructor(fn: string, expected: string, received: unknown, fix?: string, code = "ERR_MISCONFIGURATION") {
    super(fn, expected, received, fix, code);
  }
}

/** Makes such errors of one place and code, for `checkOptions` and the like. */
export function misconfigured(
  fn: string,
  code: string,
): (expected: string, received: unknown) => MisconfigurationError {
  return (expected, received) => new MisconfigurationError(fn, expected, received, undefined, code);
}

/**
 * A signal asked a run to stop: Ctrl-C, SIGTERM or SIGHUP. The run ended in order; `checkpointPath` continues it (null:
 * there is none).
 */
export class InterruptError extends NbitError {
  /** The status with which a process should end for this signal: 130, 143, 129. */
  readonly exitCode: number;

  constructor(
    message: string,
    readonly checkpointPath: string | null,
    readonly signal: EndingSignal = "SIGINT",
  ) {
    super(message, "ERR_INTERRUPTED");
    this.exitCode = exitCodeOf(signal);
  }
}
