import { arange, eye, rand, scope } from "@nbit/torch";
import type { Tensor } from "@nbit/torch";

/** Nodes with features and classes, and who is linked to whom. */
export interface Graph {
  /** `[n, words]`; rows sum to 1. */
  readonly features: Tensor;
  /** Int64 `[n]`. */
  readonly labels: Tensor;
  /** Int64 `[2, edges]`: from, to. Both directions of every link, and every node to itself. */
  readonly edges: Tensor;
  readonly classes: number;
}

/** Papers of seven fields that cite mostly their own, and use mostly the words of it; as Cora, but drawn. */
export function citations(n = 280, words = 140, classes = 7): Graph {
  return scope(() => {
    const labels = arange(n).remainder(classes);
    const alike = labels.unsqueeze(1).eq(labels);
    const cites = rand(n, n).lt(alike.float().mul(0.08).add(0.005)).triu(1);
    const linked = cites.logicalOr(cites.t()).logicalOr(eye(n, { dtype: "bool" }));
    const own = labels.unsqueeze(1).eq(arange(words).remainder(classes));
    const used = rand(n, words).lt(own.float().mul(0.1).add(0.05)).float();
    const features = used.div(used.sum(1, { keepdim: true }).clamp({ min: 1 }));
    return { features, labels: labels.long(), edges: linked.nonzero().t().contiguous(), classes };
  });
}
