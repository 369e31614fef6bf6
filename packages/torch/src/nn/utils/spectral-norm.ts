/** Spectral normalisation under its older form, whose parameter and vectors are fields of the module itself. */
import { noGrad } from "../../autograd/modes.js";
import { ArgumentError, verbatim } from "../../errors.js";
import { dot } from "../../ops/index.js";
import { signature } from "../../signature.js";
import { scope } from "../../tensor/scope.js";
import type { Tensor } from "../../tensor/tensor.js";
import type { HookHandle, Module } from "../module.js";
import { Parameter } from "../parameter.js";
import {
  computationOf,
  computeField,
  fieldName,
  parameterField,
  removeFields,
  setField,
  tensorOf,
  valueFor,
  type Computation,
} from "./fields.js";
import { asMatrix, unit } from "./normalize.js";
import { SPECTRAL_NORM, type SpectralNormCall } from "./weights.js";
import { outputDim } from "./output-dim.js";
import { NAMED_PARAMETER, type NamedParameterCall } from "./weight-norm.js";

class SpectralNorm implements Computation {
  hook: HookHandle | null = null;
  constructor(
    readonly field: string,
    readonly dim: number,
    readonly nPowerIterations: number,
    readonly eps: number,
  ) {}
  get orig(): string {
    return `${this.field}Orig`;
  }
  get u(): string {
    return `${this.field}U`;
  }
  get v(): string {
    return `${this.field}V`;
  }
  [valueFor](module: Module): Tensor {
    return scope(() => {
      const weight = tensorOf(module, this.orig);
      // Copies: the next forward writes into the vectors, and two forwards of one step may go backward.
      const [u, v] = [tensorOf(module, this.u).clone(), tensorOf(module, this.v).clone()];
      return weight.div(dot(u, asMatrix(weight, this.dim).mv(v)));
    });
  }
  /** Steps of the power method, in training; as a hook it is a copy's too, whose own removal it does not see. */
  readonly iterate = (module: Module): void => {
    if (!module.training || computationOf(module, this.field) !== this) return;
    noGrad(() =>
      scope(() => {
        const matrix = asMatrix(tensorOf(module, this.orig), this.dim);
        const [u, v] = [tensorOf(module, this.u), tensorOf(module, this.v)];
        for (let i = 0; i < this.nPowerIterations; i++) {
          v.copy_(unit(matrix.t().mv(u), this.eps));
          u.copy_(unit(matrix.mv(v), this.eps));
        }
      }),
    );
  };
}

const read = signature("spectralNorm", SPECTRAL_NORM);
/**
 * Divide a weight by its greatest singular value: fields `weightOrig`, which is learned, and the buffers `weightU` and
 * `weightV`, from which `weight` is computed whenever it is read. Each forward in training begins with a step of the
 * power method. {@link parametrizations.spectralNorm} is PyTorch's newer form. Arguments: module, name, nPowerIterations,
 * eps, dim.
 * @returns The module.
 * @throws {ArgumentError} for a name that is no parameter, or normalized already.
 * @see Miyato et al., 2018, arXiv:1802.05957.
 */
export function spectralNorm<M extends Module>(...given: SpectralNormCall<M>): M {
  const { module, name, nPowerIterations, eps, dim } = read(given);
  const field = fieldName(module, name);
  if (computationOf(module, field) instanceof SpectralNorm)
    throw new ArgumentError("spectralNorm", "a parameter that is not normalized yet", verbatim(`${name}, twice`));
  const weight = parameterField("spectralNorm", module, field);
  const how = new SpectralNorm(field, dim ?? outputDim(module), nPowerIterations, eps);
  if (how.dim >= weight.ndim || how.dim < 0)
    throw new ArgumentError("spectralNorm", `dim from 0 to ${weight.ndim - 1}`, how.dim);
  noGrad(() =>
    scope(() => {
      const matrix = asMatrix(weight, how.dim);
      const u = unit(weight.newEmpty([matrix.size(0)]).normal_(0, 1), eps);
      const v = unit(weight.newEmpty([matrix.size(1)]).normal_(0, 1), eps);
      removeFields(module, field);
      setField(module, how.orig, weight);
      computeField(module, field, how);
      module.registerBuffer(how.u, u);
      module.registerBuffer(how.v, v);
    }),
  );
  how.hook = module.registerForwardPreHook(how.iterate);
  return module as M;
}

const readRemove = signature("removeSpectralNorm", NAMED_PARAMETER);
/** Make a weight normalized by {@link spectralNorm} a plain parameter of its value. Arguments: module, name. */
export function removeSpectralNorm<M extends Module>(...given: NamedParameterCall<M>): M {
  const { module, name } = readRemove(given);
  const field = fieldName(module, name);
  const how = computationOf(module, field);
  if (!(how instanceof SpectralNorm))
    throw new ArgumentError("removeSpectralNorm", "name to be normalized by spectralNorm", name);
  const weight = noGrad(() => scope(() => new Parameter(how[valueFor](module))));
  how.hook?.remove();
  removeFields(module, field, how.orig, how.u, how.v);
  setField(module, field, weight);
  return module as M;
}
