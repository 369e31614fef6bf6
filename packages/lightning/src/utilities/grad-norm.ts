import { atMost, checkArguments, kinds, nn, stack, type Tensor } from "@nbit/torch";

const ROWS = {
  module: kinds.such<nn.Module>("a module", (v) => v instanceof nn.Module),
  normType: kinds.such<number | "inf">(
    'a number > 0, or "inf"',
    (v) => v === "inf" || (typeof v === "number" && v > 0), // NaN is neither
  ),
  groupSeparator: kinds.text,
};

/**
 * The norm of each parameter's gradient, and of all of them as one vector: for `onBeforeOptimizerStep`, where they are
 * unscaled. Waits for no device: the values are tensors.
 *
 * @param normType - The p of the p-norm; `"inf"` or `Infinity`: the greatest magnitude.
 * @param groupSeparator - Between the kind of norm and the parameter, so that a logger groups them. Default `"/"`.
 * @returns `grad_2.0_norm/layer.weight` and so on, and last `grad_2.0_norm_total`; nothing where no parameter has a
 *   gradient. The names are Lightning's.
 * @example
 * override onBeforeOptimizerStep(): void {
 *   this.logDict(gradNorm(this, 2));
 * }
 */
export function gradNorm(module: nn.Module, normType: number | "inf", groupSeparator = "/"): Record<string, Tensor> {
  atMost("gradNorm", arguments, 3);
  checkArguments("gradNorm", { module, normType, groupSeparator }, ROWS);
  const p = normType === "inf" ? Infinity : normType;
  const kind = `grad_${p === Infinity ? "inf" : Number.isInteger(p) ? `${p}.0` : p}_norm`;
  const norms: Record<string, Tensor> = {};
  for (const [name, parameter] of module.namedParameters())
    if (parameter.grad !== null) norms[`${kind}${groupSeparator}${name}`] = parameter.grad.detach().norm(p);
  const all = Object.values(norms);
  if (all.length > 0) norms[`${kind}_total`] = stack(all).norm(p);
  return norms;
}
