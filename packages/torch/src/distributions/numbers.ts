/** Arithmetic that distributions share, in PyTorch's order of operations, so that results agree to the last bit. */
import { enableGrad } from "../autograd/modes.js";
import { ArgumentError } from "../errors.js";
import * as ops from "../ops/index.js";
import { getDefaultDtype } from "../tensor/default-dtype.js";
import type { Device } from "../tensor/device.js";
import { finfo, type DType } from "../tensor/dtype.js";
import { isTensor } from "../tensor/handle.js";
import type { Tensor } from "../tensor/tensor.js";
import { tensor } from "../tensor/values.js";
import type { ParameterLike, Shape } from "./arguments.js";

/** @internal Euler's constant γ. */
export const EULER = 0.5772156649015329;

/** @internal `number - t`, as Python computes it. */
export const minus = (number: number, t: Tensor): Tensor => ops.rsub(t, number);
/** @internal `number / t`, as Python computes it: the reciprocal first. */
export const over = (number: number, t: Tensor): Tensor => (number === 1 ? t.reciprocal() : t.reciprocal().mul(number));
/** @internal `x.where(…)` with numbers. */
export const choose = (condition: Tensor, yes: Tensor | number, no: Tensor | number): Tensor =>
  typeof yes === "number"
    ? typeof no === "number"
      ? ops.where(condition, yes, no)
      : ops.where(condition, yes, no)
    : typeof no === "number"
      ? ops.where(condition, yes, no)
      : ops.where(condition, yes, no);

/**
 * Parameters as tensors of one shape: numbers become tensors like the first tensor among them, or of the default dtype
 * where there is none.
 */
export function broadcastAll(...values: readonly ParameterLike[]): Tensor[] {
  const first = values.find((value) => isTensor(value));
  const options = first === undefined ? { dtype: getDefaultDtype() } : { dtype: first.dtype, device: first.device };
  return ops.broadcastTensors(values.map((value) => (isTensor(value) ? value : tensor(value, options))));
}
/** @internal */
export function broadcastTwo(a: ParameterLike, b: ParameterLike): [Tensor, Tensor] {
  return broadcastAll(a, b) as [Tensor, Tensor];
}
/** @internal */
export function broadcastThree(a: ParameterLike, b: ParameterLike, c: ParameterLike): [Tensor, Tensor, Tensor] {
  return broadcastAll(a, b, c) as [Tensor, Tensor, Tensor];
}
/** @internal */
export function broadcastOne(a: ParameterLike): Tensor {
  return broadcastAll(a)[0] as Tensor;
}

/** @internal */
export const kindOf = (t: Tensor): { readonly dtype: DType; readonly device: Device } => ({
  dtype: t.dtype,
  device: t.device,
});
/** @internal Draws from a standard normal, by the same draws as PyTorch's. */
export const standardNormal = (shape: Shape, like: Tensor): Tensor => ops.empty(shape, kindOf(like)).normal_();
/** @internal */
export const uniform = (shape: Shape, like: Tensor): Tensor => ops.rand(shape, kindOf(like));
/** @internal */
export const filled = (shape: Shape, value: number, like: Tensor): Tensor => ops.full(shape, value, kindOf(like));

/** @internal The values `[n]` of each distribution of a batch, as `enumerateSupport` returns them. */
export function enumerated(values: Tensor, batchShape: Shape, expands: boolean): Tensor {
  const each = values.view([-1, ...batchShape.map(() => 1)]);
  return expands ? each.expand([-1, ...batchShape]) : each;
}
/** @internal The sum over the last `n` dimensions. */
export function sumRightmost(value: Tensor, n: number): Tensor {
  return n === 0 ? value : value.reshape([...value.shape.slice(0, Math.max(0, value.ndim - n)), -1]).sum(-1);
}

export function logitsToProbs(logits: Tensor, isBinary = false): Tensor {
  return isBinary ? logits.sigmoid() : ops.softmax(logits, -1);
}
export function clampProbs(probs: Tensor): Tensor {
  const { eps } = finfo(probs.dtype);
  return probs.clamp(eps, 1 - eps);
}
export function probsToLogits(probs: Tensor, isBinary = false): Tensor {
  const clamped = clampProbs(probs);
  return isBinary ? clamped.log().sub(clamped.neg().log1p()) : clamped.log();
}

/** @internal The diagonal of each matrix. */
export const diagonal = (matrix: Tensor): Tensor => matrix.diagonal(0, -2, -1);
/** @internal */
export const mT = (matrix: Tensor): Tensor => matrix.transpose(-2, -1);

function trilMask(n: number, diag: number, like: Tensor): Tensor {
  const places = ops.arange(n, { device: like.device });
  return places.lt(places.view([-1, 1]).add(diag + 1));
}
/** The entries of lower triangular matrices `[…, n, n]` on and below the diagonal `diag`, as vectors. */
export function trilMatrixToVec(matrix: Tensor, diag = 0): Tensor {
  const n = matrix.size(-1);
  if (diag < -n || diag >= n) throw new ArgumentError("trilMatrixToVec", `diag in [${-n}, ${n - 1}]`, diag);
  return matrix.at("...", trilMask(n, diag, matrix));
}
/** Vectors as the entries on and below the diagonal `diag` of lower triangular matrices `[…, n, n]`. */
export function vecToTrilMatrix(vector: Tensor, diag = 0): Tensor {
  const b = 1 + 2 * diag;
  const n = (-b + Math.sqrt(b * b + 8 * vector.size(-1) + 4 * Math.abs(diag) * (diag + 1))) / 2;
  const side = Math.round(n);
  if (Math.abs(side - n) > finfo(vector.dtype).eps)
    throw new ArgumentError(
      "vecToTrilMatrix",
      "as many elements in the last dimension as lie below a diagonal of a square matrix",
      vector,
    );
  const matrix = vector.newZeros([...vector.shape.slice(0, -1), side, side]);
  return matrix.setAt(["...", trilMask(side, diag, vector)], vector);
}

/** What either of two parameters was given, and the other when somebody asks for it. */
export class ProbsOrLogits {
  /** The other parameter, once it was asked for: it may be gone with the scope that made it. */
  other: Tensor | null = null;

  constructor(
    readonly given: "probs" | "logits",
    readonly param: Tensor,
    readonly isBinary: boolean,
    readonly clamps = false,
  ) {}
  get probs(): Tensor {
    if (this.given === "probs") return this.param;
    return this.#once(() => {
      const probs = logitsToProbs(this.param, this.isBinary);
      return this.clamps ? clampProbs(probs) : probs;
    });
  }
  get logits(): Tensor {
    return this.given === "logits" ? this.param : this.#once(() => probsToLogits(this.param, this.isBinary));
  }
  expand(shape: Shape): ProbsOrLogits {
    return new ProbsOrLogits(this.given, this.param.expand(shape), this.isBinary, this.clamps);
  }
  #once(make: () => Tensor): Tensor {
    if (this.other === null || this.other.disposed) this.other = enableGrad(make);
    return this.other;
  }
}
