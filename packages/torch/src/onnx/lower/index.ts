/** One lowering for each operator, by families. */
import type { Lowering } from "../op.js";
import { activation } from "./activation.js";
import { attentions } from "./attention.js";
import { convolutions } from "./convolution.js";
import { indexing } from "./indexing.js";
import { losses } from "./losses.js";
import { normalisation } from "./normalisation.js";
import { pointwise } from "./pointwise.js";
import { pooling } from "./pooling.js";
import { products } from "./product.js";
import { recurrent } from "./recurrent.js";
import { reductions } from "./reduce.js";
import { resizing } from "./resize.js";
import { shapes } from "./shape.js";

export const LOWERINGS: ReadonlyMap<string, Lowering> = new Map(
  [
    pointwise,
    activation,
    convolutions,
    normalisation,
    pooling,
    products,
    reductions,
    shapes,
    indexing,
    resizing,
    attentions,
    recurrent,
    losses,
  ].flatMap((family) => Object.entries(family)),
);
