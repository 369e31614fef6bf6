/** Look-up tables. */
import { noGrad } from "../autograd/modes.js";
import { ArgumentError } from "../errors.js";
import { byDefault, flag } from "../kinds.js";
import { embedding } from "../ops/index.js";
import { atMost } from "../options.js";
import { signature, type Call } from "../signature.js";
import { tensorKind } from "../tensor/kinds.js";
import type { Tensor } from "../tensor/tensor.js";
import { emptyParameter, FACTORY, type FactoryOptions } from "./factory.js";
import { embedding as lookUp, maxNormKind, paddingIdxKind, rowOf, type LookUpOptions } from "./functional/embedding.js";
import { anyNumber, none, off } from "./functional/rows.js";
import { normal_ } from "./init.js";
import { positive } from "./kernels.js";
import { Module } from "./module.js";
import { Parameter } from "./parameter.js";
import { float } from "./repr.js";

export interface EmbeddingOptions extends LookUpOptions, FactoryOptions {
  /** This row is 0 at first and gets no gradient; negative counts from the end. Default null: none. */
  readonly paddingIdx?: number | null;
  /** The table itself, whose memory it shares, `[numEmbeddings, embeddingDim]`. Default null: drawn from N(0, 1). */
  readonly _weight?: Tensor | null;
  /** The table gets no gradient. Default false. */
  readonly _freeze?: boolean;
}
export interface EmbeddingArguments extends EmbeddingOptions {
  readonly numEmbeddings: number;
  readonly embeddingDim: number;
}
const LOOK_UP = { maxNorm: byDefault(null, maxNormKind), normType: byDefault(2, anyNumber), scaleGradByFreq: off };
const read = signature(
  "Embedding",
  {
    numEmbeddings: positive,
    embeddingDim: positive,
    paddingIdx: byDefault(null, paddingIdxKind),
    ...LOOK_UP,
    sparse: off,
    _weight: none,
    _freeze: off,
    ...FACTORY,
  },
  9,
);
export type EmbeddingCall = Call<
  EmbeddingArguments,
  [
    "numEmbeddings",
    "embeddingDim",
    "paddingIdx",
    "maxNorm",
    "normType",
    "scaleGradByFreq",
    "sparse",
    "_weight",
    "_freeze",
  ],
  [
    numEmbeddings: number,
    embeddingDim: number,
    paddingIdx?: number | null,
    maxNorm?: number | null,
    normType?: number,
    scaleGradByFreq?: boolean,
    sparse?: boolean,
    _weight?: Tensor | null,
    _freeze?: boolean,
  ]
>;

/** @internal What both kinds of tables have. */
export interface Table extends FactoryOptions {
  readonly numEmbeddings: number;
  readonly embeddingDim: number;
  readonly paddingIdx: number | null;
  readonly maxNorm: number | null;
  readonly normType: number;
  readonly scaleGradByFreq: boolean;
  readonly sparse: boolean;
  readonly _weight: Tensor | null;
}
/** @internal */
export abstract class AnyEmbedding extends Module {
  weight: Parameter;
  readonly numEmbeddings: number;
  readonly embeddingDim: number;
  readonly paddingIdx: number | null;
  readonly maxNorm: number | null;
  readonly normType: number;
  readonly scaleGradByFreq: boolean;
  readonly sparse: boolean;
  constructor(table: Table) {
    super();
    const fn = new.target.name;
    const { numEmbeddings, embeddingDim, _weight } = table;
    this.numEmbeddings = numEmbeddings;
    this.embeddingDim = embeddingDim;
    this.paddingIdx = rowOf(fn, table.paddingIdx, numEmbeddings);
    this.maxNorm = table.maxNorm;
    this.normType = table.normType;
    this.scaleGradByFreq = table.scaleGradByFreq;
    this.sparse = table.sparse;
    if (_weight !== null && String(_weight.shape) !== `${numEmbeddings},${embeddingDim}`)
      throw new ArgumentError(fn, `_weight of shape [${numEmbeddings}, ${embeddingDim}]`, _weight);
    this.weight = _weight === null ? emptyParameter([numEmbeddings, embeddingDim], table) : new Parameter(_weight);
    if (_weight === null) this.resetParameters();
  }
  /** Rows drawn from N(0, 1); that of `paddingIdx` is 0. */
  resetParameters(): void {
    atMost(`${this.constructor.name}.resetParameters`, arguments, 0);
    normal_(this.weight);
    const row = this.paddingIdx;
    if (row !== null) noGrad(() => this.weight.select(0, row).fill_(0));
  }
  override extraRepr(): string {
    let text = `${this.numEmbeddings}, ${this.embeddingDim}`;
    if (this.paddingIdx !== null) text += `, padding_idx=${this.paddingIdx}`;
    text += this.printLookUp();
    return this.sparse ? `${text}, sparse=True` : text;
  }
  /** @internal */
  protected printLookUp(): string {
    let text = this.maxNorm === null ? "" : `, max_norm=${float(this.maxNorm)}`;
    if (this.normType !== 2) text += `, norm_type=${float(this.normType)}`;
    return this.scaleGradByFreq ? `${text}, scale_grad_by_freq=True` : text;
  }
}

export interface EmbeddingFromPretrainedArguments extends LookUpOptions {
  /** `[numEmbeddings, embeddingDim]`, whose memory the table shares. */
  readonly embeddings: Tensor;
  /** The table gets no gradient. Default true. */
  readonly freeze?: boolean;
  /** This row gets no gradient; negative counts from the end. Default null: none. */
  readonly paddingIdx?: number | null;
}
const readPretrained = signature("Embedding.fromPretrained", {
  embeddings: tensorKind,
  freeze: byDefault(true, flag),
  paddingIdx: byDefault(null, paddingIdxKind),
  ...LOOK_UP,
  sparse: off,
});
/** @internal Rows and columns of a table. */
export function sizesOf(fn: string, embeddings: Tensor): readonly [rows: number, columns: number] {
  if (embeddings.ndim !== 2) throw new ArgumentError(fn, "embeddings to have 2 dimensions", embeddings);
  return [embeddings.size(0), embeddings.size(1)];
}

/**
 * Rows of a table `[numEmbeddings, embeddingDim]`, drawn from N(0, 1). Indices int64 or int32 of any shape; the result
 * has one dimension more.
 * @throws {ArgumentError} `Embedding: expected paddingIdx within ±10. Received: 10.`
 */
export class Embedding extends AnyEmbedding {
  constructor(...given: EmbeddingCall) {
    const { _freeze, ...table } = read(given, new.target.name);
    super(table);
    if (_freeze) this.weight.requiresGrad_(false);
  }
  forward(indices: Tensor): Tensor {
    atMost("Embedding.forward", arguments, 1);
    const { weight, paddingIdx, maxNorm, normType, scaleGradByFreq, sparse } = this;
    return maxNorm === null
      ? embedding(weight, indices, paddingIdx ?? -1, scaleGradByFreq, sparse)
      : lookUp(indices, weight, paddingIdx, maxNorm, normType, scaleGradByFreq, sparse);
  }
  /** A table with these rows, frozen unless told otherwise. */
  static fromPretrained(
    ...given: Call<
      EmbeddingFromPretrainedArguments,
      ["embeddings", "freeze", "paddingIdx", "maxNorm", "normType", "scaleGradByFreq", "sparse"],
      [
        embeddings: Tensor,
        freeze?: boolean,
        paddingIdx?: number | null,
        maxNorm?: number | null,
        normType?: number,
        scaleGradByFreq?: boolean,
        sparse?: boolean,
      ]
    >
  ): Embedding {
    const { embeddings, freeze, ...rest } = readPretrained(given);
    const [numEmbeddings, embeddingDim] = sizesOf("Embedding.fromPretrained", embeddings);
    return new this({ numEmbeddings, embeddingDim, ...rest, _weight: embeddings, _freeze: freeze });
  }
}
