/** Private operators that optimizers are made of. */
import { invoke } from "../ops/invoke.js";
import { Operator } from "../ops/operator.js";
import { NbitError } from "../errors.js";
import { argBuffer, native, reserve } from "../native.js";
import type { AtenResult } from "../ops/aten.js";
import { full } from "../ops/index.js";
import { outsideScopes } from "../tensor/scope.js";
import { packedHandles, type TensorList } from "../tensor/list.js";
import type { Tensor } from "../tensor/tensor.js";

/**
 * @internal The operator of a name, looked up at its first call: a libtorch without it only matters to who uses it. Its
 * lists and options are made here, not by a caller. A fused step does not advance the weights' epoch: `Optimizer.step`
 * does.
 */
export function operator(name: string, space: "aten" | "nbit" = "aten"): (...args: unknown[]) => AtenResult {
  const op = new Operator(`${space}::${name}`);
  let exists = false;
  return (...args) => {
    if (!exists) {
      if (op.schemas.length === 0)
        throw new NbitError(
          `${name}: expected a libtorch that has this operator. Received: one that has not. \`npx nbit doctor\` shows its version.`,
          "ERR_NO_OPERATOR",
        );
      exists = true;
    }
    return invoke(op, args, true) as AtenResult;
  };
}

const foreachAdd_ = operator("_foreach_add_");

/**
 * @internal Counts one more step in every counter of a list.
 * @returns The counts, for counters on the CPU; null where they live on a device, which is not waited for.
 */
export function countSteps(steps: TensorList): Float64Array | null {
  return count(steps) ? argBuffer.slice(0, steps.length) : null;
}
/** @internal The same for who does not look at the counts. */
export function count(steps: TensorList): boolean {
  const handles = packedHandles(steps);
  const n = handles.length;
  reserve(n);
  argBuffer.set(handles);
  if (native.countSteps(n)) return true;
  foreachAdd_(steps, 1);
  return false;
}

const factors = new Map<number, Tensor>();

/**
 * @internal A factor for `_foreach_mul_`. On CPU that operator rounds a number to the list's dtype first, so that over
 * bfloat16 0.999 would be 1; `mul_`, and this operator with a float64 tensor, multiply by the number itself and round
 * the product.
 */
export function factorOver(params: readonly Tensor[], value: number): number | Tensor {
  const [first] = params;
  if (
    first === undefined ||
    first.device.type !== "cpu" ||
    !params.some((p) => p.dtype === "bfloat16" || p.dtype === "float16")
  )
    return value;
  let found = factors.get(value);
  if (found === undefined) {
    if (factors.size >= 64) {
      for (const old of factors.values()) old.dispose();
      factors.clear();
    }
    found = outsideScopes(() => full([], value, { dtype: "float64" })); // an operator, which recorded steps repeat
    factors.set(value, found);
  }
  return found;
}
