import { scope } from "../tensor/scope.js";
import type { Tensor } from "../tensor/tensor.js";
import { stepAsPairs } from "./pairs.js";
import { is16Bit, stepInFloat32, usesFloat32Update } from "./rounding.js";
import type { ParameterState, ParamGroup } from "./state.js";

/** Steps these parameters with these gradients. */
type Step = (params: readonly Tensor[], grads: readonly Tensor[]) => void;

class Kind {
  readonly params: Tensor[] = [];
  readonly grads: Tensor[] = [];
}

/**
 * Step a group in parts: complex parameters as pairs of real ones, parameters of 16 bits in float32 and back where the
 * group says so; the others as ever.
 * @param index - The group's among the optimizer's.
 */
export function stepInKinds(group: ParamGroup, index: number, state: Map<Tensor, ParameterState>, step: Step): void {
  scope(() => {
    const [plain, complex, narrow] = [new Kind(), new Kind(), new Kind()];
    for (const p of group.params) {
      const { grad } = p;
      if (grad === null) continue;
      const kind = p.isComplex() ? complex : usesFloat32Update(group) && is16Bit(p.dtype) ? narrow : plain;
      kind.params.push(p);
      kind.grads.push(grad);
    }
    const run: Step = (params, grads) => {
      if (params.length > 0) step(params, grads);
    };
    run(plain.params, plain.grads);
    stepAsPairs(complex.params, complex.grads, state, run);
    if (usesFloat32Update(group)) stepInFloat32(group, index, narrow.params, narrow.grads, state, run);
  });
}
