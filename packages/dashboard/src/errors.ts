import { NbitError, plainText } from "@nbit/torch/files";

/** A file is not a run log, or a damaged one. */
export class RunLogError extends NbitError {
  constructor(message: string, options?: ErrorOptions) {
    super(plainText(message), "ERR_RUN_LOG", options);
  }
}
