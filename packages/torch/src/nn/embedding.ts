/** Look-up tables. */
import { ArgumentError } from "../errors.js";
import { noGrad } from "../autograd/modes.js";
import { flag, orNull, whole } from "../kinds.js";
import { embedding } from "../ops/index.js";
import { atMost, checkArguments, optionsFrom, type Given, type OptionNames } from "../options.js";
import type { Tensor } from "../tensor/tensor.js";
import { normal_ } from "./init.js";
import { positive } from "./kernels.js";
import { emptyParameter, FACTORY_NAMES, type FactoryOptions } from "./linear.js";
import { Module } from "./module.js";
import type { Parameter } from "./parameter.js";

export interface EmbeddingOptions extends FactoryOptions {
  /** This row is 0 and gets no gradient; negative counts from the end. Default null: none. */
  readonly paddingIdx?: number | null;
  /** Divide gradients by how often an index occurs in the batch. Default false. */
  readonly scaleGradByFreq?: boolean;
  /** Sparse gradients. Default false. */
  readonly sparse?: boolean;
}
const NAMES: OptionNames<EmbeddingOptions> = {
  paddingIdx: orNull(whole()),
  scaleGradByFreq: flag,
  sparse: flag,
  ...FACTORY_NAMES,
};

/**
 * Rows of a table `[numEmbeddings, embeddingDim]`, drawn from N(0, 1). Indices int64 of any shape; the result has one
 * dimension more.
 */
export class Embedding extends Module {
  readonly weight: Parameter;
  readonly paddingIdx: number | null;
  readonly scaleGradByFreq: boolean;
  readonly sparse: boolean;
  constructor(
    readonly numEmbeddings: number,
    readonly embeddingDim: number,
    ...rest: Given<EmbeddingOptions, [paddingIdx: number | null]>
  ) {
    super();
    const options = optionsFrom("Embedding", 2, rest, NAMES, 1);
    checkArguments("Embedding", { numEmbeddings, embeddingDim }, { numEmbeddings: positive, embeddingDim: positive });
    const padding = options.paddingIdx ?? null;
    if (padding !== null && (padding >= numEmbeddings || padding < -numEmbeddings))
      throw new ArgumentError("Embedding", `paddingIdx within ±${numEmbeddings}`, padding);
    this.paddingIdx = padding === null ? null : padding < 0 ? padding + numEmbeddings : padding;
    this.scaleGradByFreq = options.scaleGradByFreq ?? false;
    this.sparse = options.sparse ?? false;
    this.weight = emptyParameter([numEmbeddings, embeddingDim], options);
    normal_(this.weight);
    if (this.paddingIdx !== null) {
      const row = this.paddingIdx;
      noGrad(() => this.weight.select(0, row).fill_(0));
    }
  }
  forward(indices: Tensor): Tensor {
    atMost("Embedding.forward", arguments, 1);
    return embedding(this.weight, indices, this.paddingIdx ?? -1, this.scaleGradByFreq, this.sparse);
  }
  override extraRepr(): string {
    return `${this.numEmbeddings}, ${this.embeddingDim}${this.paddingIdx === null ? "" : `, padding_idx=${this.paddingIdx}`}`;
  }
}
