import { innermost } from "../autograd/levels.js";
import { flag } from "../kinds.js";
import { checkArguments, optionsFrom, type OptionNames } from "../options.js";
import { tensorKind } from "../tensor/kinds.js";
import type { Tensor } from "../tensor/tensor.js";

export interface DebugUnwrapOptions {
  /** Down to a tensor of no transform; false: one level. Default true. */
  readonly recurse?: boolean;
}
const OPTIONS: OptionNames<DebugUnwrapOptions> = { recurse: flag };

/**
 * What a tensor inside of `vmap`, `grad` and the like holds: all samples, say, to be printed while one looks for an
 * error. What is computed with it is not part of the transform.
 */
export function debugUnwrap(tensor: Tensor, ...rest: readonly [options?: DebugUnwrapOptions]): Tensor {
  const { recurse = true } = optionsFrom<DebugUnwrapOptions>("debugUnwrap", 1, rest, OPTIONS, 0);
  checkArguments("debugUnwrap", { tensor }, { tensor: tensorKind });
  return innermost("debugUnwrap", tensor, recurse);
}
