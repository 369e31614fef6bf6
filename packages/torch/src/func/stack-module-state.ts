/** The tensors of several modules, each stacked with those of the others. */
import { ArgumentError } from "../errors.js";
import { iterable } from "../kinds.js";
import { Module } from "../nn/module.js";
import { stack } from "../ops/index.js";
import { atMost, checkArguments } from "../options.js";
import { iterated } from "../read-once.js";
import { scope } from "../tensor/scope.js";
import type { Tensor } from "../tensor/tensor.js";

type Stacked = Readonly<Record<string, Tensor>>;

/**
 * Parameters and buffers of modules of one class, by name, each of all modules in one tensor with a first dimension for
 * the module. Stacked parameters are new leaves, which do not lead back to the modules'.
 *
 * @param models - At least one; all in training, or none.
 * @returns `[parameters, buffers]`.
 * @throws {ArgumentError} for modules of several classes or modes, or a parameter that not all of them learn.
 * @example
 * const [parameters, buffers] = stackModuleState(models);
 * const first = Object.fromEntries(Object.entries(parameters).map(([name, t]) => [name, t.select(0, 0)]));
 * functionalCall(models[0], [first], x);
 */
export function stackModuleState(models: Iterable<Module>): readonly [parameters: Stacked, buffers: Stacked] {
  const fn = "stackModuleState";
  atMost(fn, arguments, 1);
  checkArguments(fn, { models }, { models: iterable });
  const list = iterated(fn, "models", models).map((each) => {
    if (!(each instanceof Module)) throw new ArgumentError(fn, "models to be Modules", each);
    return each;
  });
  const [first] = list;
  if (first === undefined) throw new ArgumentError(fn, "at least one model", models);
  for (const each of list) {
    if (each.constructor !== first.constructor) throw new ArgumentError(fn, "models of one class", each);
    if (each.training !== first.training) throw new ArgumentError(fn, "models in one mode, training or not", each);
  }
  const parameters = list.map((each) => new Map<string, Tensor>(each.namedParameters()));
  const buffers = list.map((each) => new Map(each.namedBuffers()));
  return scope(() => [stacked(fn, parameters), stacked(fn, buffers)] as const);
}

function stacked(fn: string, all: readonly ReadonlyMap<string, Tensor>[]): Stacked {
  return Object.fromEntries(
    [...(all[0]?.keys() ?? [])].map((name) => {
      const tensors = all.flatMap((each) => each.get(name) ?? []);
      const learned = tensors.filter((t) => t.requiresGrad).length;
      if (tensors.length !== all.length || (learned !== 0 && learned !== tensors.length))
        throw new ArgumentError(fn, `${name} to be in all models, and learned by all or none`, tensors);
      const together = stack(tensors);
      return [name, learned === 0 ? together : together.detach().requiresGrad_()] as const;
    }),
  );
}
