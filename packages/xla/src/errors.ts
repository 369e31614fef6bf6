import { NbitError } from "@nbit/torch/files";

/**
 * XLA, a PJRT plugin, or the way from a recorded step to a program for them failed. `code` is stable: `XLA_…`.
 *
 * What a plugin says of itself comes with its status: `XLA_INVALID_ARGUMENT`, `XLA_UNIMPLEMENTED`,
 * `XLA_RESOURCE_EXHAUSTED`, `XLA_INTERNAL` and so on, one for each of PJRT's error codes.
 */
export class XlaError extends NbitError {
  constructor(message: string, code: string, options?: ErrorOptions) {
    super(message, code, options);
  }
}
