/** Decoders: layers of attention of a sequence to itself, then to what an encoder made. */
import { byDefault, flag, orNull, such, whole } from "../../kinds.js";
import type { OptionNames } from "../../options.js";
import { signature, type Call } from "../../signature.js";
import { tensorKind } from "../../tensor/kinds.js";
import type { Tensor } from "../../tensor/tensor.js";
import type { ModuleList } from "../containers.js";
import { Dropout } from "../dropout.js";
import { LayerNorm } from "../layer-norm.js";
import { Linear } from "../linear.js";
import { Module } from "../module.js";
import { copiesOf, isBatchFirst, lengthOf } from "./encoder.js";
import { isCausalMask } from "./masks.js";
import { MultiheadAttention } from "./multihead-attention.js";
import {
  activate,
  applied,
  LAYER,
  MAYBE_MASK,
  type Activation,
  type LayerArguments,
  type LayerOrder,
  type LayerPositions,
} from "./options.js";

interface Masks {
  /** `[T, T]` or `[N · heads, T, T]`: what a position does not see of the sequence. Default null. */
  readonly tgtMask?: Tensor | null;
  /** `[T, S]` or `[N · heads, T, S]`: what it does not see of the memory. Default null. */
  readonly memoryMask?: Tensor | null;
  /** `[N, T]`, or `[T]`: positions of the sequence that nobody sees. Default null. */
  readonly tgtKeyPaddingMask?: Tensor | null;
  /** `[N, S]`, or `[S]`: positions of the memory that nobody sees. Default null. */
  readonly memoryKeyPaddingMask?: Tensor | null;
  /** `memoryMask` is the causal one. Default false. */
  readonly memoryIsCausal?: boolean;
}
interface Sequences {
  /** `[T, N, E]`, `[N, T, E]` with `batchFirst`, `[T, E]` without a batch. */
  readonly tgt: Tensor;
  /** What the encoder returned: `[S, N, E]`, and so on. */
  readonly memory: Tensor;
}
export interface DecoderLayerInputs extends Sequences, Masks {
  /** `tgtMask` is the causal one. Default false. */
  readonly tgtIsCausal?: boolean;
}
export interface DecoderInputs extends Sequences, Masks {
  /** `tgtMask` is the causal one. Default null: it is looked at, which waits for its device. */
  readonly tgtIsCausal?: boolean | null;
}
const INPUTS = {
  tgt: tensorKind,
  memory: tensorKind,
  tgtMask: MAYBE_MASK,
  memoryMask: MAYBE_MASK,
  tgtKeyPaddingMask: MAYBE_MASK,
  memoryKeyPaddingMask: MAYBE_MASK,
} as const;
type Order = [
  "tgt",
  "memory",
  "tgtMask",
  "memoryMask",
  "tgtKeyPaddingMask",
  "memoryKeyPaddingMask",
  "tgtIsCausal",
  "memoryIsCausal",
];
type Positions<Causal> = [
  tgt: Tensor,
  memory: Tensor,
  tgtMask?: Tensor | null,
  memoryMask?: Tensor | null,
  tgtKeyPaddingMask?: Tensor | null,
  memoryKeyPaddingMask?: Tensor | null,
  tgtIsCausal?: Causal,
  memoryIsCausal?: boolean,
];
export type DecoderLayerCall = Call<DecoderLayerInputs, Order, Positions<boolean>>;
export type DecoderCall = Call<DecoderInputs, Order, Positions<boolean | null>>;

const readLayer = signature("TransformerDecoderLayer", LAYER);
const readLayerInputs = signature("TransformerDecoderLayer.forward", {
  ...INPUTS,
  tgtIsCausal: byDefault(false, flag),
  memoryIsCausal: byDefault(false, flag),
} satisfies OptionNames<DecoderLayerInputs>);

/**
 * Vaswani et al., 2017: attention of the sequence to itself, then to the memory, then two linear layers at every
 * position, each added to what went in and normalised; with `normFirst` normalised before.
 */
export class TransformerDecoderLayer extends Module {
  selfAttn: MultiheadAttention;
  multiheadAttn: MultiheadAttention;
  linear1: Linear;
  dropout: Dropout;
  linear2: Linear;
  readonly normFirst: boolean;
  norm1: LayerNorm;
  norm2: LayerNorm;
  norm3: LayerNorm;
  dropout1: Dropout;
  dropout2: Dropout;
  dropout3: Dropout;
  activation: Exclude<Activation, string>;

  constructor(...given: Call<LayerArguments, LayerOrder, LayerPositions>) {
    super();
    const a = readLayer(given, new.target.name);
    const { dModel, dropout, batchFirst, bias, device, dtype } = a;
    const where = { bias, device, dtype };
    this.selfAttn = new MultiheadAttention(dModel, a.nhead, { dropout, batchFirst, ...where });
    this.multiheadAttn = new MultiheadAttention(dModel, a.nhead, { dropout, batchFirst, ...where });
    this.linear1 = new Linear(dModel, a.dimFeedforward, where);
    this.dropout = new Dropout(dropout);
    this.linear2 = new Linear(a.dimFeedforward, dModel, where);
    this.normFirst = a.normFirst;
    this.norm1 = new LayerNorm(dModel, { eps: a.layerNormEps, ...where });
    this.norm2 = new LayerNorm(dModel, { eps: a.layerNormEps, ...where });
    this.norm3 = new LayerNorm(dModel, { eps: a.layerNormEps, ...where });
    this.dropout1 = new Dropout(dropout);
    this.dropout2 = new Dropout(dropout);
    this.dropout3 = new Dropout(dropout);
    this.activation = applied(a.activation);
  }

  /** @returns The form of `tgt`. */
  forward(...given: DecoderLayerCall): Tensor {
    const a = readLayerInputs(given, `${this.constructor.name}.forward`);
    const { tgt, memory } = a;
    const own = {
      attnMask: a.tgtMask,
      keyPaddingMask: a.tgtKeyPaddingMask,
      isCausal: a.tgtIsCausal,
      needWeights: false,
    };
    const other = {
      attnMask: a.memoryMask,
      keyPaddingMask: a.memoryKeyPaddingMask,
      isCausal: a.memoryIsCausal,
      needWeights: false,
    };
    const toItself = (x: Tensor): Tensor => this.dropout1.forward(this.selfAttn.forward(x, x, x, own)[0]);
    const toMemory = (x: Tensor): Tensor =>
      this.dropout2.forward(this.multiheadAttn.forward(x, memory, memory, other)[0]);
    if (this.normFirst) {
      let x = tgt.add(toItself(this.norm1.forward(tgt)));
      x = x.add(toMemory(this.norm2.forward(x)));
      return x.add(this.feedForward(this.norm3.forward(x)));
    }
    let x = this.norm1.forward(tgt.add(toItself(tgt)));
    x = this.norm2.forward(x.add(toMemory(x)));
    return this.norm3.forward(x.add(this.feedForward(x)));
  }
  protected feedForward(x: Tensor): Tensor {
    const hidden = this.dropout.forward(activate(this.activation, this.linear1.forward(x)));
    return this.dropout3.forward(this.linear2.forward(hidden));
  }
}

type DecoderLayer = Module & { forward(...given: DecoderLayerCall): Tensor };
type Norm = Module & { forward(x: Tensor): Tensor };
const NORM = such<Norm>("a Module", (v) => v instanceof Module);
export interface DecoderArguments {
  /** One layer, of which every layer of the decoder is a copy. */
  readonly decoderLayer: DecoderLayer;
  readonly numLayers: number;
  /** Behind the last layer. Default null: nothing. */
  readonly norm?: Norm | null;
}
const readDecoder = signature("TransformerDecoder", {
  decoderLayer: such<DecoderLayer>("a Module", (v) => v instanceof Module),
  numLayers: whole("[1, ∞)"),
  norm: byDefault(null, orNull(NORM)),
} satisfies OptionNames<DecoderArguments>);
const readInputs = signature("TransformerDecoder.forward", {
  ...INPUTS,
  tgtIsCausal: byDefault(null, orNull(flag)),
  memoryIsCausal: byDefault(false, flag),
} satisfies OptionNames<DecoderInputs>);

/** A stack of decoder layers, which are copies of one, and so begin with equal weights. */
export class TransformerDecoder extends Module {
  layers: ModuleList<DecoderLayer>;
  readonly numLayers: number;
  norm: Norm | null;

  constructor(
    ...given: Call<
      DecoderArguments,
      ["decoderLayer", "numLayers", "norm"],
      [decoderLayer: DecoderLayer, numLayers: number, norm?: Norm | null]
    >
  ) {
    super();
    const a = readDecoder(given, new.target.name);
    this.layers = copiesOf<DecoderLayer>(a.decoderLayer, a.numLayers);
    this.numLayers = a.numLayers;
    this.norm = a.norm;
  }

  /** @returns The form of `tgt`. */
  forward(...given: DecoderCall): Tensor {
    const { tgt, memory, tgtIsCausal, ...masks } = readInputs(given, `${this.constructor.name}.forward`);
    const causal = isCausalMask(masks.tgtMask, tgtIsCausal, lengthOf(tgt, isBatchFirst(this.layers[0])));
    let x = tgt;
    for (const layer of this.layers) x = layer.forward(x, memory, { ...masks, tgtIsCausal: causal });
    return this.norm === null ? x : this.norm.forward(x);
  }
}
