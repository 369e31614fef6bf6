/** Parametrizations that are there: orthogonal weights, weight and spectral normalisation. */
import { noGrad } from "../../autograd/modes.js";
import { ArgumentError } from "../../errors.js";
import { byDefault, filled, flag, orNull, real, such, whole } from "../../kinds.js";
import { normExceptDim, vdot } from "../../ops/index.js";
import type { OptionNames } from "../../options.js";
import { signature, type Call } from "../../signature.js";
import { isTensor } from "../../tensor/handle.js";
import { scope } from "../../tensor/scope.js";
import type { Tensor } from "../../tensor/tensor.js";
import { positive } from "../kernels.js";
import { Module } from "../module.js";
import { fieldName, moduleKind, printedAs } from "./fields.js";
import { asMatrix, unit } from "./normalize.js";
import { Orthogonal, type OrthogonalMap } from "./orthogonal.js";
import { registerParametrization, type Parametrized } from "./parametrize.js";
import { outputDim } from "./output-dim.js";

export interface NamedTensorArguments {
  readonly module: Module;
  /** The field of a parameter or a buffer; PyTorch's spelling is taken too. Default "weight". */
  readonly name?: string;
}
const NAMED = { module: moduleKind, name: byDefault("weight", filled) } satisfies OptionNames<NamedTensorArguments>;

function tensorOf(fn: string, module: Module, name: string): Tensor {
  const value: unknown = Reflect.get(module, fieldName(module, name));
  if (!isTensor(value))
    throw new ArgumentError(fn, `name to be a parameter or a buffer of ${module.constructor.name}`, name);
  return value;
}

// ---------------------------------------------------------------- orthogonal

const MAPS: Readonly<Record<string, OrthogonalMap>> = {
  matrixExp: "matrixExp",
  matrix_exp: "matrixExp",
  cayley: "cayley",
  householder: "householder",
};
export interface OrthogonalArguments extends NamedTensorArguments {
  /**
   * Default: matrixExp for square and for complex matrices, else householder. PyTorch's spelling (`matrix_exp`) is taken
   * too.
   */
  readonly orthogonalMap?: OrthogonalMap | "matrix_exp" | null;
  /** Learn what is near the identity, times a base that is a buffer: values can be assigned. Default true. */
  readonly useTrivialization?: boolean;
}
const readOrthogonal = signature(
  "orthogonal",
  {
    ...NAMED,
    orthogonalMap: byDefault(
      null,
      orNull(
        such<OrthogonalMap | "matrix_exp">(
          "one of matrixExp, cayley, householder",
          (v) => typeof v === "string" && Object.hasOwn(MAPS, v),
        ),
      ),
    ),
    useTrivialization: byDefault(true, flag),
  } satisfies OptionNames<OrthogonalArguments>,
  3,
);
/**
 * Keep a matrix, or each of a batch, orthogonal: its columns orthonormal, or its rows where they are fewer. Arguments:
 * module, name, orthogonalMap, { useTrivialization }; see {@link OrthogonalArguments}.
 * @returns The module.
 * @see Lezcano Casado, 2019, arXiv:1909.09501.
 */
export function orthogonal<M extends Module>(
  ...given: Call<
    OrthogonalArguments & { readonly module: M },
    ["module", "name", "orthogonalMap"],
    [module: M, name?: string, orthogonalMap?: OrthogonalMap | "matrix_exp" | null]
  >
): M & Parametrized {
  const { module, name, orthogonalMap, useTrivialization } = readOrthogonal(given);
  const weight = tensorOf("orthogonal", module, name);
  if (weight.ndim < 2) throw new ArgumentError("orthogonal", "a matrix, or a batch of them", weight);
  const isSquare = weight.size(-2) === weight.size(-1);
  const map =
    orthogonalMap === null
      ? isSquare || weight.isComplex()
        ? "matrixExp"
        : "householder"
      : (MAPS[orthogonalMap] as OrthogonalMap);
  const parametrization = new Orthogonal(weight, map, useTrivialization);
  return registerParametrization(module as M, name, parametrization, { unsafe: true });
}

// ---------------------------------------------------------------- weight normalisation

/** `original0` is the length of each slice, `original1` its direction. */
class WeightNorm extends Module {
  constructor(readonly dim: number) {
    super();
  }
  forward(g: Tensor, v: Tensor): Tensor {
    return weightOf(g, v, this.dim);
  }
  rightInverse(weight: Tensor): readonly [g: Tensor, v: Tensor] {
    return [normExceptDim(weight, 2, this.dim), weight];
  }
}
printedAs(WeightNorm, "_WeightNorm");
/** @internal v · g / ‖v‖, over all dimensions but one. */
export function weightOf(g: Tensor, v: Tensor, dim: number): Tensor {
  return scope(() => v.mul(g.div(normExceptDim(v, 2, dim))));
}

export interface WeightNormArguments extends NamedTensorArguments {
  /** The dimension whose slices have a length each; null: one length for all. Default 0. */
  readonly dim?: number | null;
}
/** @internal */
export const WEIGHT_NORM = { ...NAMED, dim: byDefault(0, orNull(whole())) } satisfies OptionNames<WeightNormArguments>;
export type WeightNormCall<M extends Module> = Call<
  WeightNormArguments & { readonly module: M },
  ["module", "name", "dim"],
  [module: M, name?: string, dim?: number | null]
>;
const readWeightNorm = signature("weightNorm", WEIGHT_NORM);
/**
 * Learn the length of each slice of a weight apart from its direction: `parametrizations.weight.original0` and
 * `original1`. Arguments: module, name, dim; see {@link WeightNormArguments}.
 * @returns The module.
 * @see Salimans and Kingma, 2016, arXiv:1602.07868.
 */
export function weightNorm<M extends Module>(...given: WeightNormCall<M>): M & Parametrized {
  const { module, name, dim } = readWeightNorm(given);
  tensorOf("weightNorm", module, name);
  const key = module.stateKey(fieldName(module, name));
  const made = registerParametrization(module as M, name, new WeightNorm(dim ?? -1), { unsafe: true });
  // State dicts of the older form are read, too.
  module.registerLoadStateDictPreHook((_, state, prefix) => {
    const [g, v] = [state.get(`${prefix}${key}_g`), state.get(`${prefix}${key}_v`)];
    if (g === undefined || v === undefined) return;
    state.delete(`${prefix}${key}_g`);
    state.delete(`${prefix}${key}_v`);
    state.set(`${prefix}parametrizations.${key}.original0`, g);
    state.set(`${prefix}parametrizations.${key}.original1`, v);
  });
  return made;
}

// ---------------------------------------------------------------- spectral normalisation

/** Divides a weight by its greatest singular value, which each forward in training finds somewhat better. */
class SpectralNorm extends Module {
  declare _u: Tensor;
  declare _v: Tensor;
  readonly dim: number;
  readonly eps: number;
  readonly nPowerIterations: number;

  constructor(weight: Tensor, nPowerIterations: number, dim: number, eps: number) {
    super();
    const { ndim } = weight;
    if (dim >= ndim || dim < -ndim) throw new ArgumentError("spectralNorm", `dim from ${-ndim} to ${ndim - 1}`, dim);
    this.dim = dim < 0 ? dim + ndim : dim;
    this.eps = eps;
    this.nPowerIterations = nPowerIterations;
    if (ndim < 2) return;
    noGrad(() =>
      scope(() => {
        const matrix = asMatrix(weight, this.dim);
        const [height, width] = [matrix.size(0), matrix.size(1)];
        const u = matrix.newEmpty([height]).normal_(0, 1);
        const v = matrix.newEmpty([width]).normal_(0, 1);
        this.registerBuffer("_u", unit(u, eps));
        this.registerBuffer("_v", unit(v, eps));
        this.iterate(matrix, 15);
      }),
    );
  }
  private iterate(matrix: Tensor, times: number): void {
    noGrad(() =>
      scope(() => {
        for (let i = 0; i < times; i++) {
          this._u.copy_(unit(matrix.mv(this._v), this.eps));
          this._v.copy_(unit(matrix.adjoint().mv(this._u), this.eps));
        }
      }),
    );
  }
  forward(weight: Tensor): Tensor {
    if (weight.ndim < 2) return unit(weight, this.eps);
    const matrix = asMatrix(weight, this.dim);
    if (this.training) this.iterate(matrix, this.nPowerIterations);
    // Copies: the next forward writes into them, and two of one step may go backward.
    const [u, v] = [this._u.clone(), this._v.clone()];
    return weight.div(vdot(u, matrix.mv(v)));
  }
  rightInverse(value: Tensor): Tensor {
    return value;
  }
}

printedAs(SpectralNorm, "_SpectralNorm");

export interface SpectralNormArguments extends NamedTensorArguments {
  /** Steps of the power method at each use in training. Default 1. */
  readonly nPowerIterations?: number;
  /** The least length of a vector. Default 1e-12. */
  readonly eps?: number;
  /** The dimension of outputs. Default 0; 1 for transposed convolutions. */
  readonly dim?: number | null;
}
/** @internal */
export const SPECTRAL_NORM = {
  ...NAMED,
  nPowerIterations: byDefault(1, positive),
  eps: byDefault(1e-12, real("[0, ∞)")),
  dim: byDefault(null, orNull(whole())),
} satisfies OptionNames<SpectralNormArguments>;
export type SpectralNormCall<M extends Module> = Call<
  SpectralNormArguments & { readonly module: M },
  ["module", "name", "nPowerIterations", "eps", "dim"],
  [module: M, name?: string, nPowerIterations?: number, eps?: number, dim?: number | null]
>;
const readSpectralNorm = signature("spectralNorm", SPECTRAL_NORM);
/**
 * Divide a weight by its greatest singular value, so that the layer is 1-Lipschitz; a vector by its length. Arguments:
 * module, name, nPowerIterations, eps, dim; see {@link SpectralNormArguments}. Draws from the default generator; each
 * reading of the weight in training is a step of the power method.
 * @returns The module.
 * @see Miyato et al., 2018, arXiv:1802.05957.
 */
export function spectralNorm<M extends Module>(...given: SpectralNormCall<M>): M & Parametrized {
  const { module, name, nPowerIterations, eps, dim } = readSpectralNorm(given);
  const weight = tensorOf("spectralNorm", module, name);
  const parametrization = new SpectralNorm(weight, nPowerIterations, dim ?? outputDim(module), eps);
  return registerParametrization(module as M, name, parametrization);
}
