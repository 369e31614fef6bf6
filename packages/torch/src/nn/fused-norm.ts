/** Residual addition and normalisation in one pass over memory. */
import { AutogradFunction, isGradEnabled, type FunctionContext } from "../autograd/index.js";
import { autocastState } from "../backend.js";
import { ArgumentError } from "../errors.js";
import { flag, listOf, oneOf, orNull, real } from "../kinds.js";
import { dtypeKind, tensorKind } from "../tensor/kinds.js";
import { layerNorm, promoteTypes, rmsNorm } from "../ops/index.js";
import { atMost, checkArguments, checkOptions, type OptionNames } from "../options.js";
import type { DType } from "../tensor/dtype.js";
import { isTensor } from "../tensor/handle.js";
import type { Tensor } from "../tensor/tensor.js";
import { gradientsThrough, positive, kernel, KERNEL_DTYPES, kernels } from "./kernels.js";

/** The sum, which goes on as the residual stream, and its normalisation, which the next layer reads. */
export type NormPair = readonly [sum: Tensor, normed: Tensor];

export interface AddNormOptions {
  /**
   * Added to the variance (LayerNorm, default 1e-5) or the mean square (RMSNorm, default: the smallest step of the
   * sum's dtype).
   */
  readonly eps?: number | null;
  /** dtype of the normalised output. Default: the region's dtype under autocast, else the sum's. */
  readonly dtype?: DType;
  /**
   * "kernel": the fused operator, on the CPU too, where it is no faster and serves tests. "reference": plain operators.
   * "auto" (default): the kernel on CUDA when dtypes and row length allow it.
   */
  readonly path?: "auto" | "kernel" | "reference";
  /**
   * Linear layers that read `normed` do not keep it: backward normalises the sum, which is kept anyhow, once more. The
   * same to the last bit, at one pass over memory for each such layer; not differentiable twice. Where the kernel is not
   * taken it changes nothing. Default false.
   */
  readonly recompute?: boolean;
}
/** @internal What the layers' own methods take, which have an eps. */
export const ADD_NAMES: OptionNames<Omit<AddNormOptions, "eps">> = {
  dtype: dtypeKind,
  path: oneOf("auto", "kernel", "reference"),
  recompute: flag,
};
const NAMES: OptionNames<AddNormOptions> = { eps: orNull(real("[0, ∞)")), ...ADD_NAMES };
const TENSORS = {
  x: tensorKind,
  residual: orNull(tensorKind),
  normalizedShape: listOf(positive),
  weight: orNull(tensorKind),
  bias: orNull(tensorKind),
};
interface Norm {
  readonly shape: readonly number[];
  readonly weight: Tensor | null;
  readonly bias: Tensor | null;
  readonly eps: number;
  readonly rms: boolean;
  readonly dtype: DType;
  readonly recompute: boolean;
}

const MOST_COLUMNS = 16384;
const EPS: Readonly<Partial<Record<DType, number>>> = {
  float64: 2 ** -52,
  float32: 2 ** -23,
  bfloat16: 2 ** -7,
  float16: 2 ** -10,
};

/**
 * What the fused path must equal: the addition, the normalisation in float32 (float64 for such inputs), one rounding to
 * `dtype`.
 */
function reference(x: Tensor, residual: Tensor | null, n: Norm): NormPair {
  const sum = residual === null ? x : x.add(residual);
  const wide: DType = sum.dtype === "float64" ? "float64" : "float32";
  const of = (t: Tensor | null): Tensor | null => t?.to(wide) ?? null;
  const normed = n.rms
    ? rmsNorm(sum.to(wide), n.shape, of(n.weight), n.eps)
    : layerNorm(sum.to(wide), n.shape, of(n.weight), of(n.bias), n.eps);
  return [sum, normed.to(n.dtype)];
}

class AddNorm extends AutogradFunction {
  static forward(
    ctx: FunctionContext,
    x: Tensor,
    residual: Tensor | null,
    weight: Tensor | null,
    bias: Tensor | null,
    norm: Norm,
  ): Tensor | [Tensor, Tensor] {
    const columns = norm.shape.reduce((a, b) => a * b, 1);
    const to = x.contiguous();
    const [sum, normed, mean, rstd] = kernel("addLayerNorm", "add_norm")(
      to,
      residual?.contiguous() ?? null,
      weight?.contiguous() ?? null,
      bias?.contiguous() ?? null,
      columns,
      norm.eps,
      norm.rms,
      norm.dtype,
    ) as unknown as [Tensor | null, Tensor, Tensor, Tensor];
    ctx.values["norm"] = norm;
    ctx.values["residual"] = residual === null || residual.dtype === x.dtype ? null : residual.dtype;
    ctx.values["dtype"] = x.dtype;
    // The bias of the linear layer before it wants the sum of the residual's gradient, which backward has in hand.
    ctx.values["keepSums"] = residual !== null && Number(kernels["takes_column_sums"]?.(residual)) === 1;
    ctx.setMaterializeGrads(false);
    ctx.saveForBackward(sum ?? to, weight, mean, rstd, bias);
    if (norm.recompute)
      kernel("addLayerNorm", "remember_norm")(
        normed,
        sum ?? to,
        weight?.contiguous() ?? null,
        bias?.contiguous() ?? null,
        columns,
        norm.eps,
        norm.rms,
      );
    return sum === null ? normed : [sum, normed];
  }

  static backward(ctx: FunctionContext, ...grads: (Tensor | null)[]): (Tensor | null)[] {
    const norm = ctx.values["norm"] as Norm;
    const [sum, mean, rstd] = [ctx.saved(0), ctx.saved(2), ctx.saved(3)];
    const weight = ctx.savedTensors[1] ?? null;
    const dtype = ctx.values["dtype"] as DType;
    const other = ctx.values["residual"] as DType | null;
    const needs = (i: number): boolean => ctx.needsInputGrad[i] === true;
    const forSum = grads.length === 1 ? null : (grads[0] ?? null);
    const forNormed = grads.at(-1) ?? null;
    const residualDtype = needs(1) ? (other ?? dtype) : null;
    if (forNormed === null) return [castTo(forSum, dtype), castTo(forSum, residualDtype), null, null, null];
    if (isGradEnabled()) {
      const [whole, gw, gb] = doubleBackward(
        sum,
        { ...norm, weight, bias: ctx.savedTensors[4] ?? null },
        forSum,
        forNormed,
        needs,
      );
      return [castTo(whole, dtype), castTo(whole, residualDtype), gw, gb, null];
    }
    const columns = norm.shape.reduce((a, b) => a * b, 1);
    const [gx, gr, gw, gb] = kernel("addLayerNorm", "add_norm_backward")(
      forNormed.contiguous(),
      forSum?.contiguous() ?? null,
      sum,
      weight?.contiguous() ?? null,
      mean,
      rstd,
      columns,
      dtype,
      needs(1) ? other : null,
      norm.rms,
      needs(2),
      needs(3),
      ctx.values["keepSums"] === true,
    ) as unknown as [Tensor, Tensor | null, Tensor | null, Tensor | null];
    return [gx, needs(1) ? (gr ?? gx) : null, gw, gb, null];
  }
}

function castTo(t: Tensor | null, dtype: DType | null): Tensor | null {
  return t === null || dtype === null ? null : t.to(dtype);
}

/**
 * Backward that will itself be differentiated: through the reference, from the saved sum on. Returns the gradients of
 * the sum, the weight and the bias.
 */
function doubleBackward(
  sum: Tensor,
  norm: Norm,
  forSum: Tensor | null,
  forNormed: Tensor,
  needs: (i: number) => boolean,
): readonly [whole: Tensor | null, weight: Tensor | null, bias: Tensor | null] {
  const [, normed] = reference(sum, null, norm);
  const [through = null, gw = null, gb = null] = gradientsThrough(
    normed,
    [sum, needs(2) ? norm.weight : null, needs(3) ? norm.bias : null],
    forNormed,
  );
  return [through === null ? forSum : forSum === null ? through : through.add(forSum), gw, gb];
}

/** What is added and normalised, as it was given. */
interface Inputs {
  readonly x: Tensor;
  readonly residual: Tensor | null;
  readonly shape: readonly number[];
  readonly weight: Tensor | null;
  readonly bias: Tensor | null;
}

const isOfShape = (t: Tensor, shape: readonly number[]): boolean =>
  t.ndim === shape.length && t.shape.every((s, i) => s === shape[i]);

function checkInputs(fn: string, { x, residual, shape, weight, bias }: Inputs): void {
  checkArguments(fn, { x, residual, normalizedShape: shape, weight, bias }, TENSORS);
  const sizes = x.shape;
  const skipped = sizes.length - shape.length;
  if (shape.length === 0 || skipped < 0 || shape.some((s, i) => s !== sizes[skipped + i]))
    throw new ArgumentError(fn, `normalizedShape to be the last dimensions of x ${JSON.stringify(sizes)}`, shape);
  if (residual !== null && !isOfShape(residual, sizes))
    throw new ArgumentError(
      fn,
      `residual of x's shape ${JSON.stringify(sizes)}`,
      residual,
      "Expand it first: residual.expand(x.shape).",
    );
  for (const [name, t] of [
    ["weight", weight],
    ["bias", bias],
  ] as const)
    if (t !== null && !isOfShape(t, shape)) throw new ArgumentError(fn, `${name} of shape ${JSON.stringify(shape)}`, t);
  if (bias !== null && weight === null) throw new ArgumentError(fn, "a weight where there is a bias", null);
}

/** Whether the fused operator takes these dtypes and this row length. */
function fits(x: Tensor, sumType: DType, { shape, weight, bias, dtype }: Norm): boolean {
  const columns = shape.reduce((a, b) => a * b, 1);
  const sameWeights = weight === null || bias === null || weight.dtype === bias.dtype;
  return (
    kernels["add_norm"] !== undefined &&
    sameWeights &&
    columns <= MOST_COLUMNS &&
    [x.dtype, sumType, dtype, weight?.dtype ?? "float32"].every((d) => KERNEL_DTYPES.includes(d))
  );
}

function run(fn: string, inputs: Inputs, rms: boolean, options: AddNormOptions): NormPair {
  checkOptions(fn, options, NAMES);
  checkInputs(fn, inputs);
  const { x, residual, shape, weight, bias } = inputs;
  const sumType = residual === null ? x.dtype : promoteTypes(x.dtype, residual.dtype);
  const region = autocastState(x.device.type);
  const dtype = options.dtype ?? (region.enabled && sumType !== "float64" ? region.dtype : sumType);
  const eps = options.eps ?? (rms ? EPS[sumType] : 1e-5);
  if (eps === undefined || !(eps >= 0)) throw new ArgumentError(fn, "a floating-point x and eps ≥ 0", options.eps ?? x);
  const path = options.path ?? "auto";
  const norm: Norm = { shape, weight, bias, eps, rms, dtype, recompute: options.recompute ?? false };
  if (path === "reference" || (path === "auto" && !(x.device.type === "cuda" && fits(x, sumType, norm))))
    return reference(x, residual, norm);
  const result = AddNorm.apply(x, residual, weight, bias, norm);
  return Array.isArray(result) ? (result as unknown as NormPair) : [x, result as Tensor];
}

/**
 * `sum = x + residual`, `normed = layerNorm(sum)`: what stands between two layers of a transformer, in one pass forward
 * and one backward.
 *
 * The residual stream keeps the dtype that `x + residual` has (float32 under autocast where one of them is). Only
 * `normed` is in the region's dtype: PyTorch's `layer_norm` returns float32 under autocast, which the next matrix product
 * rounds to that dtype; here it is rounded in the kernel, once, to the same value. Where what follows is not a matrix
 * product, ask for `dtype: "float32"`.
 *
 * @param x - `[…, ...normalizedShape]`, float32, bfloat16 or float16 (float64 takes the reference).
 * @param residual - The shape of x; null adds nothing, and `sum` is x itself.
 * @param weight - Of normalizedShape, or null.
 * @param bias - Of normalizedShape, or null.
 * @returns `[sum, normed]`. Does not synchronize; may be captured in a CUDA graph. Differentiable twice (through the
 * reference).
 * @throws {ArgumentError} `addLayerNorm: expected residual of x's shape [2,8]. Received: …`
 * @example const [h, n] = nn.functional.addLayerNorm(x, attention, [768], norm.weight, norm.bias);
 * @see Ba et al., 2016, arXiv:1607.06450. Statistics in float32, the second pass over registers.
 */
export function addLayerNorm(
  x: Tensor,
  residual: Tensor | null,
  normalizedShape: readonly number[],
  weight: Tensor | null = null,
  bias: Tensor | null = null,
  options: AddNormOptions = {},
): NormPair {
  atMost("addLayerNorm", arguments, 6);
  return run("addLayerNorm", { x, residual, shape: normalizedShape, weight, bias }, false, options);
}

/**
 * `sum = x + residual`, `normed = sum / √(mean(sum²) + eps) · weight`. As {@link addLayerNorm} in everything else. @see
 * Zhang and Sennrich, 2019, arXiv:1910.07467.
 */
export function addRmsNorm(
  x: Tensor,
  residual: Tensor | null,
  normalizedShape: readonly number[],
  weight: Tensor | null = null,
  options: AddNormOptions = {},
): NormPair {
  atMost("addRmsNorm", arguments, 5);
  return run("addRmsNorm", { x, residual, shape: normalizedShape, weight, bias: null }, true, options);
}

/**
 * @internal Whether a layer may take the kernel in place of PyTorch's operator without a change that anybody sees:
 * 16-bit input under autocast on CUDA, output in float32 as PyTorch's. It saves the copy of the input in float32.
 */
export function layerMayFuse(x: Tensor): boolean {
  // What is no tensor goes on to the operator, which says so.
  return (
    isTensor(x) &&
    x.device.type === "cuda" &&
    (x.dtype === "bfloat16" || x.dtype === "float16") &&
    autocastState("cuda").enabled
  );
}
