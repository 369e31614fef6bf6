/** Every lowering beside libtorch: forward and the recorded backward, shapes at the edges, two dtypes. */
import { attention, convolutions, norms, pools, recurrent, softmaxes } from "./cases/layers.js";
import { losses } from "./cases/losses.js";
import { lists } from "./cases/lists.js";
import { activations, comparisons, pointwise } from "./cases/pointwise.js";
import { indexing, products, reductions, shapes } from "./cases/tensors.js";
import { compareCases } from "./compare-cases.js";

const FAMILIES = {
  pointwise,
  activations,
  comparisons,
  reductions,
  shapes,
  products,
  indexing,
  convolutions,
  pools,
  norms,
  softmaxes,
  losses,
  attention,
  recurrent,
  lists,
};
for (const [family, cases] of Object.entries(FAMILIES)) compareCases(family, cases);
