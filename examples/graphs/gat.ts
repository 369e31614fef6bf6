/** A graph attention network. Veličković et al., 2018, arXiv:1710.10903. */
import { empty, nn } from "@nbit/torch";
import type { Tensor } from "@nbit/torch";
import { scatterSoftmax, scatterSum } from "./scatter.js";

const F = nn.functional;

/** A node takes the mean of its neighbours, weighted by attention; with several heads, each by its own. */
export class GraphAttention extends nn.Module {
  W: nn.Parameter;
  a: nn.Parameter;
  dropout: nn.Dropout;
  leakyrelu = new nn.LeakyReLU(0.2);

  constructor(
    inFeatures: number,
    readonly hidden: number,
    readonly heads: number,
    dropout: number,
    readonly concat = true,
  ) {
    super();
    this.W = new nn.Parameter(empty([inFeatures, hidden * heads]));
    this.a = new nn.Parameter(empty([heads, 2 * hidden]));
    this.dropout = new nn.Dropout(dropout);
    nn.init.xavierNormal_(this.W);
    nn.init.xavierNormal_(this.a);
  }

  /** `[n, heads · hidden]`, or with `concat` false the mean of the heads, `[n, hidden]`. */
  override forward(x: Tensor, edges: Tensor): Tensor {
    const n = x.size(0);
    const [from, to] = edges;
    const h = this.dropout.call(x.mm(this.W).view(n, this.heads, this.hidden));

    // a · [h_from, h_to] is a sum of two numbers, one per node.
    const [aFrom, aTo] = this.a.split(this.hidden, 1);
    const scoreFrom = h.mul(aFrom).sum(2);
    const scoreTo = h.mul(aTo).sum(2);
    const scores = this.leakyrelu.call(scoreFrom.indexSelect(0, from).add(scoreTo.indexSelect(0, to)));
    const attention = this.dropout.call(scatterSoftmax(scores.float(), to, n));

    const out = scatterSum(h.indexSelect(0, from).mul(attention.unsqueeze(2)), to, n);
    return this.concat ? out.reshape(n, this.heads * this.hidden) : out.mean(1);
  }
}

export class GAT extends nn.Module {
  gat1: GraphAttention;
  gat2: GraphAttention;

  constructor(inFeatures: number, hidden: number, heads: number, classes: number, dropout = 0.4) {
    super();
    this.gat1 = new GraphAttention(inFeatures, hidden, heads, dropout);
    this.gat2 = new GraphAttention(hidden * heads, classes, 1, dropout, false);
  }

  /** The logarithms of the probabilities of each class, `[n, classes]`. */
  override forward(x: Tensor, edges: Tensor): Tensor {
    const hidden = F.elu(this.gat1.call(x, edges));
    return F.logSoftmax(this.gat2.call(hidden, edges), 1);
  }
}
