import { Tensor } from "@nbit/torch";
import { isPlainObject } from "../collections.js";
import { MisconfigurationError } from "../errors.js";

/**
 * The loss in what a step method returned: a tensor, or an object's tensor named loss. Null: no loss, and so no
 * backward.
 * @throws {MisconfigurationError} `trainingStep: expected a tensor, an object with a tensor named loss, or null.
 * Received: …`
 */
export function lossOf(output: unknown): Tensor | null {
  if (output === null || output === undefined) return null;
  if (output instanceof Tensor) return output;
  if (isPlainObject(output) && output.loss instanceof Tensor) return output.loss;
  throw new MisconfigurationError(
    "trainingStep",
    "a tensor, an object with a tensor named loss, or null",
    output,
    undefined,
    "ERR_STEP_OUTPUT",
  );
}
