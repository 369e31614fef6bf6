/** Bias and GELU in one pass over memory. */
import { AutogradFunction, isGradEnabled, type FunctionContext } from "../autograd/index.js";
import { ArgumentError } from "../errors.js";
import { flag, oneOf, orNull } from "../kinds.js";
import { tensorKind } from "../tensor/kinds.js";
import { atMost, checkArguments, checkOptions, type OptionNames } from "../options.js";
import { gelu } from "../ops/index.js";
import type { DType } from "../tensor/dtype.js";
import type { Tensor } from "../tensor/tensor.js";
import { gradientsThrough, kernel, KERNEL_DTYPES, kernels } from "./kernels.js";

export interface BiasGeluOptions {
  /** "tanh" for the cheaper formula. Default "none". */
  readonly approximate?: "none" | "tanh";
  /**
   * "kernel": the fused operator, on the CPU too. "reference": plain operators. "auto" (default): the kernel on CUDA.
   */
  readonly path?: "auto" | "kernel" | "reference";
  /**
   * Linear layers that read the result do not keep it: backward computes it once more from x, which is kept anyhow, in
   * the pass that computes the gradient of x. The same to the last bit, at one more write; not differentiable twice.
   * Where the kernel is not taken it changes nothing. Default false.
   */
  readonly recompute?: boolean;
}
const NAMES: OptionNames<BiasGeluOptions> = {
  approximate: oneOf("none", "tanh"),
  path: oneOf("auto", "kernel", "reference"),
  recompute: flag,
};

/** What the fused path must equal: sum and GELU in float32 (float64 for such inputs), one rounding to x's dtype. */
function reference(x: Tensor, bias: Tensor | null, approximate: "none" | "tanh"): Tensor {
  const wide: DType = x.dtype === "float64" ? "float64" : "float32";
  const sum = bias === null ? x.to(wide) : x.to(wide).add(bias.to(wide));
  return (approximate === "none" ? gelu(sum) : gelu(sum, { approximate })).to(x.dtype);
}

class BiasGelu extends AutogradFunction {
  static forward(
    ctx: FunctionContext,
    x: Tensor,
    bias: Tensor | null,
    approximate: "none" | "tanh",
    recompute: boolean,
  ): Tensor {
    const dense = x.contiguous();
    const ofBias = bias?.contiguous() ?? null;
    const tanh = approximate === "tanh";
    ctx.values["approximate"] = approximate;
    ctx.saveForBackward(dense, bias);
    const out = kernel("biasGelu", "bias_gelu")(dense, ofBias, tanh) as Tensor;
    if (recompute) kernel("biasGelu", "remember_gelu")(out, dense, ofBias, tanh, ctx.needsInputGrad[1] === true);
    return out;
  }
  static backward(ctx: FunctionContext, g: Tensor): (Tensor | null)[] {
    const x = ctx.saved(0);
    const bias = ctx.savedTensors[1] ?? null;
    const approximate = ctx.values["approximate"] as "none" | "tanh";
    const needsBias = bias !== null && ctx.needsInputGrad[1] === true;
    // Backward that will itself be differentiated: through the reference.
    if (isGradEnabled())
      return [...gradientsThrough(reference(x, bias, approximate), [x, needsBias ? bias : null], g), null];
    const [gx, gb] = kernel("biasGelu", "bias_gelu_backward")(
      g.contiguous(),
      x,
      bias?.contiguous() ?? null,
      approximate === "tanh",
      needsBias,
      false,
    ) as unknown as [Tensor, Tensor | null];
    return [gx, gb, null];
  }
}

/**
 * `gelu(x + bias)`: between the two matrix products of a transformer's MLP. Give the first product without its bias and
 * the bias here: the kernel adds it in float32, and backward sums the bias's gradient while it has the values in hand,
 * which saves the separate pass.
 *
 * @param x - `[…, C]` float32, bfloat16 or float16 (float64 takes the reference).
 * @param bias - `[C]` of any of these dtypes (a float32 parameter needs no cast), or null.
 * @returns The shape and dtype of x, also under autocast; rounded once. Does not synchronize; may be captured in a CUDA
 * graph. Differentiable twice (through the reference).
 * @throws {ArgumentError} `biasGelu: expected bias of shape [8]. Received: …`
 * @example const h = nn.functional.biasGelu(nn.functional.linear(x, fc.weight), fc.bias);
 * @see Hendrycks and Gimpel, 2016, arXiv:1606.08415.
 */
export function biasGelu(x: Tensor, bias: Tensor | null, options: BiasGeluOptions = {}): Tensor {
  atMost("biasGelu", arguments, 3);
  checkOptions("biasGelu", options, NAMES);
  checkArguments("biasGelu", { x, bias }, { x: tensorKind, bias: orNull(tensorKind) });
  const { approximate = "none", path = "auto", recompute = false } = options;
  if (x.ndim === 0 || !x.isFloatingPoint()) throw new ArgumentError("biasGelu", "x to be floating point, […, C]", x);
  const columns = x.size(x.ndim - 1);
  if (bias !== null && (bias.ndim !== 1 || bias.size(0) !== columns))
    throw new ArgumentError("biasGelu", `bias of shape [${columns}]`, bias);
  const allowed =
    kernels["bias_gelu"] !== undefined &&
    columns > 0 &&
    [x.dtype, bias?.dtype ?? "float32"].every((d) => KERNEL_DTYPES.includes(d));
  if (path === "reference" || (path === "auto" && !(allowed && x.device.type === "cuda")))
    return reference(x, bias, approximate);
  return BiasGelu.apply(x, bias, approximate, recompute);
}
