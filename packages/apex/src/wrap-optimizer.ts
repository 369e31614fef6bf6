/** What an optimizer's methods do besides under APEX, on the instance. */
import { NbitError, type optim, type Tensor } from "@nbit/torch";
import type { MasterWeights } from "./master-weights.js";
import { MISUSE } from "./misuse.js";

/** Which steps of an optimizer are skipped. */
export interface Skips {
  /** Whether the next one is. */
  next(): boolean;
  /** It was asked for, or its gradients are gone. */
  forget(): void;
  count(): void;
}

/**
 * `step` skips after an overflow and brings masters to the model, `zeroGrad` clears what both show, `addParamGroup`
 * makes masters.
 * @returns What undoes it.
 */
export function wrapOptimizer(optimizer: optim.Optimizer, weights: MasterWeights, skips: Skips): () => void {
  const step = optimizer.step.bind(optimizer);
  const zeroGrad = optimizer.zeroGrad.bind(optimizer);
  const addParamGroup = optimizer.addParamGroup.bind(optimizer);
  const methods = {
    step: (closure?: () => Tensor): Tensor | null => {
      if (closure !== undefined)
        throw new NbitError(
          "apex: expected step(). Received: step(closure). Under loss scaling the loss cannot be evaluated inside the step.",
          MISUSE,
        );
      weights.requireOwn(optimizer);
      if (weights.scaled(optimizer))
        throw new NbitError(
          "apex: expected unscaled gradients in step(). Received: gradients that are still scaled, of scaleLoss with delayUnscale. Leave delayUnscale out in the last backward before a step.",
          MISUSE,
        );
      weights.sync(optimizer);
      const skip = skips.next();
      skips.forget();
      const result = skip ? null : step();
      if (skip) skips.count();
      else weights.copyToModel(optimizer);
      weights.stepped(optimizer);
      return result;
    },
    zeroGrad: (options: { readonly setToNone?: boolean } = {}): void => {
      const toZero = options.setToNone === false;
      if (toZero) weights.sync(optimizer);
      zeroGrad(options);
      if (toZero) weights.sync(optimizer);
      else weights.forget(optimizer);
      skips.forget();
    },
    addParamGroup: (group: Parameters<typeof addParamGroup>[0]): void => {
      addParamGroup(group);
      const added = optimizer.paramGroups.at(-1);
      if (added !== undefined) weights.adopt(optimizer, added, new Map());
    },
  };
  Object.assign(optimizer, methods);
  return () => {
    for (const name of Object.keys(methods)) Reflect.deleteProperty(optimizer, name);
  };
}
