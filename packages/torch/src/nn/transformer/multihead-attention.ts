/** Attention with several heads as a layer. */
import { ArgumentError } from "../../errors.js";
import { byDefault, flag, orNull, real } from "../../kinds.js";
import type { OptionNames } from "../../options.js";
import { signature, type Call } from "../../signature.js";
import { deviceKind, dtypeKind, tensorKind } from "../../tensor/kinds.js";
import type { Tensor } from "../../tensor/tensor.js";
import { constant_, xavierNormal_, xavierUniform_ } from "../init.js";
import { positive } from "../kernels.js";
import { emptyParameter, Linear, type FactoryOptions } from "../linear.js";
import { Module } from "../module.js";
import type { Parameter } from "../parameter.js";
import { attend } from "./attention-forward.js";

export interface MultiheadAttentionArguments extends FactoryOptions {
  /** Features of queries and outputs; every head has `embedDim / numHeads` of them. */
  readonly embedDim: number;
  readonly numHeads: number;
  /** Probability with which weights are zeroed while training. Default 0. */
  readonly dropout?: number;
  /** Of all projections. Default true. */
  readonly bias?: boolean;
  /** Learn one more key and one more value. Default false. */
  readonly addBiasKv?: boolean;
  /** One more key and value of zeros. Default false. */
  readonly addZeroAttn?: boolean;
  /** Features of keys. Default null: `embedDim`. */
  readonly kdim?: number | null;
  /** Features of values. Default null: `embedDim`. */
  readonly vdim?: number | null;
  /** Inputs and outputs are `[N, L, E]`. Default false: `[L, N, E]`. */
  readonly batchFirst?: boolean;
}
const read = signature("MultiheadAttention", {
  embedDim: positive,
  numHeads: positive,
  dropout: byDefault(0, real("[0, 1]")),
  bias: byDefault(true, flag),
  addBiasKv: byDefault(false, flag),
  addZeroAttn: byDefault(false, flag),
  kdim: byDefault(null, orNull(positive)),
  vdim: byDefault(null, orNull(positive)),
  batchFirst: byDefault(false, flag),
  device: byDefault(null, orNull(deviceKind)),
  dtype: byDefault(null, orNull(dtypeKind)),
} satisfies OptionNames<MultiheadAttentionArguments>);
type AttentionCall = Call<
  MultiheadAttentionArguments,
  ["embedDim", "numHeads", "dropout", "bias", "addBiasKv", "addZeroAttn", "kdim", "vdim", "batchFirst"],
  [
    embedDim: number,
    numHeads: number,
    dropout?: number,
    bias?: boolean,
    addBiasKv?: boolean,
    addZeroAttn?: boolean,
    kdim?: number | null,
    vdim?: number | null,
    batchFirst?: boolean,
  ]
>;

export interface AttentionInputs {
  /** `[L, N, E]`, `[N, L, E]` with `batchFirst`, `[L, E]` without a batch. */
  readonly query: Tensor;
  /** `[S, N, kdim]`, and so on. */
  readonly key: Tensor;
  /** `[S, N, vdim]`, and so on. */
  readonly value: Tensor;
  /** `[N, S]`, or `[S]`: keys that nobody sees: true, or a number that is added. Default null. */
  readonly keyPaddingMask?: Tensor | null;
  /** Return the weights too, which is slower and needs memory for them. Default true. */
  readonly needWeights?: boolean;
  /** `[L, S]` or `[N · numHeads, L, S]`: what a query does not see: true, or a number that is added. Default null. */
  readonly attnMask?: Tensor | null;
  /** The weights are averaged over the heads. Default true. */
  readonly averageAttnWeights?: boolean;
  /** `attnMask` is the causal one, which a faster kernel knows. Default false. */
  readonly isCausal?: boolean;
}
const maybe = byDefault(null, orNull(tensorKind));
const readInputs = signature("MultiheadAttention.forward", {
  query: tensorKind,
  key: tensorKind,
  value: tensorKind,
  keyPaddingMask: maybe,
  needWeights: byDefault(true, flag),
  attnMask: maybe,
  averageAttnWeights: byDefault(true, flag),
  isCausal: byDefault(false, flag),
} satisfies OptionNames<AttentionInputs>);
export type AttentionInputsCall = Call<
  AttentionInputs,
  ["query", "key", "value", "keyPaddingMask", "needWeights", "attnMask", "averageAttnWeights", "isCausal"],
  [
    query: Tensor,
    key: Tensor,
    value: Tensor,
    keyPaddingMask?: Tensor | null,
    needWeights?: boolean,
    attnMask?: Tensor | null,
    averageAttnWeights?: boolean,
    isCausal?: boolean,
  ]
>;

/** A Linear under the name that PyTorch prints. */
class NonDynamicallyQuantizableLinear extends Linear {}

/**
 * Vaswani et al., 2017. For every head `softmax(Q Kᵀ / √d + mask) V` of the projected inputs; the heads side by side,
 * projected again. Projections of the inputs are drawn by Xavier's rule, biases are 0.
 *
 * @example
 * const attention = new nn.MultiheadAttention(16, 4, { batchFirst: true });
 * const [y, weights] = attention.forward(x, x, x); // x [N, L, 16] → [N, L, 16], [N, L, L]
 * const [fast] = attention.forward(x, x, x, { needWeights: false });
 */
export class MultiheadAttention extends Module {
  readonly embedDim: number;
  readonly kdim: number;
  readonly vdim: number;
  readonly numHeads: number;
  dropout: number;
  readonly batchFirst: boolean;
  readonly headDim: number;
  readonly addZeroAttn: boolean;
  /** `[3E, E]`; null where keys or values have other features: then there are three. */
  inProjWeight: Parameter | null;
  qProjWeight: Parameter | null;
  kProjWeight: Parameter | null;
  vProjWeight: Parameter | null;
  inProjBias: Parameter | null;
  biasK: Parameter | null;
  biasV: Parameter | null;
  outProj: Linear;

  constructor(...given: AttentionCall) {
    super();
    const type = new.target.name;
    const { embedDim, numHeads, dropout, bias, addBiasKv, addZeroAttn, kdim, vdim, batchFirst, ...factory } = read(
      given,
      type,
    );
    if (embedDim % numHeads !== 0)
      throw new ArgumentError(type, `embedDim (${embedDim}) to be divisible by numHeads`, numHeads);
    this.embedDim = embedDim;
    this.kdim = kdim ?? embedDim;
    this.vdim = vdim ?? embedDim;
    this.numHeads = numHeads;
    this.dropout = dropout;
    this.batchFirst = batchFirst;
    this.headDim = embedDim / numHeads;
    this.addZeroAttn = addZeroAttn;
    const one = this.kdim === embedDim && this.vdim === embedDim;
    const weight = (rows: number, columns: number): Parameter => emptyParameter([rows, columns], factory);
    this.qProjWeight = one ? null : weight(embedDim, embedDim);
    this.kProjWeight = one ? null : weight(embedDim, this.kdim);
    this.vProjWeight = one ? null : weight(embedDim, this.vdim);
    this.inProjWeight = one ? weight(3 * embedDim, embedDim) : null;
    this.inProjBias = bias ? emptyParameter([3 * embedDim], factory) : null;
    this.biasK = addBiasKv ? emptyParameter([1, 1, embedDim], factory) : null;
    this.biasV = addBiasKv ? emptyParameter([1, 1, embedDim], factory) : null;
    this.outProj = new NonDynamicallyQuantizableLinear(embedDim, embedDim, { bias, ...factory });
    for (const w of [this.inProjWeight, this.qProjWeight, this.kProjWeight, this.vProjWeight])
      if (w !== null) xavierUniform_(w);
    if (this.inProjBias !== null) constant_(this.inProjBias, 0);
    if (bias && this.outProj.bias !== null) constant_(this.outProj.bias, 0);
    if (this.biasK !== null) xavierNormal_(this.biasK);
    if (this.biasV !== null) xavierNormal_(this.biasV);
  }

  /**
   * @returns The output in the form of the query, and the weights: `[N, L, S]`, without averaging `[N, numHeads, L, S]`,
   *   without N for inputs without a batch; null where they are not needed.
   * @throws {ArgumentError} for shapes that do not fit one another, masks that are neither bool nor in floating point, and
   *   `isCausal` without a mask.
   */
  forward(...given: AttentionInputsCall): [output: Tensor, weights: Tensor | null] {
    const fn = `${this.constructor.name}.forward`;
    const { query, key, value, ...how } = readInputs(given, fn);
    const turn = this.batchFirst && query.ndim === 3;
    // What is one tensor stays one: its projections are one product.
    const turned = new Map<Tensor, Tensor>();
    const lengthFirst = (t: Tensor): Tensor => {
      if (!turn || t.ndim !== 3) return t;
      const known = turned.get(t) ?? t.transpose(1, 0);
      turned.set(t, known);
      return known;
    };
    const [output, weights] = attend(fn, {
      ...how,
      query: lengthFirst(query),
      key: lengthFirst(key),
      value: lengthFirst(value),
      embedDimToCheck: this.embedDim,
      numHeads: this.numHeads,
      inProjWeight: this.inProjWeight,
      inProjBias: this.inProjBias,
      biasK: this.biasK,
      biasV: this.biasV,
      addZeroAttn: this.addZeroAttn,
      dropoutP: this.dropout,
      outProjWeight: this.outProj.weight,
      outProjBias: this.outProj.bias,
      training: this.training,
      useSeparateProjWeight: this.inProjWeight === null,
      qProjWeight: this.qProjWeight,
      kProjWeight: this.kProjWeight,
      vProjWeight: this.vProjWeight,
      staticK: null,
      staticV: null,
    });
    return [turn ? output.transpose(1, 0) : output, weights];
  }
}
