/** Sums, means or maxima of rows of a table. */
import { byDefault, flag } from "../kinds.js";
import { signature, type Call } from "../signature.js";
import { tensorKind } from "../tensor/kinds.js";
import type { Tensor } from "../tensor/tensor.js";
import { AnyEmbedding, sizesOf, type EmbeddingOptions } from "./embedding.js";
import { FACTORY } from "./factory.js";
import {
  bagModeKind,
  embeddingBag,
  maxNormKind,
  paddingIdxKind,
  type BagMode,
  type LookUpOptions,
} from "./functional/embedding.js";
import { anyNumber, none, off } from "./functional/rows.js";
import { positive } from "./kernels.js";

interface BagOptions extends LookUpOptions {
  /** What becomes of the rows of a bag. Default "mean". */
  readonly mode?: BagMode;
  /** The last offset is where the last bag ends. Default false. */
  readonly includeLastOffset?: boolean;
  /** Indices of this row count for nothing; negative counts from the end. Default null. */
  readonly paddingIdx?: number | null;
}
export interface EmbeddingBagArguments extends BagOptions, Omit<EmbeddingOptions, "_freeze" | "paddingIdx"> {
  readonly numEmbeddings: number;
  readonly embeddingDim: number;
}
const BAG = {
  maxNorm: byDefault(null, maxNormKind),
  normType: byDefault(2, anyNumber),
  scaleGradByFreq: off,
  mode: byDefault("mean", bagModeKind),
  sparse: off,
};
const LAST = { includeLastOffset: off, paddingIdx: byDefault(null, paddingIdxKind) };
const read = signature(
  "EmbeddingBag",
  { numEmbeddings: positive, embeddingDim: positive, ...BAG, _weight: none, ...LAST, ...FACTORY },
  10,
);
export type EmbeddingBagCall = Call<
  EmbeddingBagArguments,
  [
    "numEmbeddings",
    "embeddingDim",
    "maxNorm",
    "normType",
    "scaleGradByFreq",
    "mode",
    "sparse",
    "_weight",
    "includeLastOffset",
    "paddingIdx",
  ],
  [
    numEmbeddings: number,
    embeddingDim: number,
    maxNorm?: number | null,
    normType?: number,
    scaleGradByFreq?: boolean,
    mode?: BagMode,
    sparse?: boolean,
    _weight?: Tensor | null,
    includeLastOffset?: boolean,
    paddingIdx?: number | null,
  ]
>;

export interface EmbeddingBagFromPretrainedArguments extends BagOptions {
  /** `[numEmbeddings, embeddingDim]`, whose memory the table shares. */
  readonly embeddings: Tensor;
  /** The table gets no gradient. Default true. */
  readonly freeze?: boolean;
}
const readPretrained = signature("EmbeddingBag.fromPretrained", {
  embeddings: tensorKind,
  freeze: byDefault(true, flag),
  ...BAG,
  ...LAST,
});

export interface EmbeddingBagForwardArguments {
  /** Indices, int64 or int32: `[B, N]`, a bag each row, or `[N]` with `offsets`. */
  readonly input: Tensor;
  /** `[B]`: where each bag begins. Default null. */
  readonly offsets?: Tensor | null;
  /** What each index counts, of the indices' shape; with mode "sum". Default null. */
  readonly perSampleWeights?: Tensor | null;
}
const readForward = signature("EmbeddingBag.forward", { input: tensorKind, offsets: none, perSampleWeights: none });

/**
 * Sums, means or maxima of rows of a table `[numEmbeddings, embeddingDim]`, without the rows themselves: `[B,
 * embeddingDim]`. The table is drawn from N(0, 1).
 */
export class EmbeddingBag extends AnyEmbedding {
  readonly mode: BagMode;
  readonly includeLastOffset: boolean;
  constructor(...given: EmbeddingBagCall) {
    const { mode, includeLastOffset, ...table } = read(given, new.target.name);
    super(table);
    this.mode = mode;
    this.includeLastOffset = includeLastOffset;
  }
  forward(
    ...given: Call<
      EmbeddingBagForwardArguments,
      ["input", "offsets", "perSampleWeights"],
      [input: Tensor, offsets?: Tensor | null, perSampleWeights?: Tensor | null]
    >
  ): Tensor {
    const { input, offsets, perSampleWeights } = readForward(given);
    const { maxNorm, normType, scaleGradByFreq, mode, sparse, includeLastOffset, paddingIdx } = this;
    const options = { maxNorm, normType, scaleGradByFreq, mode, sparse, includeLastOffset, paddingIdx };
    return embeddingBag(input, this.weight, offsets, { ...options, perSampleWeights });
  }
  override extraRepr(): string {
    const text = `${this.numEmbeddings}, ${this.embeddingDim}${this.printLookUp()}, mode='${this.mode}'`;
    return this.paddingIdx === null ? text : `${text}, padding_idx=${this.paddingIdx}`;
  }
  /** A table with these rows, frozen unless told otherwise. */
  static fromPretrained(
    ...given: Call<
      EmbeddingBagFromPretrainedArguments,
      [
        "embeddings",
        "freeze",
        "maxNorm",
        "normType",
        "scaleGradByFreq",
        "mode",
        "sparse",
        "includeLastOffset",
        "paddingIdx",
      ],
      [
        embeddings: Tensor,
        freeze?: boolean,
        maxNorm?: number | null,
        normType?: number,
        scaleGradByFreq?: boolean,
        mode?: BagMode,
        sparse?: boolean,
        includeLastOffset?: boolean,
        paddingIdx?: number | null,
      ]
    >
  ): EmbeddingBag {
    const { embeddings, freeze, ...rest } = readPretrained(given);
    const [numEmbeddings, embeddingDim] = sizesOf("EmbeddingBag.fromPretrained", embeddings);
    const bag = new this({ numEmbeddings, embeddingDim, ...rest, _weight: embeddings });
    bag.weight.requiresGrad_(!freeze);
    return bag;
  }
}
