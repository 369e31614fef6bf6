import { ArgumentError, NbitError } from "@nbit/torch";
import { exitCodeOf } from "./signals.js";
import type { Ending } from "./signals.js";

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
 * A run was asked to stop: by Ctrl-C, SIGTERM, SIGHUP or SIGUSR1, or by the AbortSignal of its call. The run ended in order;
 * `checkpointPath` continues it (null: there is none). Of an AbortSignal, `cause` is its reason, in the process in which
 * it was aborted.
 */
export class InterruptError extends NbitError {
  /** The status with which a process should end for this signal: 130, 143, 129; of `"abort"`: 1. */
  readonly exitCode: number;

  constructor(
    message: string,
    readonly checkpointPath: string | null,
    readonly signal: Ending = "SIGINT",
  ) {
    super(message, "ERR_INTERRUPTED");
    this.exitCode = exitCodeOf(signal);
  }
}
