import { ArgumentError, NbitError } from "@nbit/torch";

/** Settings that cannot work together, or a value that no setting accepts. Raised before any work starts. */
export class MisconfigurationError extends ArgumentError {
  constructor(fn: string, expected: string, received: unknown, fix?: string, code = "ERR_MISCONFIGURATION") {
    super(fn, expected, received, fix, code);
  }
}

/** Makes such errors of one place and code, for `checkOptions` and the like. */
export function misconfigured(fn: string, code: string): (expected: string, received: unknown) => MisconfigurationError {
  return (expected, received) => new MisconfigurationError(fn, expected, received, undefined, code);
}

/** The user asked a run to stop (Ctrl-C). The run ended in order; `checkpointPath` continues it. */
export class InterruptError extends NbitError {
  constructor(
    message: string,
    readonly checkpointPath: string | null,
  ) {
    super(message, "ERR_INTERRUPTED");
  }
}
