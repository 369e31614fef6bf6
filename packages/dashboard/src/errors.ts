/** A file is not a run log, or a damaged one. */
export class RunLogError extends Error {
  readonly code = "ERR_RUN_LOG";

  constructor(message: string, options?: ErrorOptions) {
    super(message, options);
    this.name = "RunLogError";
  }
}
