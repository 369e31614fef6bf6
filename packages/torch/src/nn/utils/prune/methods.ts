/** The methods of pruning that are there. */
import { ArgumentError } from "../../../errors.js";
import { real, such, whole, byDefault } from "../../../kinds.js";
import { kthvalue, linalg, rand, randLike, topk, zerosLike } from "../../../ops/index.js";
import { atMost, type OptionNames } from "../../../options.js";
import { signature, type Call } from "../../../signature.js";
import { tensorKind } from "../../../tensor/kinds.js";
import type { Tensor } from "../../../tensor/tensor.js";
import { BasePruningMethod, checkMasked } from "./method.js";

export interface AmountOptions {
  /** How many to prune: a whole number is their count, another one their share, in (0, 1), rounded to a count. */
  readonly amount: number;
}
const amount = such<number>(
  "a share in [0, 1], or a whole number ≥ 0, which is a count",
  (v) => typeof v === "number" && v >= 0 && (v < 1 || Number.isSafeInteger(v)),
);
/** @internal */
export const AMOUNT = { amount } satisfies OptionNames<AmountOptions>;

/** Halves go to the even neighbour, as in Python. */
function rounded(x: number): number {
  const low = Math.floor(x);
  if (x - low !== 0.5) return Math.round(x);
  return low % 2 === 0 ? low : low + 1;
}
function countOf(share: number, size: number): number {
  if (!Number.isInteger(share)) return rounded(share * size);
  if (share > size)
    throw new ArgumentError("prune", `an amount of at most ${size}, which is how many there are`, share);
  return share;
}
/** A mask without the elements of `scores` (of one dimension, in the mask's order) that are pruned. */
function without(defaultMask: Tensor, chosen: Tensor): Tensor {
  const mask = defaultMask.clone().contiguous();
  mask.view([-1]).indexFill_(0, chosen, 0);
  return mask;
}

/** Prunes nothing; the mask is of ones. */
export class Identity extends BasePruningMethod {
  readonly PRUNING_TYPE = "unstructured";
  constructor() {
    super();
    atMost("Identity", arguments, 0);
  }
  computeMask(_t: Tensor, defaultMask: Tensor): Tensor {
    checkMasked("Identity.computeMask", arguments);
    return defaultMask;
  }
}

type AmountCall = Call<AmountOptions, ["amount"], [amount: number]>;
const readRandom = signature("RandomUnstructured", AMOUNT);
/** Prunes elements at random, from the default generator. */
export class RandomUnstructured extends BasePruningMethod {
  readonly PRUNING_TYPE = "unstructured";
  readonly amount: number;
  constructor(...given: AmountCall) {
    super();
    this.amount = readRandom(given).amount;
  }
  computeMask(t: Tensor, defaultMask: Tensor): Tensor {
    checkMasked("RandomUnstructured.computeMask", arguments);
    const count = countOf(this.amount, t.numel());
    if (count === 0) return defaultMask.clone();
    return without(defaultMask, topk(randLike(t).view([-1]), count)[1]);
  }
}
const readL1 = signature("L1Unstructured", AMOUNT);
/** Prunes the elements that are nearest to zero. */
export class L1Unstructured extends BasePruningMethod {
  readonly PRUNING_TYPE = "unstructured";
  readonly amount: number;
  constructor(...given: AmountCall) {
    super();
    this.amount = readL1(given).amount;
  }
  computeMask(t: Tensor, defaultMask: Tensor): Tensor {
    checkMasked("L1Unstructured.computeMask", arguments);
    const count = countOf(this.amount, t.numel());
    if (count === 0) return defaultMask.clone();
    return without(defaultMask, topk(t.abs().reshape([-1]), count, -1, false)[1]);
  }
}

export interface StructuredOptions extends AmountOptions {
  /** The dimension whose slices are pruned. Default -1. */
  readonly dim?: number;
}
const DIM = byDefault(-1, whole());
/** @internal */
export const STRUCTURED = { amount, dim: DIM } satisfies OptionNames<StructuredOptions>;
/**
 * A mask of slices of a dimension.
 * @param kept - Of `size` slices all but `count`, by index. Not asked where nothing is pruned: PyTorch draws no numbers
 *   then.
 */
function maskOfSlices(
  t: Tensor,
  defaultMask: Tensor,
  { amount, dim: given }: Required<StructuredOptions>,
  kept: (dim: number, size: number, count: number) => Tensor,
): Tensor {
  if (t.ndim < 2) throw new ArgumentError("prune", "a tensor of at least two dimensions to prune slices of", t);
  if (given >= t.ndim || given < -t.ndim)
    throw new ArgumentError("prune", `dim from ${-t.ndim} to ${t.ndim - 1}`, given);
  const dim = given < 0 ? given + t.ndim : given;
  const size = t.size(dim);
  const count = countOf(amount, size);
  if (count === 0) return defaultMask;
  const mask = zerosLike(t).indexFill_(dim, kept(dim, size, count), 1);
  return mask.mul_(defaultMask.to(mask.dtype));
}
const readRandomStructured = signature("RandomStructured", STRUCTURED);
/** Prunes slices of a dimension at random, from the default generator. */
export class RandomStructured extends BasePruningMethod {
  readonly PRUNING_TYPE = "structured";
  readonly amount: number;
  override readonly dim: number;
  constructor(...given: Call<StructuredOptions, ["amount", "dim"], [amount: number, dim?: number]>) {
    super();
    ({ amount: this.amount, dim: this.dim } = readRandomStructured(given));
  }
  computeMask(t: Tensor, defaultMask: Tensor): Tensor {
    checkMasked("RandomStructured.computeMask", arguments);
    return maskOfSlices(t, defaultMask, this, (_, size, count) => {
      const chance = rand([size]);
      const [threshold] = kthvalue(chance, count);
      return chance.gt(threshold).nonzero().squeeze(1).to(t.device);
    });
  }
}

/** The order of a norm; PyTorch's words are taken too. */
export type NormOrder = number | "fro" | "nuc";
export interface LnStructuredOptions extends StructuredOptions {
  readonly n: NormOrder;
}
/** @internal */
export const LN_STRUCTURED = {
  amount,
  n: such<NormOrder>(
    'a number, "fro" or "nuc"',
    (v) => (typeof v === "number" && real("[-∞, ∞]").accepts(v)) || v === "fro" || v === "nuc",
  ),
  dim: DIM,
} satisfies OptionNames<LnStructuredOptions>;
const readLn = signature("LnStructured", LN_STRUCTURED);
/** Prunes the slices of a dimension whose n-norm is the least. */
export class LnStructured extends BasePruningMethod {
  readonly PRUNING_TYPE = "structured";
  readonly amount: number;
  readonly n: NormOrder;
  override readonly dim: number;
  constructor(
    ...given: Call<LnStructuredOptions, ["amount", "n", "dim"], [amount: number, n: NormOrder, dim?: number]>
  ) {
    super();
    ({ amount: this.amount, n: this.n, dim: this.dim } = readLn(given));
  }
  computeMask(t: Tensor, defaultMask: Tensor): Tensor {
    checkMasked("LnStructured.computeMask", arguments);
    return maskOfSlices(t, defaultMask, this, (dim, size, count) => {
      const others = t.shape.map((_, i) => i).filter((i) => i !== dim);
      return topk(normOf(t, this.n, others), size - count)[1];
    });
  }
}
function normOf(t: Tensor, n: NormOrder, dims: readonly number[]): Tensor {
  if (n === "fro") return linalg.vectorNorm(t, 2, dims);
  if (n !== "nuc") return linalg.vectorNorm(t, n, dims);
  if (dims.length !== 2) throw new ArgumentError("LnStructured", 'two dimensions to take the norm "nuc" of', t);
  return linalg.matrixNorm(t, "nuc", [...dims]);
}

export interface MaskOptions {
  /** Ones where elements stay, of the parameter's shape. */
  readonly mask: Tensor;
}
/** @internal */
export const MASK = { mask: tensorKind } satisfies OptionNames<MaskOptions>;
const readMask = signature("CustomFromMask", MASK);
/** Prunes where a mask of one's own has zeros. */
export class CustomFromMask extends BasePruningMethod {
  readonly PRUNING_TYPE = "global";
  readonly mask: Tensor;
  constructor(...given: Call<MaskOptions, ["mask"], [mask: Tensor]>) {
    super();
    this.mask = readMask(given).mask;
  }
  computeMask(_t: Tensor, defaultMask: Tensor): Tensor {
    checkMasked("CustomFromMask.computeMask", arguments);
    if (String(defaultMask.shape) !== String(this.mask.shape))
      throw new ArgumentError("CustomFromMask", `a mask of shape [${defaultMask.shape.join(", ")}]`, this.mask);
    return defaultMask.mul(this.mask.to(defaultMask.dtype));
  }
}
