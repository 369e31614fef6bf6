/** Private operators that optimizers are made of. */
import { aten } from "../ops/aten.js";
import { NbitError } from "../errors.js";
import { F, native, reserve } from "../native.js";
import type { AtenOperator, AtenResult } from "../ops/aten.js";
import { tensor } from "../tensor/values.js";
import { outsideScopes } from "../tensor/scope.js";
import { packedHandles, type TensorList } from "../tensor/list.js";
import type { Tensor } from "../tensor/tensor.js";

/** @internal The operator of a name, looked up at its first call: a libtorch without it only matters to who uses it. */
export function operator(name: string): (...args: readonly unknown[]) => AtenResult {
  let found: AtenOperator | undefined;
  return (...args) => {
    found ??= aten[name];
    if (found === undefined) throw new NbitError(`${name}: expected a libtorch that has this operator. Received: one that has not. \`npx nbit doctor\` shows its version.`, "ERR_NO_OPERATOR");
    return found(...args);
  };
}

const foreachAdd_ = operator("_foreach_add_");

/**
 * @internal Counts one more step in every counter of a list.
 * @returns The counts, for counters on the CPU; null where they live on a device, which is not waited for.
 */
export function countSteps(steps: TensorList): Float64Array | null {
  const n = steps.length;
  reserve(n);
  F.set(packedHandles(steps));
  if (native.countSteps(n)) return F.slice(0, n);
  foreachAdd_(steps, 1);
  return null;
}

const factors = new Map<number, Tensor>();

/**
 * @internal A factor for `_foreach_mul_`. On CPU that operator rounds a number to the list's dtype first, so that over bfloat16 0.999 would be 1; `mul_`, and this
 * operator with a float64 tensor, multiply by the number itself and round the product.
 */
export function factorOver(params: readonly Tensor[], value: number): number | Tensor {
  const [first] = params;
  if (first === undefined || first.device.type !== "cpu" || !params.some((p) => p.dtype === "bfloat16" || p.dtype === "float16")) return value;
  let found = factors.get(value);
  if (found === undefined) {
    if (factors.size >= 64) {
      for (const old of factors.values()) old.dispose();
      factors.clear();
    }
    found = outsideScopes(() => tensor(value, { dtype: "float64" }));
    factors.set(value, found);
  }
  return found;
}
