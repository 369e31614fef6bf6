/** Sums, greatest values and softmax over what arrives at each node. */
import { zeros } from "@nbit/torch";
import type { Tensor } from "@nbit/torch";

/** One index per edge, for every number that the edge carries. */
const asWide = (to: Tensor, values: Tensor): Tensor =>
  to.view(-1, ...values.shape.slice(1).map(() => 1)).expandAs(values);

/** `[edges, …]` → `[n, …]`: what arrives at each node, added up. */
export function scatterSum(values: Tensor, to: Tensor, n: number): Tensor {
  return zeros([n, ...values.shape.slice(1)], { dtype: values.dtype }).scatterAdd(0, asWide(to, values), values);
}

/** `[edges, …]` → `[edges, …]`: positive, and 1 in all over the edges that arrive at one node. */
export function scatterSoftmax(scores: Tensor, to: Tensor, n: number): Tensor {
  const greatest = zeros([n, ...scores.shape.slice(1)]).scatterReduce(0, asWide(to, scores), scores.detach(), "amax", {
    includeSelf: false,
  });
  const weights = scores.sub(greatest.indexSelect(0, to)).exp();
  return weights.div(scatterSum(weights, to, n).indexSelect(0, to));
}
