import { NbitError } from "@nbit/torch/files";

/** A file is not a run log, or a damaged one. */
export class RunLogError extends NbitError {
  constructor(message: string, options?: ErrorOptions) {
    super(message, "ERR_RUN_LOG", options);
  }
}
