/** Complex parameters are stepped as pairs of real numbers: each part by itself, as PyTorch's `view_as_real` does. */
import { viewAsComplex, viewAsReal } from "../ops/index.js";
import { isTensor } from "../tensor/handle.js";
import { outsideScopes, scope } from "../tensor/scope.js";
import type { Tensor } from "../tensor/tensor.js";
import type { ParameterState } from "./state.js";

/** @internal The parts of a complex tensor, `[…, 2]`, in the same memory; a real tensor itself. */
export function parts(t: Tensor): Tensor {
  return t.isComplex() ? viewAsReal(t) : t;
}
/** @internal The parts of a gradient; a conjugate that is still to be computed is computed. */
export function gradientParts(t: Tensor): Tensor {
  return t.isComplex() ? viewAsReal(t.resolveConj()) : t;
}

/**
 * @internal Step complex parameters through the real tensors that share their memory. `step` is the optimizer's own
 * arithmetic: it is given those real tensors, with their state under them in `states`. State is kept complex under the
 * parameter, as PyTorch's is.
 */
export function stepAsPairs(
  params: readonly Tensor[],
  grads: readonly Tensor[],
  states: Map<Tensor, ParameterState>,
  step: (views: readonly Tensor[], grads: readonly Tensor[]) => void,
): void {
  scope(() => {
    const views = params.map((p) => {
      const view = parts(p.detach());
      const own = states.get(p);
      if (own !== undefined)
        states.set(
          view,
          Object.fromEntries(
            Object.entries(own).map(([name, value]) => [name, isTensor(value) ? parts(value) : value]),
          ),
        );
      return view;
    });
    try {
      step(views, grads.map(gradientParts));
      params.forEach((p, i) => {
        const stepped = states.get(views[i] as Tensor);
        if (stepped === undefined) return;
        const own = states.get(p) ?? {};
        for (const [name, value] of Object.entries(stepped)) {
          if (!isTensor(value)) own[name] = value;
          else if (own[name] === undefined)
            own[name] = value.dim() > p.dim() ? outsideScopes(() => viewAsComplex(value)) : value;
        }
        states.set(p, own);
      });
    } finally {
      for (const view of views) states.delete(view);
    }
  });
}
