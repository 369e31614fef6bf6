/** Attention with several heads, as one function of all that it takes. */
import { ArgumentError, verbatim } from "../../errors.js";
import { byDefault, flag, orNull, real } from "../../kinds.js";
import {
  baddbmm,
  bmm,
  cat,
  constantPadNd,
  dropout,
  linear,
  scaledDotProductAttention,
  zeros,
} from "../../ops/index.js";
import type { OptionNames } from "../../options.js";
import { signature, type Call } from "../../signature.js";
import type { DType } from "../../tensor/dtype.js";
import { tensorKind } from "../../tensor/kinds.js";
import type { Tensor } from "../../tensor/tensor.js";
import { positive } from "../kernels.js";
import { additiveMask } from "./masks.js";

export interface MultiHeadAttentionForwardArguments {
  /** `[L, N, E]`, or `[L, E]` without a batch. */
  readonly query: Tensor;
  /** `[S, N, E]`, or `[S, E]`; with separate projections of any number of features. */
  readonly key: Tensor;
  readonly value: Tensor;
  /** E. */
  readonly embedDimToCheck: number;
  readonly numHeads: number;
  /** `[3E, E]`: the projections of query, key and value one below the other. */
  readonly inProjWeight: Tensor | null;
  /** `[3E]`. */
  readonly inProjBias: Tensor | null;
  /** `[1, 1, E]`: one more key, and one more value. */
  readonly biasK: Tensor | null;
  readonly biasV: Tensor | null;
  /** One more key and value of zeros. */
  readonly addZeroAttn: boolean;
  readonly dropoutP: number;
  /** `[E, E]`. */
  readonly outProjWeight: Tensor;
  readonly outProjBias: Tensor | null;
  /** Drop out. Default true. */
  readonly training?: boolean;
  /** `[N, S]`, or `[S]`: keys that nobody sees, true or added. Default null. */
  readonly keyPaddingMask?: Tensor | null;
  /** Return the weights too, which is slower. Default true. */
  readonly needWeights?: boolean;
  /** `[L, S]` or `[N · numHeads, L, S]`: what a query does not see of the keys, true or added. Default null. */
  readonly attnMask?: Tensor | null;
  /** Project by three weights. Default false. */
  readonly useSeparateProjWeight?: boolean;
  readonly qProjWeight?: Tensor | null;
  readonly kProjWeight?: Tensor | null;
  readonly vProjWeight?: Tensor | null;
  /** `[N · numHeads, S, E / numHeads]`: keys that have been projected. Default null. */
  readonly staticK?: Tensor | null;
  readonly staticV?: Tensor | null;
  /** The weights are averaged over the heads. Default true. */
  readonly averageAttnWeights?: boolean;
  /** `attnMask` is the causal one, which a faster kernel knows. Default false. */
  readonly isCausal?: boolean;
}
const maybe = orNull(tensorKind);
const ROWS = {
  query: tensorKind,
  key: tensorKind,
  value: tensorKind,
  embedDimToCheck: positive,
  numHeads: positive,
  inProjWeight: maybe,
  inProjBias: maybe,
  biasK: maybe,
  biasV: maybe,
  addZeroAttn: flag,
  dropoutP: real("[0, 1]"),
  outProjWeight: tensorKind,
  outProjBias: maybe,
  training: byDefault(true, flag),
  keyPaddingMask: byDefault(null, maybe),
  needWeights: byDefault(true, flag),
  attnMask: byDefault(null, maybe),
  useSeparateProjWeight: byDefault(false, flag),
  qProjWeight: byDefault(null, maybe),
  kProjWeight: byDefault(null, maybe),
  vProjWeight: byDefault(null, maybe),
  staticK: byDefault(null, maybe),
  staticV: byDefault(null, maybe),
  averageAttnWeights: byDefault(true, flag),
  isCausal: byDefault(false, flag),
} satisfies OptionNames<MultiHeadAttentionForwardArguments>;
const FN = "multiHeadAttentionForward";
const read = signature(FN, ROWS);
type Positions = [
  query: Tensor,
  key: Tensor,
  value: Tensor,
  embedDimToCheck: number,
  numHeads: number,
  inProjWeight: Tensor | null,
  inProjBias: Tensor | null,
  biasK: Tensor | null,
  biasV: Tensor | null,
  addZeroAttn: boolean,
  dropoutP: number,
  outProjWeight: Tensor,
  outProjBias: Tensor | null,
  training?: boolean,
  keyPaddingMask?: Tensor | null,
  needWeights?: boolean,
  attnMask?: Tensor | null,
];
type Order = [
  "query",
  "key",
  "value",
  "embedDimToCheck",
  "numHeads",
  "inProjWeight",
  "inProjBias",
  "biasK",
  "biasV",
  "addZeroAttn",
  "dropoutP",
  "outProjWeight",
  "outProjBias",
  "training",
  "keyPaddingMask",
  "needWeights",
  "attnMask",
];

/**
 * Vaswani et al., 2017: every head h projects query, key and value, and adds up values by `softmax(Q Kᵀ / √d + mask)`; the
 * heads side by side are projected again. What {@link MultiheadAttention} computes.
 *
 * @returns The output in the form of the query, and the weights: `[N, L, S]`, without averaging `[N, numHeads, L, S]`,
 *   without N for an input without a batch; null where they are not needed. Without them
 *   `scaledDotProductAttention` computes, which never holds them.
 * @throws {ArgumentError} for shapes that do not fit one another, masks of other dtypes than bool and floating point, and
 *   `isCausal` without a mask.
 */
export function multiHeadAttentionForward(
  ...given: Call<MultiHeadAttentionForwardArguments, Order, Positions>
): [output: Tensor, weights: Tensor | null] {
  return attend(FN, read(given));
}

type Arguments = Required<MultiHeadAttentionForwardArguments>;
/** Keys and values, and what of them is not to be seen: both grow by rows that are added. */
interface Keys {
  readonly k: Tensor;
  readonly v: Tensor;
  readonly mask: Tensor | null;
  readonly padding: Tensor | null;
}
interface Sizes {
  readonly length: number;
  readonly batch: number;
  readonly heads: number;
  readonly width: number;
}

/** @internal The same for arguments that have been read. */
export function attend(fn: string, a: Arguments): [Tensor, Tensor | null] {
  const batched = checkDims(fn, a);
  const add = (t: Tensor): Tensor => (batched ? t : t.unsqueeze(1));
  const query = add(a.query);
  const key = a.key === a.query ? query : add(a.key);
  const value = a.value === a.key ? key : add(a.value);
  const [length, batch, features] = query.shape as [number, number, number];
  const sizes = { length, batch, heads: a.numHeads, width: features / a.numHeads };
  const masks = masksOf(fn, a, query.dtype, batched);
  const [q, k, v] = project(fn, a, query, key, value);
  const mask = masks.mask === null ? null : maskOf(fn, masks.mask, length, key.size(0), batch * a.numHeads);
  const learned = withBias(fn, a, { k, v, mask, padding: masks.padding }, batch);
  const keys = merged(fn, withZeros(a, headsOf(fn, a, learned, sizes), sizes), sizes);
  const p = a.training ? a.dropoutP : 0;
  const queries = heads(q, sizes);
  const [joined, weights] = a.needWeights
    ? withWeights(queries, keys, p, sizes)
    : [byKernel(queries, keys, p, masks.causal, sizes), null];
  const out = linear(joined, a.outProjWeight, a.outProjBias);
  const whole = out.view([length, batch, out.size(1)]);
  const shown = a.averageAttnWeights ? (weights?.mean([1]) ?? null) : weights;
  return batched ? [whole, shown] : [whole.squeeze(1), shown?.squeeze(0) ?? null];
}

/** The masks as numbers; null where the kernel makes the causal one itself, since nothing else needs one. */
function masksOf(
  fn: string,
  a: Arguments,
  dtype: DType,
  batched: boolean,
): { readonly mask: Tensor | null; readonly padding: Tensor | null; readonly causal: boolean } {
  const given = additiveMask(fn, "keyPaddingMask", a.keyPaddingMask, dtype);
  const padding = batched ? given : (given?.unsqueeze(0) ?? null);
  if (a.isCausal && padding === null && !a.needWeights) return { mask: null, padding, causal: true };
  const mask = additiveMask(fn, "attnMask", a.attnMask, dtype);
  return { mask, padding, causal: a.isCausal && padding === null };
}

const oneMore = (mask: Tensor | null): Tensor | null => (mask === null ? null : constantPadNd(mask, [0, 1]));

/** One more key and value that are learned. */
function withBias(fn: string, { biasK, biasV, staticK, staticV }: Arguments, keys: Keys, batch: number): Keys {
  if (biasK === null && biasV === null) return keys;
  if (biasK === null || biasV === null)
    throw new ArgumentError(
      fn,
      "biasK and biasV both, or neither",
      verbatim(biasK === null ? "biasV alone" : "biasK alone"),
    );
  if (staticK !== null || staticV !== null)
    throw new ArgumentError(fn, "no biasK and biasV where staticK or staticV are given", biasK);
  const each = [1, batch, 1];
  return {
    k: cat([keys.k, biasK.repeat(each)]),
    v: cat([keys.v, biasV.repeat(each)]),
    mask: oneMore(keys.mask),
    padding: oneMore(keys.padding),
  };
}

/** `[L, N, E]` → `[N · heads, L, E / heads]`. */
function heads(t: Tensor, { batch, heads: n, width }: Sizes): Tensor {
  return t.view([t.size(0), batch * n, width]).transpose(0, 1);
}
function headsOf(fn: string, { staticK, staticV }: Arguments, keys: Keys, sizes: Sizes): Keys {
  const n = sizes.batch * sizes.heads;
  return {
    ...keys,
    k: staticK === null ? heads(keys.k, sizes) : staticOf(fn, "staticK", staticK, n, sizes.width),
    v: staticV === null ? heads(keys.v, sizes) : staticOf(fn, "staticV", staticV, n, sizes.width),
  };
}
/** One more key and value of zeros. */
function withZeros(a: Arguments, keys: Keys, { batch, heads: n, width }: Sizes): Keys {
  if (!a.addZeroAttn) return keys;
  const { k, v } = keys;
  const row = zeros([batch * n, 1, width], { dtype: k.dtype, device: k.device });
  return { k: cat([k, row], 1), v: cat([v, row], 1), mask: oneMore(keys.mask), padding: oneMore(keys.padding) };
}
/** Mask and padding as one. */
function merged(fn: string, keys: Keys, { batch, heads: n }: Sizes): Keys {
  const { mask, padding } = keys;
  if (padding === null) return keys;
  const sources = keys.k.size(1);
  if (padding.size(0) !== batch || padding.size(1) !== sources)
    throw new ArgumentError(fn, `keyPaddingMask of shape [${batch}, ${sources}]`, padding);
  const every = padding
    .view([batch, 1, 1, sources])
    .expand([-1, n, -1, -1])
    .reshape([batch * n, 1, sources]);
  return { ...keys, mask: mask === null ? every : mask.add(every), padding: null };
}

/** @returns The heads side by side, `[L · N, E]`, and the weights, `[N, heads, L, S]`. */
function withWeights(q: Tensor, { k, v, mask }: Keys, p: number, sizes: Sizes): [Tensor, Tensor] {
  const { length, batch, heads: n, width } = sizes;
  const scaled = q.mul(Math.sqrt(1 / width));
  const turned = k.transpose(-2, -1);
  let weights = (mask === null ? bmm(scaled, turned) : baddbmm(mask, scaled, turned)).softmax(-1);
  if (p > 0) weights = dropout(weights, p, true);
  const joined = bmm(weights, v)
    .transpose(0, 1)
    .reshape([length * batch, n * width]);
  return [joined, weights.view([batch, n, length, k.size(1)])];
}
/** @returns The heads side by side, `[L · N, E]`. */
function byKernel(q: Tensor, { k, v, mask }: Keys, p: number, causal: boolean, sizes: Sizes): Tensor {
  const { length, batch, heads: n, width } = sizes;
  const sources = k.size(1);
  const each = (t: Tensor, rows: number): Tensor => t.view([batch, n, rows, width]);
  const seen = mask === null ? null : mask.size(0) === 1 ? mask.unsqueeze(0) : mask.view([batch, n, -1, sources]);
  const out = scaledDotProductAttention(each(q, length), each(k, sources), each(v, sources), seen, p, causal);
  return out.permute([2, 0, 1, 3]).reshape([batch * length, n * width]);
}

/** @returns Whether there is a dimension for the batch. */
function checkDims(fn: string, a: Arguments): boolean {
  const dims = a.query.ndim;
  if (dims !== 2 && dims !== 3) throw new ArgumentError(fn, "a query of 3 dimensions, or 2 without a batch", a.query);
  for (const name of ["key", "value"] as const)
    if (a[name].ndim !== dims) throw new ArgumentError(fn, `${name} to have ${dims} dimensions, as the query`, a[name]);
  if (a.keyPaddingMask !== null && a.keyPaddingMask.ndim !== dims - 1)
    throw new ArgumentError(fn, `keyPaddingMask of ${dims - 1} dimension${dims === 3 ? "s" : ""}`, a.keyPaddingMask);
  if (a.attnMask !== null && a.attnMask.ndim !== 2 && a.attnMask.ndim !== 3)
    throw new ArgumentError(fn, "attnMask of 2 or 3 dimensions", a.attnMask);
  const [k, v] = [a.key.shape, a.value.shape];
  const alike = a.useSeparateProjWeight ? -1 : k.length;
  if (String(k.slice(0, alike)) !== String(v.slice(0, alike)) || k.length !== v.length)
    throw new ArgumentError(
      fn,
      a.useSeparateProjWeight ? "key and value of one length and batch" : "key and value of one shape",
      verbatim(`[${k.join(", ")}] and [${v.join(", ")}]`),
    );
  if (dims === 3 && k[1] !== a.query.size(1))
    throw new ArgumentError(fn, `key and value of the query's batch (${a.query.size(1)})`, a.key);
  checkFeatures(fn, a);
  return dims === 3;
}
function checkFeatures(fn: string, { query, embedDimToCheck, numHeads, isCausal, attnMask }: Arguments): void {
  if (query.size(-1) !== embedDimToCheck) throw new ArgumentError(fn, `a query of ${embedDimToCheck} features`, query);
  if (embedDimToCheck % numHeads !== 0)
    throw new ArgumentError(fn, `features (${embedDimToCheck}) to be divisible by numHeads`, numHeads);
  if (isCausal && attnMask === null)
    throw new ArgumentError(
      fn,
      "attnMask where isCausal is true, since isCausal only says what the mask is",
      null,
      "Make it by nn.Transformer.generateSquareSubsequentMask(n).",
    );
}

/** `[1, L, S]` or `[N · heads, L, S]`. */
function maskOf(fn: string, mask: Tensor, length: number, sources: number, heads: number): Tensor {
  const expected = mask.ndim === 2 ? [length, sources] : [heads, length, sources];
  if (String(mask.shape) !== String(expected))
    throw new ArgumentError(fn, `attnMask of shape [${expected.join(", ")}]`, mask);
  return mask.ndim === 2 ? mask.unsqueeze(0) : mask;
}
function staticOf(fn: string, name: string, t: Tensor, heads: number, width: number): Tensor {
  if (t.ndim !== 3 || t.size(0) !== heads || t.size(2) !== width)
    throw new ArgumentError(fn, `${name} of shape [${heads}, S, ${width}]`, t);
  return t;
}

type Three = [q: Tensor, k: Tensor, v: Tensor];
function project(fn: string, a: Arguments, query: Tensor, key: Tensor, value: Tensor): Three {
  const features = query.size(-1);
  const biases = a.inProjBias?.chunk(3) ?? [null, null, null];
  if (a.useSeparateProjWeight) {
    const weights = [a.qProjWeight, a.kProjWeight, a.vProjWeight] as const;
    return [query, key, value].map((t, i) => {
      const w = weights[i] ?? null;
      const name = `${["q", "k", "v"][i] ?? ""}ProjWeight`;
      if (w === null) throw new ArgumentError(fn, `${name}, since useSeparateProjWeight is true`, w);
      if (String(w.shape) !== String([features, t.size(-1)]))
        throw new ArgumentError(fn, `${name} of shape [${features}, ${t.size(-1)}]`, w);
      return linear(t, w, biases[i] ?? null);
    }) as Three;
  }
  const weight = a.inProjWeight;
  if (weight === null) throw new ArgumentError(fn, "inProjWeight, since useSeparateProjWeight is false", weight);
  // Fewer and larger products where tensors are the same.
  if (key === value) {
    if (query === key) return parts(linear(query, weight, a.inProjBias), 3, features) as Three;
    const [wq, wkv] = weight.split([features, features * 2]) as [Tensor, Tensor];
    const [bq, bkv] = a.inProjBias?.split([features, features * 2]) ?? [null, null];
    const both = parts(linear(key, wkv, bkv ?? null), 2, features);
    return [linear(query, wq, bq ?? null), ...both] as Three;
  }
  const weights = weight.chunk(3);
  return [query, key, value].map((t, i) => linear(t, weights[i] as Tensor, biases[i] ?? null)) as Three;
}
/** `[…, n · E]` as n tensors `[…, E]`, each in one piece of memory. */
function parts(t: Tensor, n: number, features: number): Tensor[] {
  const all = t.unflatten(-1, [n, features]).unsqueeze(0).transpose(0, -2).squeeze(-2).contiguous();
  return Array.from({ length: n }, (_, i) => all.select(0, i));
}
