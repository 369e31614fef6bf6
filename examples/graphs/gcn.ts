/** A graph convolutional network. Kipf and Welling, 2017, arXiv:1609.02907. */
import { empty, nn, ones } from "@nbit/torch";
import type { Tensor } from "@nbit/torch";
import { scatterSum } from "./scatter.js";

const F = nn.functional;

/** A node takes the mean of its neighbours, weighted by 1 / √(neighbours of both). */
export class GraphConv extends nn.Module {
  kernel: nn.Parameter;
  bias: nn.Parameter;

  constructor(inFeatures: number, outFeatures: number) {
    super();
    this.kernel = new nn.Parameter(empty([inFeatures, outFeatures]));
    nn.init.xavierNormal_(this.kernel);
    this.bias = new nn.Parameter(empty([outFeatures]));
    nn.init.zeros_(this.bias);
  }

  override forward(x: Tensor, edges: Tensor): Tensor {
    const n = x.size(0);
    const [from, to] = edges;
    const scale = scatterSum(ones([to.numel()]), to, n).rsqrt();
    const weight = scale.indexSelect(0, from).mul(scale.indexSelect(0, to));
    const support = x.mm(this.kernel);
    const messages = support.indexSelect(0, from).mul(weight.unsqueeze(1));
    return scatterSum(messages, to, n).add(this.bias);
  }
}

export class GCN extends nn.Module {
  gc1: GraphConv;
  gc2: GraphConv;
  dropout: nn.Dropout;

  constructor(inFeatures: number, hidden: number, classes: number, dropout = 0.1) {
    super();
    this.gc1 = new GraphConv(inFeatures, hidden);
    this.gc2 = new GraphConv(hidden, classes);
    this.dropout = new nn.Dropout(dropout);
  }

  /** The logarithms of the probabilities of each class, `[n, classes]`. */
  override forward(x: Tensor, edges: Tensor): Tensor {
    const hidden = this.dropout.call(F.relu(this.gc1.call(x, edges)));
    return F.logSoftmax(this.gc2.call(hidden, edges), 1);
  }
}
