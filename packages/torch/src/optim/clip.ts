/** Gradient clipping. */
import { noGrad } from "../autograd/modes.js";
import { ArgumentError, NbitError } from "../errors.js";
import { flag, real } from "../kinds.js";
import { atMost, checkArguments, checkOptions, type OptionNames } from "../options.js";
import { clamp, linalg, stack, zeros } from "../ops/index.js";
import { iterated } from "../read-once.js";
import { isTensor } from "../tensor/handle.js";
import { TensorList } from "../tensor/list.js";
import { scope } from "../tensor/scope.js";
import type { Tensor } from "../tensor/tensor.js";
import { gradientValues } from "./gradient-values.js";
import { operator } from "./operators.js";
import { parts } from "./pairs.js";

const foreachNorm = operator("_foreach_norm");
const foreachMul_ = operator("_foreach_mul_");
const foreachClampMin_ = operator("_foreach_clamp_min_");
const foreachClampMax_ = operator("_foreach_clamp_max_");

function listOf(fn: string, params: Tensor | Iterable<Tensor>): Tensor[] {
  const list = isTensor(params) ? [params] : iterated(fn, "params", params);
  for (const p of list) if (!isTensor(p)) throw new ArgumentError(fn, "params to be tensors", p);
  return list as Tensor[];
}
function gradients(params: readonly Tensor[]): { readonly all: TensorList; readonly present: TensorList } {
  const all = TensorList.gradsOf(TensorList.of(params));
  if (all.missing.length === 0) return { all, present: all };
  const absent = new Set(all.missing);
  return { all, present: all.select(params.map((_, i) => i).filter((i) => !absent.has(i))) };
}

/**
 * The numbers of gradients some of which are sparse, in place: entries of one place are added up first, as a norm or a
 * clamp is of their sum.
 */
function numbersOf(params: readonly Tensor[]): TensorList {
  return TensorList.of(
    params.flatMap((p) => {
      const { grad } = p;
      if (grad === null) return [];
      if (!grad.isSparse || grad.isCoalesced()) return [gradientValues(grad)];
      const summed = grad.coalesce();
      p.grad = summed;
      return [gradientValues(summed)];
    }),
  );
}

/** `fn` with all gradients in one list; where a kernel does not know a layout among them, again with their numbers. */
function overGradients<T>(params: readonly Tensor[], fn: (present: TensorList) => T): T {
  const { all, present } = gradients(params);
  try {
    return fn(present);
  } catch (error) {
    if (!(error instanceof NbitError && error.code === "TORCH_NOT_IMPLEMENTED")) throw error;
    return fn(numbersOf(params));
  } finally {
    all.dispose();
  }
}

export interface ClipNormOptions {
  /** p ≥ 1, or `Infinity` for the largest |g|. Default 2. */
  readonly normType?: number;
  /** Throw when the norm is not finite; waits for the device. Default false. */
  readonly errorIfNonfinite?: boolean;
}

const NAMES: OptionNames<ClipNormOptions> = { normType: real("[1, ∞]"), errorIfNonfinite: flag };

function totalNorm(present: TensorList, normType: number): Tensor {
  if (present.length === 0) return zeros([]);
  return linalg.vectorNorm(stack(foreachNorm(present, normType)), normType);
}

/** The joint p-norm of tensors: `[]`, no graph. Does not synchronize. */
export function getTotalNorm(tensors: Tensor | Iterable<Tensor>, normType = 2): Tensor {
  atMost("getTotalNorm", arguments, 2);
  checkArguments("getTotalNorm", { normType }, { normType: real("[1, ∞]") });
  return noGrad(() => scope(() => totalNorm(TensorList.of(listOf("getTotalNorm", tensors)), normType)));
}

/**
 * Scale gradients in place so that their joint p-norm is at most `maxNorm`.
 *
 * With `n` the p-norm over all gradients: `g ← g · min(1, maxNorm / (n + 1e-6))`. `maxNorm` is in unscaled gradient units:
 * under loss scaling, unscale first (the Trainer does).
 *
 * @param params - Parameters of any shape; gradients float16, bfloat16, float32 or float64. Null gradients are ignored.
 * @param maxNorm - Finite, > 0.
 * @returns The norm before clipping: shape `[]`, no graph, on the first gradient's device. Does not synchronize, unless
 * `errorIfNonfinite`.
 * @throws {ArgumentError} `clipGradNorm: expected maxNorm to be finite and > 0. Received: -1.`
 * @throws {NbitError} `NON_FINITE_NORM` with `errorIfNonfinite`.
 * @example
 * a.grad = tensor([3]); b.grad = tensor([4]);
 * clipGradNorm([a, b], 2.5).item(); // 5
 * @see Pascanu et al., 2013, arXiv:1211.5063; the 1e-6 is PyTorch's.
 */
export function clipGradNorm(
  params: Tensor | Iterable<Tensor>,
  maxNorm: number,
  options: ClipNormOptions = {},
): Tensor {
  atMost("clipGradNorm", arguments, 3);
  checkOptions("clipGradNorm", options, NAMES);
  if (!(Number.isFinite(maxNorm) && maxNorm > 0))
    throw new ArgumentError("clipGradNorm", "maxNorm to be finite and > 0", maxNorm);
  const normType = options.normType ?? 2;
  const list = listOf("clipGradNorm", params);
  return noGrad(() =>
    scope(() =>
      overGradients(list, (present) => {
        const norm = totalNorm(present, normType);
        if (options.errorIfNonfinite === true && !Number.isFinite(norm.item()))
          throw new NbitError(
            `clipGradNorm: expected a finite norm. Received: ${norm.item()}. A gradient is infinite or NaN.`,
            "NON_FINITE_NORM",
          );
        if (present.length > 0) foreachMul_(present, clamp(norm.add(1e-6).reciprocal().mul(maxNorm), { max: 1 }));
        return norm;
      }),
    ),
  );
}

/**
 * Clamp every element of every gradient to [-clipValue, clipValue], in place; of complex ones the real and the
 * imaginary part each. Does not synchronize.
 * @throws {ArgumentError} `clipGradValue: expected clipValue to be finite and > 0. Received: 0.`
 */
export function clipGradValue(params: Tensor | Iterable<Tensor>, clipValue: number): void {
  atMost("clipGradValue", arguments, 2);
  if (!(Number.isFinite(clipValue) && clipValue > 0))
    throw new ArgumentError("clipGradValue", "clipValue to be finite and > 0", clipValue);
  const list = listOf("clipGradValue", params);
  noGrad(() =>
    scope(() =>
      overGradients(list, (present) => {
        if (present.length === 0) return;
        const real = list.some((p) => p.isComplex()) ? TensorList.of(present.toArray().map(parts)) : present;
        foreachClampMin_(real, -clipValue);
        foreachClampMax_(real, clipValue);
      }),
    ),
  );
}
