/** Batch normalisation, the addition and the ReLU behind it in two passes over memory. */
import { AutogradFunction, isGradEnabled, type FunctionContext } from "../autograd/index.js";
import { ArgumentError } from "../errors.js";
import { flag, oneOf, orNull, real } from "../kinds.js";
import { tensorKind } from "../tensor/kinds.js";
import { atMost, checkArguments, checkOptions, type OptionNames } from "../options.js";
import { arange, batchNorm, relu as reluOf } from "../ops/index.js";
import { isTensor } from "../tensor/handle.js";
import type { Tensor } from "../tensor/tensor.js";
import { gradientsThrough, kernel, KERNEL_DTYPES, kernels } from "./kernels.js";

export interface BatchNormReluOptions {
  /** Added before the ReLU: the other branch of a residual block. The shape of x. */
  readonly residual?: Tensor | null;
  /** false: without the ReLU. Default true. */
  readonly relu?: boolean;
  /** Of the batch (true, default) or the running statistics (false). */
  readonly training?: boolean;
  readonly momentum?: number;
  readonly eps?: number;
  /**
   * "kernel": the fused operator, on the CPU too, where it is no faster and serves tests. "reference": plain operators.
   * "auto" (default): the kernel on CUDA where layout and dtypes allow it.
   */
  readonly path?: "auto" | "kernel" | "reference";
}
const TENSOR = orNull(tensorKind);
const NAMES: OptionNames<BatchNormReluOptions> = {
  residual: TENSOR,
  relu: flag,
  training: flag,
  momentum: real("[0, 1]"),
  eps: real("[0, ∞)"),
  path: oneOf("auto", "kernel", "reference"),
};
interface Norm {
  readonly runningMean: Tensor | null;
  readonly runningVar: Tensor | null;
  readonly relu: boolean;
  readonly momentum: number;
  readonly eps: number;
}

/** What the fused path must equal, but for the roundings between the operators. */
function reference(
  x: Tensor,
  residual: Tensor | null,
  weight: Tensor | null,
  bias: Tensor | null,
  n: Norm,
  training: boolean,
): Tensor {
  let y = batchNorm(x, weight, bias, n.runningMean, n.runningVar, training, n.momentum, n.eps, true);
  if (residual !== null) y = y.add(residual);
  return n.relu ? reluOf(y) : y;
}

/** Where ReLU let through, from a bit per element, of x's shape. */
function passed(mask: Tensor, x: Tensor): Tensor {
  const [n, c, ...rest] = x.shape as readonly [number, number, ...number[]];
  const bit = arange(8, { device: x.device.toString() }).exp2().to("uint8");
  return mask
    .unsqueeze(1)
    .bitwiseAnd(bit)
    .ne(0)
    .view([n, ...rest, c])
    .movedim(-1, 1);
}

class BatchNormRelu extends AutogradFunction {
  static forward(
    ctx: FunctionContext,
    x: Tensor,
    residual: Tensor | null,
    weight: Tensor | null,
    bias: Tensor | null,
    norm: Norm,
    branches: boolean,
  ): Tensor | [Tensor, Tensor] {
    const [out, mean, rstd, mask] = kernel("batchNormRelu", "batch_norm_relu")(
      x,
      residual,
      weight,
      bias,
      norm.runningMean,
      norm.runningVar,
      norm.momentum,
      norm.eps,
      norm.relu,
    ) as unknown as [Tensor, Tensor, Tensor, Tensor | null];
    ctx.values["norm"] = norm;
    ctx.setMaterializeGrads(false);
    ctx.saveForBackward(x, weight, bias, mean, rstd, mask);
    return branches ? [out, out.detach()] : out;
  }
  static backward(ctx: FunctionContext, ...grads: (Tensor | null)[]): (Tensor | null)[] {
    const [g, more] = grads.filter((t): t is Tensor => t !== null);
    if (g === undefined) return [];
    const norm = ctx.values["norm"] as Norm;
    const [x, mean, rstd] = [ctx.saved(0), ctx.saved(3), ctx.saved(4)];
    const [weight, bias, mask] = [
      ctx.savedTensors[1] ?? null,
      ctx.savedTensors[2] ?? null,
      ctx.savedTensors[5] ?? null,
    ];
    const needs = (i: number): boolean => ctx.needsInputGrad[i] === true;
    if (isGradEnabled())
      return doubleBackward(x, weight, bias, mask, norm, more === undefined ? g : g.add(more), needs);
    const wantsResidual = needs(1) && (norm.relu || more !== undefined);
    const [gx, gr, gw, gb] = kernel("batchNormRelu", "batch_norm_relu_backward")(
      g,
      x,
      mask,
      weight,
      bias,
      mean,
      rstd,
      more ?? null,
      norm.relu,
      wantsResidual,
      needs(2),
      needs(3),
    ) as unknown as [Tensor, Tensor | null, Tensor | null, Tensor | null];
    return [gx, needs(1) ? (gr ?? g) : null, gw, gb, null];
  }
}

/** Backward that will itself be differentiated: through the plain operator, from the input on. */
function doubleBackward(
  x: Tensor,
  weight: Tensor | null,
  bias: Tensor | null,
  mask: Tensor | null,
  norm: Norm,
  g: Tensor,
  needs: (i: number) => boolean,
): (Tensor | null)[] {
  const y = batchNorm(x, weight, bias, null, null, true, 0, norm.eps, true);
  const through = !norm.relu ? g : g.mul((mask === null ? y.le(0).logicalNot() : passed(mask, x)).to(g.dtype));
  const [gx, gw, gb] = gradientsThrough(y, [x, needs(2) ? weight : null, needs(3) ? bias : null], through);
  return [gx ?? null, needs(1) ? through : null, gw ?? null, gb ?? null, null];
}

/** Channels are what lies side by side in memory. */
const channelsLast = (x: Tensor): boolean => x.ndim >= 2 && x.movedim(1, -1).isContiguous();

/** @internal One value has no variance: its normalisation is 0, whatever it is. */
export function requireSeveral(fn: string, x: Tensor): void {
  if (x.numel() === x.size(1))
    throw new ArgumentError(
      fn,
      "more than one value per channel in training",
      x,
      "Use a larger batch, dropLast in the loader, or eval().",
    );
}

/**
 * @internal Whether a layer takes the kernel in place of PyTorch's operator: in bfloat16, for which cuDNN has none and
 * libtorch's own takes twice as long; in float16 cuDNN is as fast.
 */
export function layerMayFuse(x: Tensor): boolean {
  return x.dtype === "bfloat16" && x.device.type === "cuda" && x.ndim >= 2;
}

function fits(x: Tensor, residual: Tensor | null, weight: Tensor | null, bias: Tensor | null, n: Norm): boolean {
  const channels = x.size(1);
  const weights = [weight, bias, n.runningMean, n.runningVar].filter((t): t is Tensor => t !== null);
  const dtypes = new Set(weights.map((t) => t.dtype));
  if (
    channels % 8 !== 0 ||
    channels > 16384 ||
    x.numel() <= channels ||
    dtypes.size > 1 ||
    (n.runningMean === null) !== (n.runningVar === null)
  )
    return false;
  if (
    ![x.dtype, ...dtypes].every((d) => KERNEL_DTYPES.includes(d)) ||
    kernels["batch_norm_relu"] === undefined ||
    !channelsLast(x)
  )
    return false;
  return residual === null || (residual.dtype === x.dtype && channelsLast(residual));
}

function checkShapes(
  fn: string,
  x: Tensor,
  residual: Tensor | null,
  ofChannels: Readonly<Record<string, Tensor | null>>,
): void {
  if (x.ndim < 2 || !x.isFloatingPoint()) throw new ArgumentError(fn, "x to be floating point, [N, C, …]", x);
  if (residual !== null && (residual.ndim !== x.ndim || residual.shape.some((s, i) => s !== x.size(i))))
    throw new ArgumentError(
      fn,
      `residual of x's shape ${JSON.stringify(x.shape)}`,
      residual,
      "Expand it first: residual.expand(x.shape).",
    );
  for (const [name, t] of Object.entries(ofChannels))
    if (t !== null && (t.ndim !== 1 || t.size(0) !== x.size(1)))
      throw new ArgumentError(fn, `${name} of shape [${x.size(1)}]`, t);
}

/**
 * `relu(batchNorm(x) + residual)`, per channel `relu((x − mean) / √(var + eps) · weight + bias + residual)`: what
 * stands between the convolutions of a residual network.
 *
 * Separate operators read and write the activations up to eight times, forward and backward; here it is two passes each
 * way, in float32, with one rounding to x's dtype. Of ReLU backward keeps one bit per element where there is a
 * residual, else nothing.
 *
 * The kernel takes training batches on CUDA with channels last in memory (`x.contiguous({ memoryFormat: "channelsLast"
 * })`; any `[N, C]`), a multiple of 8 of them, in float32, bfloat16 or float16; all else runs as plain operators.
 *
 * @param x - `[N, C, …]`.
 * @param runningMean - `[C]`, updated in place while training; null: none is kept. As is `runningVar`, of the unbiased
 * variance.
 * @param weight - `[C]`, or null.
 * @param bias - `[C]`, or null.
 * @returns The shape and dtype of x. Does not synchronize; may be captured in a CUDA graph. Differentiable twice
 * (through the plain operators).
 * @throws {ArgumentError} `batchNormRelu: expected residual of x's shape [2,8,4,4]. Received: …`
 * @example y = nn.functional.batchNormRelu(conv.forward(x), bn.runningMean, bn.runningVar, bn.weight, bn.bias, { residual: x });
 * @see Ioffe and Szegedy, 2015, arXiv:1502.03167; He et al., 2015, arXiv:1512.03385.
 */
export function batchNormRelu(
  x: Tensor,
  runningMean: Tensor | null,
  runningVar: Tensor | null,
  weight: Tensor | null = null,
  bias: Tensor | null = null,
  options: BatchNormReluOptions = {},
): Tensor {
  atMost("batchNormRelu", arguments, 6);
  return run("batchNormRelu", { x, runningMean, runningVar, weight, bias }, options, false)[0];
}

/**
 * {@link batchNormRelu}, whose result goes two ways, as between the blocks of a residual network: into the next block
 * and around it. Returns it twice, in the same memory. Backward's kernel adds the gradients of the two while it reads
 * them, where autograd writes their sum and reads it twice.
 *
 * @returns Two tensors of the shape and dtype of x. Give each to one of the two; more uses of either are added by
 * autograd. Where the kernel is not taken it is the same tensor twice.
 * @throws {ArgumentError} as batchNormRelu does, of `batchNormReluForBranches`.
 * @example
 * const [inner, around] = nn.functional.batchNormReluForBranches(conv1.forward(x), bn.runningMean, bn.runningVar, bn.weight, bn.bias);
 * y = conv2.forward(inner).add(around);
 */
export function batchNormReluForBranches(
  x: Tensor,
  runningMean: Tensor | null,
  runningVar: Tensor | null,
  weight: Tensor | null = null,
  bias: Tensor | null = null,
  options: BatchNormReluOptions = {},
): readonly [Tensor, Tensor] {
  atMost("batchNormReluForBranches", arguments, 6);
  return run("batchNormReluForBranches", { x, runningMean, runningVar, weight, bias }, options, true);
}

interface Inputs {
  readonly x: Tensor;
  readonly runningMean: Tensor | null;
  readonly runningVar: Tensor | null;
  readonly weight: Tensor | null;
  readonly bias: Tensor | null;
}
function run(fn: string, inputs: Inputs, options: BatchNormReluOptions, branches: boolean): readonly [Tensor, Tensor] {
  checkOptions(fn, options, NAMES);
  checkArguments(fn, inputs, { x: tensorKind, runningMean: TENSOR, runningVar: TENSOR, weight: TENSOR, bias: TENSOR });
  const { x, runningMean, runningVar, weight, bias } = inputs;
  const { residual = null, relu = true, training = true, momentum = 0.1, eps = 1e-5, path = "auto" } = options;
  checkShapes(fn, x, residual, { weight, bias, runningMean, runningVar });
  if (training) requireSeveral(fn, x);
  const norm: Norm = { runningMean, runningVar, relu, momentum, eps };
  const allowed =
    training &&
    path !== "reference" &&
    (path === "kernel" || x.device.type === "cuda") &&
    fits(x, residual, weight, bias, norm);
  const result = allowed
    ? BatchNormRelu.apply(x, residual, weight, bias, norm, branches)
    : reference(x, residual, weight, bias, norm, training);
  return isTensor(result) ? [result, result] : result;
}
