import { instanceOf } from "../kinds.js";
import { atMost, checkArguments } from "../options.js";
import { RunningNorm } from "../nn/batch-norm.js";
import { InstanceNorm } from "../nn/instance-norm.js";
import { Module } from "../nn/module.js";

/**
 * Takes the running statistics away from every batch normalisation of a module, in place: `vmap` cannot write them, and
 * each sample would have others. They then normalise by the batch in evaluation, too.
 *
 * @returns The module itself.
 */
export function replaceAllBatchNormModules_<M extends Module>(root: M): M {
  const fn = "replaceAllBatchNormModules_";
  atMost(fn, arguments, 1);
  checkArguments(fn, { root }, { root: instanceOf<Module>("a Module", Module) });
  for (const module of root.modules())
    if (module instanceof RunningNorm && !(module instanceof InstanceNorm) && module.trackRunningStats) {
      for (const name of ["runningMean", "runningVar", "numBatchesTracked"]) Reflect.set(module, name, null);
      Reflect.set(module, "trackRunningStats", false);
    }
  return root;
}
