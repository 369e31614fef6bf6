import type { nn } from "@nbit/torch";

import { isOverridden } from "../hooks.js";
import { mustEnd } from "../promises.js";
import type { LoopContext } from "./context.js";

type EvalHook = "onValidationModelEval" | "onTestModelEval" | "onPredictModelEval";
type TrainHook = "onValidationModelTrain" | "onTestModelTrain";

/**
 * Puts the module into evaluation mode for `fn`, by its hook, and afterwards as it was, or as its other hook has it.
 */
export async function inEvaluation<T>(
  { module, host }: Pick<LoopContext, "module" | "host">,
  hooks: { readonly begin: EvalHook; readonly end: TrainHook | null },
  fn: () => Promise<T>,
): Promise<T> {
  const restore = captureModes(module);
  const call = (hook: EvalHook | TrainHook): void => {
    host.within(hook, () => mustEnd(hook, module[hook]()));
  };
  try {
    call(hooks.begin);
    const result = await fn();
    if (hooks.end !== null && isOverridden(module, hooks.end)) call(hooks.end);
    else restore();
    return result;
  } catch (error) {
    restore();
    throw error;
  }
}

/** Which modules are in training mode, to be put back after an evaluation. */
export function captureModes(root: nn.Module): () => void {
  const modes = new Map<nn.Module, boolean>();
  for (const module of root.modules()) modes.set(module, module.training);
  return () => {
    for (const [module, training] of modes) module.training = training;
  };
}
