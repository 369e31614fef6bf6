/** The last layer of a language model and its loss, without the logits in float32. */
import { AutogradFunction, type FunctionContext } from "../autograd/function.js";
import { cachedWeightCast } from "../amp/weight-casts.js";
import { autocastState } from "../backend.js";
import { ArgumentError, verbatim } from "../errors.js";
import { whole } from "../kinds.js";
import { tensorKind } from "../tensor/kinds.js";
import { atMost, checkArguments, checkOptions, type OptionNames } from "../options.js";
import { aten, operators } from "../ops/aten.js";
import { classIndices } from "../ops/losses/class-indices.js";
import { cat, crossEntropyLoss, linear } from "../ops/index.js";
import type { DType } from "../tensor/dtype.js";
import type { Tensor } from "../tensor/tensor.js";

export interface FusedLinearCrossEntropyOptions {
  readonly ignoreIndex?: number;
  /**
   * Rows of logits that exist at a time. Default: all, kept in 16 bits for backward. With fewer, backward computes them
   * again: a third matrix product for a peak of `chunkRows × classes × 2` bytes.
   */
  readonly chunkRows?: number;
}
const NAMES: OptionNames<FusedLinearCrossEntropyOptions> = { ignoreIndex: whole(), chunkRows: whole("[1, ∞)") };
const TENSORS = { x: tensorKind, weight: tensorKind, target: tensorKind };

const kernels = operators("nbit");

/** Mean cross entropy of `x · weightᵀ`; the plain reference that the fused path must equal. */
export function linearCrossEntropyReference(x: Tensor, weight: Tensor, target: Tensor, ignoreIndex = -100): Tensor {
  atMost("linearCrossEntropyReference", arguments, 4);
  checkArguments(
    "linearCrossEntropyReference",
    { x, weight, target, ignoreIndex },
    { ...TENSORS, ignoreIndex: whole() },
  );
  return crossEntropyLoss(linear(x, weight), target, { ignoreIndex });
}

class Fused extends AutogradFunction {
  static forward(
    ctx: FunctionContext,
    x: Tensor,
    weight: Tensor,
    target: Tensor,
    dtype: DType,
    ignoreIndex: number,
    chunkRows: number,
  ): Tensor {
    const input = x.to(dtype);
    const matrix = cachedWeightCast(weight, dtype) ?? weight.to(dtype);
    const rows = input.size(0);
    const valid = target.ne(ignoreIndex).sum().to("float32");
    const whole = chunkRows >= rows;
    const losses: Tensor[] = [];
    const lses: Tensor[] = [];
    let logits: Tensor | null = null;
    for (let start = 0; start < rows; start += chunkRows) {
      const end = Math.min(rows, start + chunkRows);
      logits?.dispose();
      logits = input.slice(0, start, end).mm(matrix.t());
      const [loss, lse] = kernelOf("cross_entropy_rows")(logits, target.slice(0, start, end), ignoreIndex) as readonly [
        Tensor,
        Tensor,
      ];
      losses.push(loss);
      lses.push(lse);
    }
    const lse = lses.length === 1 ? (lses[0] as Tensor) : cat(lses);
    ctx.values["chunkRows"] = chunkRows;
    ctx.values["wide"] = weight.dtype === "float32";
    ctx.values["ignoreIndex"] = ignoreIndex;
    ctx.saveForBackward(input, matrix, target, lse, valid, whole ? logits : null);
    return (losses.length === 1 ? (losses[0] as Tensor) : cat(losses)).sum().div(valid);
  }

  static backward(ctx: FunctionContext, gradOutput: Tensor): (Tensor | null)[] {
    const [input, matrix, target, lse, valid] = [0, 1, 2, 3, 4].map((i) => ctx.saved(i)) as [
      Tensor,
      Tensor,
      Tensor,
      Tensor,
      Tensor,
    ];
    const kept = ctx.savedTensors[5] ?? null;
    const scale = gradOutput.to("float32").div(valid);
    const rows = input.size(0);
    const chunkRows = kept === null ? (ctx.values["chunkRows"] as number) : rows;
    const gradient = kernelOf("cross_entropy_gradient_");
    const inputs: Tensor[] = [];
    let forWeight: Tensor | null = null;
    for (let start = 0; start < rows; start += chunkRows) {
      const end = Math.min(rows, start + chunkRows);
      const part = input.slice(0, start, end);
      const logits = kept ?? part.mm(matrix.t());
      gradient(logits, target.slice(0, start, end), lse.slice(0, start, end), scale, ctx.values["ignoreIndex"]);
      if (ctx.needsInputGrad[0] === true) inputs.push(logits.mm(matrix));
      if (ctx.needsInputGrad[1] === true) {
        // In float32 straight from the product: 16 bits would round every chunk, and a float32 parameter wants it
        // anyhow.
        const product =
          ctx.values["wide"] === true || chunkRows < rows ? productInFloat32(logits.t(), part) : logits.t().mm(part);
        forWeight = forWeight === null ? product : forWeight.add_(product);
      }
      if (kept === null) logits.dispose();
    }
    return [inputs.length === 0 ? null : inputs.length === 1 ? (inputs[0] as Tensor) : cat(inputs), forWeight, null];
  }
}

const productInFloat32 = (a: Tensor, b: Tensor): Tensor => aten.mm?.["dtype"]?.(a, b, "float32") ?? a.mm(b).float();

function kernelOf(name: string): (...args: readonly unknown[]) => unknown {
  const found = kernels[name];
  if (found === undefined)
    throw new ArgumentError(
      "fusedLinearCrossEntropy",
      "an addon built with CUDA",
      verbatim("one without"),
      "Run `npx nbit setup` where PyTorch has CUDA.",
    );
  return found;
}

/**
 * Mean cross entropy of the logits `x · weightᵀ`, computed where the logits are: they exist once, in 16 bits, and
 * become their own gradient in place.
 *
 * Under autocast (or with 16-bit inputs) on CUDA; anywhere else it is {@link linearCrossEntropyReference}, with which
 * it agrees to the rounding of the last sum. PyTorch's own operators copy the logits to float32 and back: for `[8192,
 * 50304]` 1.6 GB each time.
 *
 * @param x - `[N, D]` floating point.
 * @param weight - `[C, D]`: the output layer, or the embedding when it is shared.
 * @param target - `[N]` classes, int64; whole numbers in another dtype are taken too, of which floats wait for the
 * device.
 * @returns `[]` float32. Does not synchronize.
 * @throws {ArgumentError} `fusedLinearCrossEntropy: expected x to be [N, D]. Received: …`
 * @see The idea of computing the gradient where the logits are: Hsu et al., 2024, Liger Kernel, arXiv:2410.10989.
 */
export function fusedLinearCrossEntropy(
  x: Tensor,
  weight: Tensor,
  target: Tensor,
  options: FusedLinearCrossEntropyOptions = {},
): Tensor {
  atMost("fusedLinearCrossEntropy", arguments, 4);
  checkOptions("fusedLinearCrossEntropy", options, NAMES);
  checkArguments("fusedLinearCrossEntropy", { x, weight, target }, TENSORS);
  if (x.ndim !== 2)
    throw new ArgumentError("fusedLinearCrossEntropy", "x to be [N, D]", x, "Flatten batch and time: x.view([-1, d]).");
  if (weight.ndim !== 2 || weight.size(1) !== x.size(1))
    throw new ArgumentError("fusedLinearCrossEntropy", `weight to be [C, ${x.size(1)}]`, weight);
  if (target.ndim !== 1 || target.size(0) !== x.size(0))
    throw new ArgumentError("fusedLinearCrossEntropy", `target to be ${x.size(0)} classes`, target);
  const classes = classIndices("fusedLinearCrossEntropy", "target", target);
  const chunkRows = options.chunkRows ?? Math.max(1, x.size(0));
  const ignoreIndex = options.ignoreIndex ?? -100;
  const device = x.device.type;
  const region = autocastState(device);
  const dtype = region.enabled ? region.dtype : x.dtype;
  if (device !== "cuda" || (dtype !== "bfloat16" && dtype !== "float16") || kernels["cross_entropy_rows"] === undefined)
    return linearCrossEntropyReference(x, weight, classes, ignoreIndex);
  return Fused.apply(x, weight, classes.contiguous(), dtype, ignoreIndex, chunkRows);
}
