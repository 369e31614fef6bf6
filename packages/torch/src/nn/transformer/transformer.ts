/** Encoder and decoder together. */
import { ArgumentError } from "../../errors.js";
import { byDefault, flag, orNull, such, whole } from "../../kinds.js";
import type { OptionNames } from "../../options.js";
import { signature, type Call } from "../../signature.js";
import { tensorKind } from "../../tensor/kinds.js";
import type { Tensor } from "../../tensor/tensor.js";
import { xavierUniform_ } from "../init.js";
import { positive } from "../kernels.js";
import { LayerNorm } from "../layer-norm.js";
import { Module } from "../module.js";
import { TransformerDecoder, TransformerDecoderLayer, type DecoderInputs } from "./decoder.js";
import { TransformerEncoder, TransformerEncoderLayer, type EncoderInputs } from "./encoder.js";
import { generateSquareSubsequentMask } from "./masks.js";
import { FEED_FORWARD, MAYBE_MASK, NORMS, type Activation, type LayerOptions } from "./options.js";

/** Written out, so that a layer of one tensor may take a decoder's place in a subclass. */
type Encoder = Module & {
  forward(src: Tensor, mask?: Tensor | null, srcKeyPaddingMask?: Tensor | null, isCausal?: boolean | null): Tensor;
  forward(src: Tensor, options: Omit<EncoderInputs, "src">): Tensor;
};
type Decoder = Module & {
  forward(
    tgt: Tensor,
    memory: Tensor,
    tgtMask?: Tensor | null,
    memoryMask?: Tensor | null,
    tgtKeyPaddingMask?: Tensor | null,
    memoryKeyPaddingMask?: Tensor | null,
  ): Tensor;
  forward(tgt: Tensor, memory: Tensor, options: Omit<DecoderInputs, "tgt" | "memory">): Tensor;
};
export interface TransformerArguments extends LayerOptions {
  /** Features of inputs and outputs. Default 512. */
  readonly dModel?: number;
  /** Heads of attention. Default 8. */
  readonly nhead?: number;
  /** Default 6. */
  readonly numEncoderLayers?: number;
  /** Default 6. */
  readonly numDecoderLayers?: number;
  /** In the encoder's place. Default null. */
  readonly customEncoder?: Encoder | null;
  /** In the decoder's place. Default null. */
  readonly customDecoder?: Decoder | null;
}
const read = signature("Transformer", {
  dModel: byDefault(512, positive),
  nhead: byDefault(8, positive),
  numEncoderLayers: byDefault(6, whole("[1, ∞)")),
  numDecoderLayers: byDefault(6, whole("[1, ∞)")),
  ...FEED_FORWARD,
  customEncoder: byDefault(null, orNull(such<Encoder>("a Module", (v) => v instanceof Module))),
  customDecoder: byDefault(null, orNull(such<Decoder>("a Module", (v) => v instanceof Module))),
  ...NORMS,
} satisfies OptionNames<TransformerArguments>);
type TransformerCall = Call<
  TransformerArguments,
  [
    "dModel",
    "nhead",
    "numEncoderLayers",
    "numDecoderLayers",
    "dimFeedforward",
    "dropout",
    "activation",
    "customEncoder",
    "customDecoder",
    "layerNormEps",
    "batchFirst",
    "normFirst",
    "bias",
  ],
  [
    dModel?: number,
    nhead?: number,
    numEncoderLayers?: number,
    numDecoderLayers?: number,
    dimFeedforward?: number,
    dropout?: number,
    activation?: Activation,
    customEncoder?: Encoder | null,
    customDecoder?: Decoder | null,
    layerNormEps?: number,
    batchFirst?: boolean,
    normFirst?: boolean,
    bias?: boolean,
  ]
>;

export interface TransformerInputs {
  /** To the encoder: `[S, N, E]`, `[N, S, E]` with `batchFirst`, `[S, E]` without a batch. */
  readonly src: Tensor;
  /** To the decoder: `[T, N, E]`, and so on. */
  readonly tgt: Tensor;
  /** `[S, S]` or `[N · heads, S, S]`: what a position does not see: true, or a number that is added. Default null. */
  readonly srcMask?: Tensor | null;
  /** `[T, T]` or `[N · heads, T, T]`. Default null. */
  readonly tgtMask?: Tensor | null;
  /** `[T, S]` or `[N · heads, T, S]`. Default null. */
  readonly memoryMask?: Tensor | null;
  /** `[N, S]`, or `[S]`: positions that nobody sees. Default null. */
  readonly srcKeyPaddingMask?: Tensor | null;
  /** `[N, T]`, or `[T]`. Default null. */
  readonly tgtKeyPaddingMask?: Tensor | null;
  /** `[N, S]`, or `[S]`. Default null. */
  readonly memoryKeyPaddingMask?: Tensor | null;
  /** `srcMask` is the causal one. Default null: it is looked at, which waits for its device. */
  readonly srcIsCausal?: boolean | null;
  /** `tgtMask` likewise. */
  readonly tgtIsCausal?: boolean | null;
  /** `memoryMask` is the causal one. Default false. */
  readonly memoryIsCausal?: boolean;
}
const readInputs = signature("Transformer.forward", {
  src: tensorKind,
  tgt: tensorKind,
  srcMask: MAYBE_MASK,
  tgtMask: MAYBE_MASK,
  memoryMask: MAYBE_MASK,
  srcKeyPaddingMask: MAYBE_MASK,
  tgtKeyPaddingMask: MAYBE_MASK,
  memoryKeyPaddingMask: MAYBE_MASK,
  srcIsCausal: byDefault(null, orNull(flag)),
  tgtIsCausal: byDefault(null, orNull(flag)),
  memoryIsCausal: byDefault(false, flag),
} satisfies OptionNames<TransformerInputs>);
type InputsCall = Call<
  TransformerInputs,
  [
    "src",
    "tgt",
    "srcMask",
    "tgtMask",
    "memoryMask",
    "srcKeyPaddingMask",
    "tgtKeyPaddingMask",
    "memoryKeyPaddingMask",
    "srcIsCausal",
    "tgtIsCausal",
    "memoryIsCausal",
  ],
  [
    src: Tensor,
    tgt: Tensor,
    srcMask?: Tensor | null,
    tgtMask?: Tensor | null,
    memoryMask?: Tensor | null,
    srcKeyPaddingMask?: Tensor | null,
    tgtKeyPaddingMask?: Tensor | null,
    memoryKeyPaddingMask?: Tensor | null,
    srcIsCausal?: boolean | null,
    tgtIsCausal?: boolean | null,
    memoryIsCausal?: boolean,
  ]
>;

/**
 * Vaswani et al., 2017. Every matrix is drawn by Xavier's rule.
 *
 * @example
 * const model = new nn.Transformer({ dModel: 64, nhead: 4, batchFirst: true });
 * const mask = nn.Transformer.generateSquareSubsequentMask(20);
 * const y = model.forward(src, tgt, { tgtMask: mask, tgtIsCausal: true }); // [N, 10, 64], [N, 20, 64] → [N, 20, 64]
 */
export class Transformer extends Module {
  encoder: Encoder;
  decoder: Decoder;
  readonly dModel: number;
  readonly nhead: number;
  readonly batchFirst: boolean;

  constructor(...given: TransformerCall) {
    super();
    const { numEncoderLayers, numDecoderLayers, customEncoder, customDecoder, ...layer } = read(given, new.target.name);
    const { dModel, bias, layerNormEps: eps, device, dtype } = layer;
    const norm = (): LayerNorm => new LayerNorm(dModel, { eps, bias, device, dtype });
    this.encoder =
      customEncoder ?? new TransformerEncoder(new TransformerEncoderLayer(layer), numEncoderLayers, norm());
    this.decoder =
      customDecoder ?? new TransformerDecoder(new TransformerDecoderLayer(layer), numDecoderLayers, norm());
    for (const p of this.parameters()) if (p.ndim > 1) xavierUniform_(p);
    this.dModel = dModel;
    this.nhead = layer.nhead;
    this.batchFirst = layer.batchFirst;
  }

  /**
   * @returns The form of `tgt`.
   * @throws {ArgumentError} for sequences of other features than `dModel`, or of different batches.
   */
  forward(...given: InputsCall): Tensor {
    const fn = `${this.constructor.name}.forward`;
    const a = readInputs(given, fn);
    const { src, tgt } = a;
    const batch = this.batchFirst ? 0 : 1;
    if (src.ndim === 3 && tgt.ndim === 3 && src.size(batch) !== tgt.size(batch))
      throw new ArgumentError(fn, `tgt of the batch of src (${src.size(batch)})`, tgt);
    for (const [name, t] of [
      ["src", src],
      ["tgt", tgt],
    ] as const)
      if (t.size(-1) !== this.dModel) throw new ArgumentError(fn, `${name} of dModel features (${this.dModel})`, t);
    const memory = this.encoder.forward(src, {
      mask: a.srcMask,
      srcKeyPaddingMask: a.srcKeyPaddingMask,
      isCausal: a.srcIsCausal,
    });
    const { tgtMask, memoryMask, tgtKeyPaddingMask, memoryKeyPaddingMask, tgtIsCausal, memoryIsCausal } = a;
    return this.decoder.forward(tgt, memory, {
      tgtMask,
      memoryMask,
      tgtKeyPaddingMask,
      memoryKeyPaddingMask,
      tgtIsCausal,
      memoryIsCausal,
    });
  }

  /** `[sz, sz]` with -∞ above the diagonal and 0 elsewhere: a position sees itself and those before it. */
  static readonly generateSquareSubsequentMask = generateSquareSubsequentMask;
}
