import { optim, type Tensor } from "@nbit/torch";
import type { Precision } from "../precision/precision.js";

/** Float32 masters that optimizers step in the place of a module's parameters; empty where they step those. */
export function mastersOf(optimizers: readonly optim.Optimizer[], precision: Precision): ReadonlyMap<Tensor, Tensor> {
  const masters = new Map<Tensor, Tensor>();
  for (const optimizer of optimizers)
    for (const stepped of precision.mainParams(optimizer)) {
      const parameter = optim.parameterOfMaster(stepped);
      if (parameter !== stepped) masters.set(parameter, stepped);
    }
  return masters;
}
