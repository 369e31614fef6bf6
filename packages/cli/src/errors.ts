import { helpOf } from "@nbit/native/help";

/** A wrong call of `nbit`: said in one message, without a stack, before any work starts. */
export class CommandError extends Error {
  /** Stable, `ERR_…`. */
  readonly code: string;
  readonly help: string;
  constructor(code: string, message: string) {
    super(message);
    this.name = "CommandError";
    this.code = code;
    this.help = helpOf(code);
  }
}
