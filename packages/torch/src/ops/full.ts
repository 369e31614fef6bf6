/** Tensors of one value. */
import * as generated from "../generated/functions.js";
import { getDefaultDtype } from "../tensor/default-dtype.js";

type Rest = Parameters<typeof generated.full> extends [unknown, unknown, ...infer R] ? R : never;

/**
 * A tensor of a shape whose elements are all `fillValue`. A number makes the default dtype, whether it is whole or not,
 * as in `tensor`; true and false give bool, a bigint int64.
 * @example full([2], 1).dtype; // "float32"
 */
export const full: typeof generated.full = (size, fillValue, ...rest: Rest) => {
  const [options, ...surplus] = rest;
  const decided =
    typeof fillValue !== "number" ||
    (typeof options === "object" && options !== null && (options as { dtype?: unknown }).dtype != null);
  if (decided || (options !== undefined && (typeof options !== "object" || options === null)))
    return generated.full(size, fillValue, ...rest);
  return generated.full(size, fillValue, { ...options, dtype: getDefaultDtype() }, ...(surplus as unknown as []));
};
