/** Weight normalisation under its older form, whose parameters are fields of the module itself. */
import { noGrad } from "../../autograd/modes.js";
import { ArgumentError, verbatim } from "../../errors.js";
import { byDefault, filled } from "../../kinds.js";
import { normExceptDim } from "../../ops/index.js";
import { signature, type Call } from "../../signature.js";
import { scope } from "../../tensor/scope.js";
import type { Tensor } from "../../tensor/tensor.js";
import type { OptionNames } from "../../options.js";
import type { Module } from "../module.js";
import { Parameter } from "../parameter.js";
import {
  computationOf,
  computeField,
  fieldName,
  moduleKind,
  parameterField,
  removeFields,
  setField,
  tensorOf,
  valueFor,
  type Computation,
} from "./fields.js";
import { WEIGHT_NORM, weightOf, type NamedTensorArguments, type WeightNormCall } from "./weights.js";

class WeightNorm implements Computation {
  constructor(
    readonly field: string,
    readonly dim: number,
  ) {}
  get g(): string {
    return `${this.field}G`;
  }
  get v(): string {
    return `${this.field}V`;
  }
  [valueFor](module: Module): Tensor {
    return weightOf(tensorOf(module, this.g), tensorOf(module, this.v), this.dim);
  }
}

const read = signature("weightNorm", WEIGHT_NORM);
/**
 * Learn the length of each slice of a weight apart from its direction: fields `weightG` and `weightV`, from which
 * `weight` is computed whenever it is read. {@link parametrizations.weightNorm} is PyTorch's newer form. Arguments:
 * module, name (default "weight"), dim (default 0; null: one length for all).
 * @returns The module.
 * @throws {ArgumentError} for a name that is no parameter, or normalized already.
 * @see Salimans and Kingma, 2016, arXiv:1602.07868.
 */
export function weightNorm<M extends Module>(...given: WeightNormCall<M>): M {
  const { module, name, dim } = read(given);
  const field = fieldName(module, name);
  if (computationOf(module, field) instanceof WeightNorm)
    throw new ArgumentError("weightNorm", "a parameter that is not normalized yet", verbatim(`${name}, twice`));
  const weight = parameterField("weightNorm", module, field);
  const how = new WeightNorm(field, dim ?? -1);
  removeFields(module, field);
  setField(
    module,
    how.g,
    noGrad(() => scope(() => new Parameter(normExceptDim(weight, 2, how.dim)))),
  );
  setField(module, how.v, new Parameter(weight));
  computeField(module, field, how);
  return module as M;
}

/** @internal */
export const NAMED_PARAMETER = {
  module: moduleKind,
  name: byDefault("weight", filled),
} satisfies OptionNames<NamedTensorArguments>;
export type NamedParameterCall<M extends Module> = Call<
  NamedTensorArguments & { readonly module: M },
  ["module", "name"],
  [module: M, name?: string]
>;
const readRemove = signature("removeWeightNorm", NAMED_PARAMETER);
/** Make a weight normalized by {@link weightNorm} a plain parameter of its value. Arguments: module, name. */
export function removeWeightNorm<M extends Module>(...given: NamedParameterCall<M>): M {
  const { module, name } = readRemove(given);
  const field = fieldName(module, name);
  const how = computationOf(module, field);
  if (!(how instanceof WeightNorm))
    throw new ArgumentError("removeWeightNorm", "name to be normalized by weightNorm", name);
  const weight = noGrad(() => scope(() => new Parameter(how[valueFor](module))));
  removeFields(module, field, how.g, how.v);
  setField(module, field, weight);
  return module as M;
}
