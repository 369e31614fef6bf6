/** A wrong call of `nbit`: said in one message, without a stack, before any work starts. */
export class CommandError extends Error {
  /** Stable, `ERR_…`. */
  readonly code: string;
  constructor(code: string, message: string) {
    super(message);
    this.name = "CommandError";
    this.code = code;
  }
}
