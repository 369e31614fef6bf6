/** What the layers with kernels of our own share. */
import { whole } from "../kinds.js";
import { grad } from "../autograd/index.js";
import { ArgumentError, verbatim } from "../errors.js";
import { operators } from "../ops/aten.js";
import type { DType } from "../tensor/dtype.js";
import type { Tensor } from "../tensor/tensor.js";

/** Numbers of features, channels, groups. */
export const positive = whole("[1, ∞)");
/** Operators of the addon itself, by their schema names; undefined in an addon without them. */
export const kernels = operators("nbit");
/** Element types that kernels take. */
export const KERNEL_DTYPES: readonly DType[] = ["float32", "bfloat16", "float16"];

/** @throws {ArgumentError} `biasGelu: expected an addon with this operator. Received: an older one. …` */
export function kernel(fn: string, name: string): (...args: readonly unknown[]) => unknown {
  const found = kernels[name];
  if (found === undefined)
    throw new ArgumentError(fn, "an addon with this operator", verbatim("an older one"), "Run `npm run build`.");
  return found;
}

/**
 * For a backward that will itself be differentiated: the gradients of `output` for each input, null for one that is
 * absent or wants none.
 */
export function gradientsThrough(
  output: Tensor,
  inputs: readonly (Tensor | null)[],
  gradOutputs: Tensor,
): (Tensor | null)[] {
  const wanted = inputs.filter((t): t is Tensor => t !== null && t.requiresGrad);
  const found = grad(output, wanted, { gradOutputs, createGraph: true });
  return inputs.map((t) => (t === null ? null : (found[wanted.indexOf(t)] ?? null)));
}
