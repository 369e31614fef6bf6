/** Rows of tables by their indices. */
import { noGrad } from "../../autograd/modes.js";
import { ArgumentError } from "../../errors.js";
import { byDefault, oneOf, orNull, real, whole } from "../../kinds.js";
import * as ops from "../../ops/index.js";
import { signature, type Call } from "../../signature.js";
import { isTensor } from "../../tensor/handle.js";
import { tensorKind } from "../../tensor/kinds.js";
import type { Tensor } from "../../tensor/tensor.js";
import { inPlace } from "../in-place.js";
import { anyNumber, input, none, off, type InputArguments } from "./rows.js";

export interface LookUpOptions {
  /** Rows that are used and whose norm is larger are scaled down to it first, in place. Default null. */
  readonly maxNorm?: number | null;
  /** p of that norm. Default 2. */
  readonly normType?: number;
  /** Divide gradients by how often an index occurs in the batch. Default false. */
  readonly scaleGradByFreq?: boolean;
  /** Sparse gradients. Default false. */
  readonly sparse?: boolean;
}
export interface EmbeddingFunctionArguments extends LookUpOptions, InputArguments {
  /** `[numEmbeddings, embeddingDim]` */
  readonly weight: Tensor;
  /** This row gets no gradient; negative counts from the end. Default null: none. */
  readonly paddingIdx?: number | null;
}
/** @internal */
export const maxNormKind = orNull(real());
/** @internal */
export const paddingIdxKind = orNull(whole());
const readEmbedding = signature("embedding", {
  input,
  weight: tensorKind,
  paddingIdx: byDefault(null, paddingIdxKind),
  maxNorm: byDefault(null, maxNormKind),
  normType: byDefault(2, anyNumber),
  scaleGradByFreq: off,
  sparse: off,
});

/** @internal Counted from the start; null stays null. */
export function rowOf(fn: string, paddingIdx: number | null, rows: number): number | null {
  if (paddingIdx === null) return null;
  if (paddingIdx >= rows || paddingIdx < -rows) throw new ArgumentError(fn, `paddingIdx within ±${rows}`, paddingIdx);
  return paddingIdx < 0 ? paddingIdx + rows : paddingIdx;
}
const renorm = inPlace("embedding_renorm_");
/** Rows above the norm are scaled down, without a graph. */
function scaleDown(weight: Tensor, indices: Tensor, maxNorm: number, normType: number): void {
  noGrad(() => renorm(weight.detach(), indices.contiguous(), maxNorm, normType));
}

/**
 * Rows of `weight` at the indices of `input`.
 * @param input - int64 or int32 of any shape; the result has one dimension more.
 * @example nn.functional.embedding(tensor([[0, 2]]), ones([3, 4])).shape; // [1, 2, 4]
 */
export function embedding(
  ...given: Call<
    EmbeddingFunctionArguments,
    ["input", "weight", "paddingIdx", "maxNorm", "normType", "scaleGradByFreq", "sparse"],
    [
      input: Tensor,
      weight: Tensor,
      paddingIdx?: number | null,
      maxNorm?: number | null,
      normType?: number,
      scaleGradByFreq?: boolean,
      sparse?: boolean,
    ]
  >
): Tensor {
  const { input, weight, paddingIdx, maxNorm, normType, scaleGradByFreq, sparse } = readEmbedding(given);
  checkIndices("embedding", input, weight);
  const row = rowOf("embedding", paddingIdx, weight.ndim === 0 ? 0 : weight.size(0));
  if (maxNorm !== null) scaleDown(weight, input, maxNorm, normType);
  return ops.embedding(weight, input, row ?? -1, scaleGradByFreq, sparse);
}

/** The other order, which is that of `torch.embedding`, would be found late and said in other words. */
function checkIndices(fn: string, input: Tensor, weight: Tensor): void {
  if (!input.isFloatingPoint()) return;
  const swapped = isTensor(weight) && !weight.isFloatingPoint();
  throw new ArgumentError(
    fn,
    "input to be indices: int64 or int32",
    input,
    swapped ? "Give the indices first: (input, weight)." : "",
  );
}

export type BagMode = "sum" | "mean" | "max";
export interface EmbeddingBagFunctionArguments extends LookUpOptions, InputArguments {
  /** `[numEmbeddings, embeddingDim]` */
  readonly weight: Tensor;
  /** `[B]`: where each bag begins in indices of one dimension; null for indices `[B, N]`. Default null. */
  readonly offsets?: Tensor | null;
  /** What becomes of the rows of a bag. Default "mean". */
  readonly mode?: BagMode;
  /** What each index counts, of the indices' shape; with mode "sum". Default null. */
  readonly perSampleWeights?: Tensor | null;
  /** The last offset is where the last bag ends. Default false. */
  readonly includeLastOffset?: boolean;
  /** Indices of this row count for nothing; negative counts from the end. Default null. */
  readonly paddingIdx?: number | null;
}
const MODES: Readonly<Record<BagMode, number>> = { sum: 0, mean: 1, max: 2 };
/** @internal */
export const bagModeKind = oneOf("sum", "mean", "max");
const readBag = signature("embeddingBag", {
  input,
  weight: tensorKind,
  offsets: none,
  maxNorm: byDefault(null, maxNormKind),
  normType: byDefault(2, anyNumber),
  scaleGradByFreq: off,
  mode: byDefault("mean", bagModeKind),
  sparse: off,
  perSampleWeights: none,
  includeLastOffset: off,
  paddingIdx: byDefault(null, paddingIdxKind),
});

/**
 * Sums, means or maxima of rows of `weight`, without the rows themselves.
 * @param input - Indices, int64 or int32: `[B, N]`, a bag each row, or `[N]` with `offsets`.
 * @returns `[B, embeddingDim]`
 */
export function embeddingBag(
  ...given: Call<
    EmbeddingBagFunctionArguments,
    [
      "input",
      "weight",
      "offsets",
      "maxNorm",
      "normType",
      "scaleGradByFreq",
      "mode",
      "sparse",
      "perSampleWeights",
      "includeLastOffset",
      "paddingIdx",
    ],
    [
      input: Tensor,
      weight: Tensor,
      offsets?: Tensor | null,
      maxNorm?: number | null,
      normType?: number,
      scaleGradByFreq?: boolean,
      mode?: BagMode,
      sparse?: boolean,
      perSampleWeights?: Tensor | null,
      includeLastOffset?: boolean,
      paddingIdx?: number | null,
    ]
  >
): Tensor {
  const a = readBag(given);
  checkBag(a);
  const { input, weight, mode, perSampleWeights } = a;
  const flat = input.ndim === 2;
  const indices = flat ? input.reshape([-1]) : input;
  const offsets = flat
    ? ops.arange(0, input.numel(), Math.max(1, input.size(1)), { dtype: input.dtype, device: input.device })
    : (a.offsets as Tensor);
  if (a.maxNorm !== null) scaleDown(weight, indices, a.maxNorm, a.normType);
  const [result, ...parts] = ops.embeddingBag(
    weight,
    indices,
    offsets,
    a.scaleGradByFreq,
    MODES[mode],
    a.sparse,
    perSampleWeights === null || !flat ? perSampleWeights : perSampleWeights.reshape([-1]),
    !flat && a.includeLastOffset,
    rowOf("embeddingBag", a.paddingIdx, weight.size(0)),
  );
  for (const part of parts) part.dispose();
  return result;
}

function checkBag({ input, weight, offsets, mode, sparse, scaleGradByFreq, perSampleWeights }: BagValues): void {
  const fail = (expected: string, received: unknown): never => {
    throw new ArgumentError("embeddingBag", expected, received);
  };
  checkIndices("embeddingBag", input, weight);
  if (weight.ndim !== 2) fail("weight to have 2 dimensions", weight);
  if (input.ndim !== 1 && input.ndim !== 2) fail("input to have 1 or 2 dimensions", input);
  if (input.ndim === 2 && offsets !== null) fail("offsets to be null for an input of 2 dimensions", offsets);
  if (input.ndim === 1 && offsets?.ndim !== 1) fail("offsets of 1 dimension for an input of 1 dimension", offsets);
  if (perSampleWeights !== null && String(perSampleWeights.shape) !== String(input.shape))
    fail(`perSampleWeights of the input's shape [${input.shape.join(", ")}]`, perSampleWeights);
  if (perSampleWeights !== null && mode !== "sum") fail('mode "sum" with perSampleWeights', mode);
  if (mode === "max" && scaleGradByFreq) fail('scaleGradByFreq to be false with mode "max"', true);
  if (mode === "max" && sparse) fail('sparse to be false with mode "max"', true);
}
type BagValues = ReturnType<typeof readBag>;
