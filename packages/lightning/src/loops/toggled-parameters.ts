import { optim } from "@nbit/torch";
import type { Tensor } from "@nbit/torch";
import type { LightningOptimizer } from "./lightning-optimizer.js";

type AnyOptimizer = optim.Optimizer | LightningOptimizer;

/** Parameters that get no gradient while one of several optimizers alone is stepped. */
export class ToggledParameters {
  #before: ReadonlyMap<Tensor, boolean> = new Map();

  /** Only the parameters of `optimizer` get gradients. */
  only(optimizer: AnyOptimizer, all: readonly AnyOptimizer[]): void {
    const before = new Map<Tensor, boolean>();
    for (const other of all) {
      for (const parameter of steppedBy(other)) {
        if (before.has(parameter)) continue;
        before.set(parameter, parameter.requiresGrad);
        parameter.requiresGrad = false;
      }
    }
    for (const parameter of steppedBy(optimizer)) parameter.requiresGrad = before.get(parameter) ?? true;
    this.#before = before;
  }

  /** As they were before `only`. */
  restore(): void {
    for (const [parameter, requiresGrad] of this.#before) parameter.requiresGrad = requiresGrad;
    this.#before = new Map();
  }
}

/** What an optimizer steps, and where that stands in for a module's parameter the parameter itself. */
function steppedBy({ paramGroups }: AnyOptimizer): Tensor[] {
  return paramGroups.flatMap((group) =>
    group.params.flatMap((p) => (optim.parameterOfMaster(p) === p ? [p] : [p, optim.parameterOfMaster(p)])),
  );
}
