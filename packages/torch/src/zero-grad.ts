/** What forgets gradients: modules and optimizers. */
import { flag } from "./kinds.js";
import type { OptionNames } from "./options.js";

export interface ZeroGradOptions {
  /** Forget gradients (default) rather than fill them with zeros. */
  readonly setToNone?: boolean;
}
/** @internal */
export const ZERO_GRAD: OptionNames<ZeroGradOptions> = { setToNone: flag };
