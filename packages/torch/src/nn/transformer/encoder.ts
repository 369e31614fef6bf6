/** Encoders: layers of attention of a sequence to itself. */
import { isGradEnabled } from "../../autograd/modes.js";
import { autocastState } from "../../backend.js";
import { deepcopy } from "../../deep-copy.js";
import { byDefault, flag, orNull, such, whole } from "../../kinds.js";
import type { OptionNames } from "../../options.js";
import { signature, type Call } from "../../signature.js";
import { tensorKind } from "../../tensor/kinds.js";
import type { Tensor } from "../../tensor/tensor.js";
import { ModuleList } from "../containers.js";
import { Dropout } from "../dropout.js";
import { LayerNorm } from "../layer-norm.js";
import { Linear } from "../linear.js";
import { Module } from "../module.js";
import { additiveMask, isCausalMask } from "./masks.js";
import { MultiheadAttention } from "./multihead-attention.js";
import {
  activate,
  applied,
  isPlainActivation,
  LAYER,
  MAYBE_MASK,
  type Activation,
  type LayerArguments,
  type LayerOrder,
  type LayerPositions,
} from "./options.js";

export interface EncoderLayerInputs {
  /** `[S, N, E]`, `[N, S, E]` with `batchFirst`, `[S, E]` without a batch. */
  readonly src: Tensor;
  /** `[S, S]` or `[N · heads, S, S]`: what a position does not see: true, or a number that is added. Default null. */
  readonly srcMask?: Tensor | null;
  /** `[N, S]`, or `[S]`: positions that nobody sees. Default null. */
  readonly srcKeyPaddingMask?: Tensor | null;
  /** `srcMask` is the causal one. Default false. */
  readonly isCausal?: boolean;
}
const readLayer = signature("TransformerEncoderLayer", LAYER);
const readLayerInputs = signature("TransformerEncoderLayer.forward", {
  src: tensorKind,
  srcMask: MAYBE_MASK,
  srcKeyPaddingMask: MAYBE_MASK,
  isCausal: byDefault(false, flag),
} satisfies OptionNames<EncoderLayerInputs>);
export type EncoderLayerCall = Call<
  EncoderLayerInputs,
  ["src", "srcMask", "srcKeyPaddingMask", "isCausal"],
  [src: Tensor, srcMask?: Tensor | null, srcKeyPaddingMask?: Tensor | null, isCausal?: boolean]
>;

/**
 * Vaswani et al., 2017: attention of the sequence to itself, then two linear layers at every position, each added to what
 * went in and normalised; with `normFirst` normalised before (Xiong et al., 2020).
 */
export class TransformerEncoderLayer extends Module {
  selfAttn: MultiheadAttention;
  linear1: Linear;
  dropout: Dropout;
  linear2: Linear;
  readonly normFirst: boolean;
  norm1: LayerNorm;
  norm2: LayerNorm;
  dropout1: Dropout;
  dropout2: Dropout;
  activation: Exclude<Activation, string>;

  constructor(...given: Call<LayerArguments, LayerOrder, LayerPositions>) {
    super();
    const a = readLayer(given, new.target.name);
    const { dModel, dropout, batchFirst, bias, device, dtype } = a;
    const where = { bias, device, dtype };
    this.selfAttn = new MultiheadAttention(dModel, a.nhead, { dropout, batchFirst, ...where });
    this.linear1 = new Linear(dModel, a.dimFeedforward, where);
    this.dropout = new Dropout(dropout);
    this.linear2 = new Linear(a.dimFeedforward, dModel, where);
    this.normFirst = a.normFirst;
    this.norm1 = new LayerNorm(dModel, { eps: a.layerNormEps, ...where });
    this.norm2 = new LayerNorm(dModel, { eps: a.layerNormEps, ...where });
    this.dropout1 = new Dropout(dropout);
    this.dropout2 = new Dropout(dropout);
    this.activation = applied(a.activation);
  }

  /** @returns The form of `src`. */
  forward(...given: EncoderLayerCall): Tensor {
    const fn = `${this.constructor.name}.forward`;
    const a = readLayerInputs(given, fn);
    const { src } = a;
    const options = {
      keyPaddingMask: additiveMask(fn, "srcKeyPaddingMask", a.srcKeyPaddingMask, src.dtype),
      attnMask: additiveMask(fn, "srcMask", a.srcMask, src.dtype),
      isCausal: a.isCausal,
      needWeights: false,
    };
    const attention = (x: Tensor): Tensor => this.dropout1.forward(this.selfAttn.forward(x, x, x, options)[0]);
    if (this.normFirst) {
      const x = src.add(attention(this.norm1.forward(src)));
      return x.add(this.feedForward(this.norm2.forward(x)));
    }
    const x = this.norm1.forward(src.add(attention(src)));
    return this.norm2.forward(x.add(this.feedForward(x)));
  }
  protected feedForward(x: Tensor): Tensor {
    const hidden = this.dropout.forward(activate(this.activation, this.linear1.forward(x)));
    return this.dropout2.forward(this.linear2.forward(hidden));
  }
}

type EncoderLayer = Module & { forward(...given: EncoderLayerCall): Tensor };
type Norm = Module & { forward(x: Tensor): Tensor };
const NORM = such<Norm>("a Module", (v) => v instanceof Module);

export interface EncoderArguments {
  /** One layer, of which every layer of the encoder is a copy. */
  readonly encoderLayer: EncoderLayer;
  readonly numLayers: number;
  /** Behind the last layer. Default null: nothing. */
  readonly norm?: Norm | null;
  /**
   * Padded positions come out of the layers as 0 where nothing is learned, as PyTorch's encoders leave them, which pack
   * sequences then. Default true.
   */
  readonly enableNestedTensor?: boolean;
  /** Whether that looks first if all padding stands at the end. Default true. */
  readonly maskCheck?: boolean;
}
const readEncoder = signature("TransformerEncoder", {
  encoderLayer: such<EncoderLayer>("a Module", (v) => v instanceof Module),
  numLayers: whole("[1, ∞)"),
  norm: byDefault(null, orNull(NORM)),
  enableNestedTensor: byDefault(true, flag),
  maskCheck: byDefault(true, flag),
} satisfies OptionNames<EncoderArguments>);
export interface EncoderInputs {
  /** `[S, N, E]`, `[N, S, E]` with `batchFirst`, `[S, E]` without a batch. */
  readonly src: Tensor;
  /** `[S, S]` or `[N · heads, S, S]`: what a position does not see: true, or a number that is added. Default null. */
  readonly mask?: Tensor | null;
  /** `[N, S]`, or `[S]`: positions that nobody sees. Default null. */
  readonly srcKeyPaddingMask?: Tensor | null;
  /** `mask` is the causal one. Default null: it is looked at, which waits for its device. */
  readonly isCausal?: boolean | null;
}
const readInputs = signature("TransformerEncoder.forward", {
  src: tensorKind,
  mask: MAYBE_MASK,
  srcKeyPaddingMask: MAYBE_MASK,
  isCausal: byDefault(null, orNull(flag)),
} satisfies OptionNames<EncoderInputs>);
export type EncoderCall = Call<
  EncoderInputs,
  ["src", "mask", "srcKeyPaddingMask", "isCausal"],
  [src: Tensor, mask?: Tensor | null, srcKeyPaddingMask?: Tensor | null, isCausal?: boolean | null]
>;

/** @internal `n` copies of a layer: they begin with equal weights. */
export function copiesOf<M extends Module>(layer: M, n: number): ModuleList<M> {
  return new ModuleList(Array.from({ length: n }, () => deepcopy(layer)));
}
/** @internal Whether a layer takes batches first. */
export function isBatchFirst(layer: Module | undefined): boolean {
  return layer !== undefined && "selfAttn" in layer && layer.selfAttn instanceof MultiheadAttention
    ? layer.selfAttn.batchFirst
    : false;
}
/** @internal */
export function lengthOf(x: Tensor, batchFirst: boolean): number {
  return x.size(x.ndim === 2 || !batchFirst ? 0 : 1);
}

/**
 * A stack of encoder layers. They are copies of one, and so begin with equal weights: initialise them anew where that is
 * not wanted, as {@link Transformer} does.
 */
export class TransformerEncoder extends Module {
  layers: ModuleList<EncoderLayer>;
  readonly numLayers: number;
  norm: Norm | null;
  readonly enableNestedTensor: boolean;
  readonly maskCheck: boolean;

  constructor(
    ...given: Call<
      EncoderArguments,
      ["encoderLayer", "numLayers", "norm", "enableNestedTensor", "maskCheck"],
      [
        encoderLayer: EncoderLayer,
        numLayers: number,
        norm?: Norm | null,
        enableNestedTensor?: boolean,
        maskCheck?: boolean,
      ]
    >
  ) {
    super();
    const a = readEncoder(given, new.target.name);
    this.layers = copiesOf<EncoderLayer>(a.encoderLayer, a.numLayers);
    this.numLayers = a.numLayers;
    this.norm = a.norm;
    this.enableNestedTensor = a.enableNestedTensor;
    this.maskCheck = a.maskCheck;
  }

  /** @returns The form of `src`. */
  forward(...given: EncoderCall): Tensor {
    const fn = `${this.constructor.name}.forward`;
    const a = readInputs(given, fn);
    const { src } = a;
    const srcKeyPaddingMask = additiveMask(fn, "srcKeyPaddingMask", a.srcKeyPaddingMask, src.dtype);
    const srcMask = additiveMask(fn, "mask", a.mask, src.dtype);
    const isCausal = isCausalMask(srcMask, a.isCausal, lengthOf(src, isBatchFirst(this.layers[0])));
    let x = src;
    for (const layer of this.layers) x = layer.forward(x, { srcMask, srcKeyPaddingMask, isCausal });
    if (srcKeyPaddingMask !== null && srcMask === null && this.packs(src, srcKeyPaddingMask))
      x = x.maskedFill(srcKeyPaddingMask.ne(0).unsqueeze(-1), 0);
    return this.norm === null ? x : this.norm.forward(x);
  }
  /** Whether PyTorch's encoder would pack the sequences, and so leave zeros in padded positions. */
  private packs(src: Tensor, padding: Tensor): boolean {
    const first = this.layers[0];
    if (!this.enableNestedTensor || src.ndim !== 3 || !(first instanceof TransformerEncoderLayer)) return false;
    const { selfAttn } = first;
    const alike =
      !first.training &&
      !first.normFirst &&
      selfAttn.batchFirst &&
      selfAttn.inProjBias !== null &&
      selfAttn.inProjWeight !== null &&
      selfAttn.numHeads % 2 === 0 &&
      first.norm1.eps === first.norm2.eps &&
      isPlainActivation(first.activation) &&
      !autocastState(src.device.type).enabled &&
      !(isGradEnabled() && (src.requiresGrad || first.parameters().some((p) => p.requiresGrad)));
    if (!alike) return false;
    if (!this.maskCheck) return true;
    // Padding behind which there is none: a position that counts does not follow one that does not.
    const counts = padding.eq(0);
    return (
      counts
        .narrow(1, 1, counts.size(1) - 1)
        .logicalAnd(counts.narrow(1, 0, counts.size(1) - 1).logicalNot())
        .any()
        .item() === 0
    );
  }
}
