/** Gradient clipping. */
import { noGrad } from "../autograd/modes.js";
import { ArgumentError, NbitError } from "../errors.js";
import { byDefault, flag, orNull, real, such } from "../kinds.js";
import type { OptionNames } from "../options.js";
import { clamp, linalg, stack, zeros } from "../ops/index.js";
import { iterated } from "../read-once.js";
import { signature, type Call } from "../signature.js";
import { isTensor } from "../tensor/handle.js";
import { tensorKind } from "../tensor/kinds.js";
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

type Tensors = Tensor | Iterable<Tensor>;
/** Whatever its length: {@link iterated} looks at that. */
const TENSORS = such<Tensors>(
  "a tensor, or an array or another iterable",
  (v) => typeof v === "object" && v !== null && (isTensor(v) || Symbol.iterator in v),
);
function listOf(fn: string, name: string, tensors: Tensors): Tensor[] {
  const list = isTensor(tensors) ? [tensors] : iterated(fn, name, tensors);
  for (const p of list) if (!isTensor(p)) throw new ArgumentError(fn, `${name} to be tensors`, p);
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
  /** The p of the norm, 2 by default; `Infinity` is the largest |g|. */
  readonly normType?: number;
  /** Throw when the norm is not finite; waits for the device. Default false. */
  readonly errorIfNonfinite?: boolean;
  /** PyTorch's choice of an implementation: there is one here, so that results are the same either way. */
  readonly foreach?: boolean | null;
}
const FOREACH = byDefault(null, orNull(flag));
const NORM = {
  normType: byDefault(2, real("[-∞, ∞]")),
  errorIfNonfinite: byDefault(false, flag),
  foreach: FOREACH,
} satisfies OptionNames<ClipNormOptions>;
type NormOrder = ["normType", "errorIfNonfinite", "foreach"];
type NormPositions = [normType?: number, errorIfNonfinite?: boolean, foreach?: boolean | null];
/** ∞ changes nothing, for who wants the norm alone. */
const MAX_NORM = real("[0, ∞]");

function totalNorm(fn: string, present: TensorList, normType: number, errorIfNonfinite: boolean): Tensor {
  if (present.length === 0) return zeros([]);
  const norm = linalg.vectorNorm(stack(foreachNorm(present, normType)), normType);
  if (errorIfNonfinite && !Number.isFinite(norm.item()))
    throw new NbitError(
      `${fn}: expected a finite norm. Received: ${norm.item()}. A gradient is infinite or NaN.`,
      "NON_FINITE_NORM",
    );
  return norm;
}
function scale(present: TensorList, maxNorm: number, norm: Tensor): void {
  if (present.length > 0) foreachMul_(present, clamp(norm.add(1e-6).reciprocal().mul(maxNorm), { max: 1 }));
}

export interface TotalNormArguments extends ClipNormOptions {
  readonly tensors: Tensors;
}
const readTotal = signature("getTotalNorm", { tensors: TENSORS, ...NORM } satisfies OptionNames<TotalNormArguments>);
/**
 * The joint p-norm of tensors: `[]`, no graph. Arguments: tensors, normType, errorIfNonfinite, foreach. Does not
 * synchronize, unless `errorIfNonfinite`.
 */
export function getTotalNorm(
  ...given: Call<TotalNormArguments, ["tensors", ...NormOrder], [tensors: Tensors, ...NormPositions]>
): Tensor {
  const { tensors, normType, errorIfNonfinite } = readTotal(given);
  const list = listOf("getTotalNorm", "tensors", tensors);
  return noGrad(() => scope(() => totalNorm("getTotalNorm", TensorList.of(list), normType, errorIfNonfinite)));
}

export interface ClipNormArguments extends ClipNormOptions {
  readonly parameters: Tensors;
  readonly maxNorm: number;
}
const readNorm = signature("clipGradNorm", {
  parameters: TENSORS,
  maxNorm: MAX_NORM,
  ...NORM,
} satisfies OptionNames<ClipNormArguments>);
/**
 * Scale gradients in place so that their joint p-norm is at most `maxNorm`.
 *
 * With `n` the p-norm over all gradients: `g ← g · min(1, maxNorm / (n + 1e-6))`. `maxNorm` is in unscaled gradient units:
 * under loss scaling, unscale first (the Trainer does).
 *
 * @param given - parameters, maxNorm, normType, errorIfNonfinite, foreach. `parameters`: of any shape; gradients float16,
 *   bfloat16, float32 or float64; null gradients are ignored. `maxNorm`: ≥ 0; `Infinity` changes nothing.
 * @returns The norm before clipping: shape `[]`, no graph, on the first gradient's device. Does not synchronize, unless
 * `errorIfNonfinite`.
 * @throws {ArgumentError} `clipGradNorm: expected maxNorm to be a number ≥ 0. Received: -1.`
 * @throws {NbitError} `NON_FINITE_NORM` with `errorIfNonfinite`.
 * @example
 * a.grad = tensor([3]); b.grad = tensor([4]);
 * clipGradNorm_([a, b], 2.5).item(); // 5
 * @see Pascanu et al., 2013, arXiv:1211.5063; the 1e-6 is PyTorch's.
 */
export function clipGradNorm_(
  ...given: Call<
    ClipNormArguments,
    ["parameters", "maxNorm", ...NormOrder],
    [parameters: Tensors, maxNorm: number, ...NormPositions]
  >
): Tensor {
  const { parameters, maxNorm, normType, errorIfNonfinite } = readNorm(given);
  const list = listOf("clipGradNorm", "parameters", parameters);
  return noGrad(() =>
    scope(() =>
      overGradients(list, (present) => {
        const norm = totalNorm("clipGradNorm", present, normType, errorIfNonfinite);
        scale(present, maxNorm, norm);
        return norm;
      }),
    ),
  );
}

export interface ClipWithNormArguments {
  readonly parameters: Tensors;
  readonly maxNorm: number;
  /** Their joint norm, as {@link getTotalNorm} has it. */
  readonly totalNorm: Tensor;
  readonly foreach?: boolean | null;
}
const readWithNorm = signature("clipGradsWithNorm_", {
  parameters: TENSORS,
  maxNorm: MAX_NORM,
  totalNorm: tensorKind,
  foreach: FOREACH,
} satisfies OptionNames<ClipWithNormArguments>);
/**
 * {@link clipGradNorm_} with a norm that is known: of parameters that are clipped apart. Arguments: parameters, maxNorm,
 * totalNorm, foreach.
 */
export function clipGradsWithNorm_(
  ...given: Call<
    ClipWithNormArguments,
    ["parameters", "maxNorm", "totalNorm", "foreach"],
    [parameters: Tensors, maxNorm: number, totalNorm: Tensor, foreach?: boolean | null]
  >
): void {
  const { parameters, maxNorm, totalNorm: norm } = readWithNorm(given);
  const list = listOf("clipGradsWithNorm_", "parameters", parameters);
  noGrad(() =>
    scope(() =>
      overGradients(list, (present) => {
        scale(present, maxNorm, norm);
      }),
    ),
  );
}

export interface ClipValueArguments {
  readonly parameters: Tensors;
  readonly clipValue: number;
  readonly foreach?: boolean | null;
}
const readValue = signature("clipGradValue", {
  parameters: TENSORS,
  clipValue: real("[0, ∞]"),
  foreach: FOREACH,
} satisfies OptionNames<ClipValueArguments>);
/**
 * Clamp every element of every gradient to [-clipValue, clipValue], in place; of complex ones the real and the
 * imaginary part each. Arguments: parameters, clipValue, foreach. Does not synchronize.
 * @throws {ArgumentError} `clipGradValue: expected clipValue to be a number ≥ 0. Received: -1.`
 */
export function clipGradValue_(
  ...given: Call<
    ClipValueArguments,
    ["parameters", "clipValue", "foreach"],
    [parameters: Tensors, clipValue: number, foreach?: boolean | null]
  >
): void {
  const { parameters, clipValue } = readValue(given);
  const list = listOf("clipGradValue", "parameters", parameters);
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
