import type { nn } from "@nbit/torch";

/** Which modules are in training mode, to be put back after an evaluation. */
export function captureModes(root: nn.Module): () => void {
  const modes = new Map<nn.Module, boolean>();
  for (const module of root.modules()) modes.set(module, module.training);
  return () => {
    for (const [module, training] of modes) module.training = training;
  };
}
