/** Exponentials that sum to 1 over one dimension. */
import { byDefault, orNull, real } from "../../kinds.js";
import * as ops from "../../ops/index.js";
import { signature, type Call } from "../../signature.js";
import type { DType } from "../../tensor/dtype.js";
import { isTensor } from "../../tensor/handle.js";
import { dtypeKind } from "../../tensor/kinds.js";
import type { Tensor } from "../../tensor/tensor.js";
import { dimension, input, off, type InputArguments } from "./rows.js";

export interface SoftmaxArguments extends InputArguments {
  /** Over which dimension. Say it: without it PyTorch's old rule holds, 0 of tensors of 0, 1 and 3 dimensions, else 1. */
  readonly dim?: number | null;
  /** What is computed in, and the result's. Default: the input's, float32 under autocast. */
  readonly dtype?: DType | null;
}
type SoftmaxCall = Call<SoftmaxArguments, ["input", "dim"], [input: Tensor, dim?: number | null]>;
const ROWS = { input, dim: byDefault(null, orNull(dimension)), dtype: byDefault(null, orNull(dtypeKind)) };
const readSoftmax = signature("softmax", ROWS, 2);
const readLogSoftmax = signature("logSoftmax", ROWS, 2);
const readSoftmin = signature("softmin", ROWS, 2);

/** @internal The dimension that PyTorch takes where none is given. */
export function softmaxDimension(x: Tensor, dim: number | null): number {
  return dim ?? (x.ndim === 0 || x.ndim === 1 || x.ndim === 3 ? 0 : 1);
}

/** e^x / Σ e^x */
export function softmax(...given: SoftmaxCall): Tensor {
  const [first, second]: readonly unknown[] = given;
  if (given.length === 2 && isTensor(first) && typeof second === "number") return ops.softmax(first, second);
  const { input, dim, dtype } = readSoftmax(given);
  return ops.softmax(input, softmaxDimension(input, dim), dtype);
}
/** log(e^x / Σ e^x) */
export function logSoftmax(...given: SoftmaxCall): Tensor {
  const [first, second]: readonly unknown[] = given;
  if (given.length === 2 && isTensor(first) && typeof second === "number") return ops.logSoftmax(first, second);
  const { input, dim, dtype } = readLogSoftmax(given);
  return ops.logSoftmax(input, softmaxDimension(input, dim), dtype);
}
/** softmax(-x) */
export function softmin(...given: SoftmaxCall): Tensor {
  const { input, dim, dtype } = readSoftmin(given);
  return ops.softmax(input.neg(), softmaxDimension(input, dim), dtype);
}

export interface GumbelSoftmaxArguments {
  /** Unnormalised log probabilities. */
  readonly logits: Tensor;
  /** The temperature. Default 1. */
  readonly tau?: number;
  /** One-hot results, whose gradient is that of the soft ones. Default false. */
  readonly hard?: boolean;
  /** Without effect, as in PyTorch, which keeps it for old programs. */
  readonly eps?: number;
  /** Default -1. */
  readonly dim?: number;
}
const readGumbel = signature("gumbelSoftmax", {
  logits: input,
  tau: byDefault(1, real("(0, ∞)")),
  hard: off,
  eps: byDefault(1e-10, real()),
  dim: byDefault(-1, dimension),
});
/**
 * Samples of the Gumbel-softmax distribution: softmax((logits + g) / τ), g = -log(Exp(1)). Jang et al., 2016; Maddison
 * et al., 2016. Draws from the generator of the logits' device.
 */
export function gumbelSoftmax(
  ...given: Call<
    GumbelSoftmaxArguments,
    ["logits", "tau", "hard", "eps", "dim"],
    [logits: Tensor, tau?: number, hard?: boolean, eps?: number, dim?: number]
  >
): Tensor {
  const { logits, tau, hard, dim } = readGumbel(given);
  const contiguous = { memoryFormat: "contiguousFormat" } as const;
  const noise = ops.emptyLike(logits, contiguous).exponential_().log().neg();
  const soft = ops.softmax(logits.add(noise).div(tau), dim);
  if (!hard) return soft;
  const index = soft.argmax(dim, true);
  const oneHot = ops.zerosLike(logits, contiguous).scatter_(dim, index, 1);
  return oneHot.sub(soft.detach()).add(soft);
}
