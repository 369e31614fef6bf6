/** Initial values that do not look at a tensor's shape, or only at its places. */
import { ArgumentError } from "../../errors.js";
import { byDefault, real } from "../../kinds.js";
import type { Generator } from "../../ops/generator.js";
import * as ops from "../../ops/index.js";
import type { OptionNames } from "../../options.js";
import { signature, type Call } from "../../signature.js";
import { scope } from "../../tensor/scope.js";
import type { Tensor } from "../../tensor/tensor.js";
import { positive } from "../kernels.js";
import { FILL, GENERATOR, quietly, type DrawArguments, type FillArguments } from "./common.js";

export interface UniformArguments extends DrawArguments {
  /** Default 0. */
  readonly a?: number;
  /** Default 1. */
  readonly b?: number;
}
const UNIFORM = {
  ...FILL,
  a: byDefault(0, real()),
  b: byDefault(1, real()),
  generator: GENERATOR,
} satisfies OptionNames<UniformArguments>;
const readUniform = signature("init.uniform_", UNIFORM);
/** U(a, b). Arguments: tensor, a, b, generator. */
export function uniform_(
  ...given: Call<
    UniformArguments,
    ["tensor", "a", "b", "generator"],
    [tensor: Tensor, a?: number, b?: number, generator?: Generator | null]
  >
): Tensor {
  const { tensor, a, b, generator } = readUniform(given);
  return quietly(tensor, () => tensor.uniform_(a, b, { generator }));
}

export interface NormalArguments extends DrawArguments {
  /** Default 0. */
  readonly mean?: number;
  /** ≥ 0. Default 1. */
  readonly std?: number;
}
const NORMAL = {
  ...FILL,
  mean: byDefault(0, real()),
  std: byDefault(1, real("[0, ∞)")),
  generator: GENERATOR,
} satisfies OptionNames<NormalArguments>;
const readNormal = signature("init.normal_", NORMAL);
/** N(mean, std²). Arguments: tensor, mean, std, generator. */
export function normal_(
  ...given: Call<
    NormalArguments,
    ["tensor", "mean", "std", "generator"],
    [tensor: Tensor, mean?: number, std?: number, generator?: Generator | null]
  >
): Tensor {
  const { tensor, mean, std, generator } = readNormal(given);
  return quietly(tensor, () => tensor.normal_(mean, std, { generator }));
}

export interface ConstantArguments extends FillArguments {
  readonly val: number;
}
const readConstant = signature("init.constant_", {
  ...FILL,
  val: real("[-∞, ∞]"),
} satisfies OptionNames<ConstantArguments>);
/** One value. Arguments: tensor, val. */
export function constant_(...given: Call<ConstantArguments, ["tensor", "val"], [tensor: Tensor, val: number]>): Tensor {
  const { tensor, val } = readConstant(given);
  return quietly(tensor, () => tensor.fill_(val));
}

type FillCall = Call<FillArguments, ["tensor"], [tensor: Tensor]>;
const readOnes = signature("init.ones_", FILL);
export function ones_(...given: FillCall): Tensor {
  const { tensor } = readOnes(given);
  return quietly(tensor, () => tensor.fill_(1));
}
const readZeros = signature("init.zeros_", FILL);
export function zeros_(...given: FillCall): Tensor {
  const { tensor } = readZeros(given);
  return quietly(tensor, () => tensor.zero_());
}

const readEye = signature("init.eye_", FILL);
/** The identity: `[n, m]`, ones where row and column are equal. */
export function eye_(...given: FillCall): Tensor {
  const { tensor } = readEye(given);
  if (tensor.ndim !== 2) throw new ArgumentError("init.eye_", "a tensor of 2 dimensions", tensor);
  return quietly(tensor, () => tensor.zero_().diagonal().fill_(1));
}

export interface DiracArguments extends FillArguments {
  /** Groups of a grouped convolution, each of which gets its own identity. Default 1. */
  readonly groups?: number;
}
const readDirac = signature("init.dirac_", {
  ...FILL,
  groups: byDefault(1, positive),
} satisfies OptionNames<DiracArguments>);
/**
 * The weight of a convolution that passes on as many channels as it can: `[O, I, …]` with 1 to 3 spatial dimensions.
 * Arguments: tensor, groups.
 * @throws {ArgumentError} unless the output channels, per group, are whole.
 */
export function dirac_(
  ...given: Call<DiracArguments, ["tensor", "groups"], [tensor: Tensor, groups?: number]>
): Tensor {
  const { tensor, groups } = readDirac(given);
  if (tensor.ndim < 3 || tensor.ndim > 5)
    throw new ArgumentError("init.dirac_", "a tensor of 3, 4 or 5 dimensions", tensor);
  if (tensor.size(0) % groups !== 0)
    throw new ArgumentError("init.dirac_", `groups to divide the output channels (${tensor.size(0)})`, groups);
  const outputs = tensor.size(0) / groups;
  const channels = Math.min(outputs, tensor.size(1));
  return quietly(tensor, () =>
    scope(() => {
      tensor.zero_();
      let middle: Tensor = tensor;
      while (middle.ndim > 2) middle = middle.select(2, Math.floor(middle.size(2) / 2));
      for (let g = 0; g < groups; g++)
        middle
          .narrow(0, g * outputs, channels)
          .narrow(1, 0, channels)
          .diagonal()
          .fill_(1);
    }),
  );
}

export interface SparseArguments extends DrawArguments {
  /** The share of each column that is zero, in [0, 1]. */
  readonly sparsity: number;
  /** Of the others. Default 0.01. */
  readonly std?: number;
}
const readSparse = signature("init.sparse_", {
  ...FILL,
  sparsity: real("[0, 1]"),
  std: byDefault(0.01, real("[0, ∞)")),
  generator: GENERATOR,
} satisfies OptionNames<SparseArguments>);
/**
 * N(0, std²) with zeros in each column, whose rows come from the default generator, as in PyTorch. Arguments: tensor
 * `[n, m]`, sparsity, std, generator.
 * @see Martens, 2010, "Deep learning via Hessian-free optimization".
 */
export function sparse_(
  ...given: Call<
    SparseArguments,
    ["tensor", "sparsity", "std", "generator"],
    [tensor: Tensor, sparsity: number, std?: number, generator?: Generator | null]
  >
): Tensor {
  const { tensor, sparsity, std, generator } = readSparse(given);
  if (tensor.ndim !== 2) throw new ArgumentError("init.sparse_", "a tensor of 2 dimensions", tensor);
  if (tensor.device.type === "meta") return tensor;
  const [rows, columns] = [tensor.size(0), tensor.size(1)];
  const zeros = Math.ceil(sparsity * rows);
  return quietly(tensor, () =>
    scope(() => {
      tensor.normal_(0, std, { generator });
      for (let column = 0; column < columns; column++) {
        const chosen = ops.randperm(rows).slice(0, 0, zeros).to(tensor.device);
        tensor.select(1, column).indexFill_(0, chosen, 0);
      }
    }),
  );
}
