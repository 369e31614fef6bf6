/** Five small networks of the kinds that people train, and batches for them. */
import { LightningModule } from "@nbit/lightning";
import {
  crossEntropyLoss,
  dropout,
  lstm,
  maxPool2d,
  nn,
  type optim,
  randint,
  randn,
  relu,
  scaledDotProductAttention,
  zeros,
  type Tensor,
} from "@nbit/torch";

export type Batch = readonly [Tensor, Tensor];
export interface Kind {
  readonly net: () => nn.Module & { forward(x: Tensor): Tensor };
  readonly batch: () => Batch;
}

class Mlp extends nn.Module {
  readonly first = new nn.Linear(12, 24);
  readonly drop: nn.Dropout;
  readonly second = new nn.Linear(24, 5);
  constructor(p = 0.2) {
    super();
    this.drop = new nn.Dropout(p);
  }
  forward(x: Tensor): Tensor {
    return this.second.forward(this.drop.forward(relu(this.first.forward(x))));
  }
}

class Cnn extends nn.Module {
  readonly conv1 = new nn.Conv2d(1, 4, 3, { padding: 1 });
  readonly bn1 = new nn.BatchNorm2d(4);
  readonly conv2 = new nn.Conv2d(4, 8, 3, { padding: 1 });
  readonly bn2 = new nn.BatchNorm2d(8);
  readonly head = new nn.Linear(8 * 2 * 2, 5);
  forward(x: Tensor): Tensor {
    const y = maxPool2d(relu(this.bn1.forward(this.conv1.forward(x))), [2, 2]);
    const z = maxPool2d(relu(this.bn2.forward(this.conv2.forward(y))), [2, 2]);
    return this.head.forward(z.flatten(1));
  }
}

class Residual extends nn.Module {
  readonly conv = new nn.Conv2d(3, 8, 3, { padding: 1, bias: false });
  readonly bn = new nn.BatchNorm2d(8);
  readonly inner = new nn.Conv2d(8, 8, 3, { padding: 1, bias: false });
  readonly norm = new nn.GroupNorm(2, 8);
  readonly head = new nn.Linear(8, 5);
  forward(x: Tensor): Tensor {
    const y = relu(this.bn.forward(this.conv.forward(x)));
    return this.head.forward(relu(y.add(this.norm.forward(this.inner.forward(y)))).mean([2, 3]));
  }
}

class Lstm extends nn.Module {
  readonly weightIh = new nn.Parameter(randn([32, 6]).mul(0.2));
  readonly weightHh = new nn.Parameter(randn([32, 8]).mul(0.2));
  readonly biasIh = new nn.Parameter(zeros([32]));
  readonly biasHh = new nn.Parameter(zeros([32]));
  readonly head = new nn.Linear(8, 5);
  forward(x: Tensor): Tensor {
    const start = zeros([1, x.shape[0] ?? 0, 8], { dtype: x.dtype });
    const weights = [this.weightIh, this.weightHh, this.biasIh, this.biasHh];
    const [out] = lstm(x, [start, start], weights, true, 1, 0, true, false, true);
    return this.head.forward(out.select(1, -1));
  }
}

class Transformer extends nn.Module {
  readonly embedding = new nn.Embedding(11, 16);
  readonly position = new nn.Parameter(randn([6, 16]).mul(0.05));
  readonly norm = new nn.LayerNorm(16);
  readonly qkv = new nn.Linear(16, 48);
  readonly out = new nn.Linear(16, 16);
  readonly up = new nn.Linear(16, 32);
  readonly gelu = new nn.GELU();
  readonly down = new nn.Linear(32, 16);
  readonly head = new nn.Linear(16, 5);
  constructor(readonly p = 0.1) {
    super();
  }
  forward(x: Tensor): Tensor {
    const y = this.embedding.forward(x).add(this.position);
    const [q, k, v] = this.qkv
      .forward(this.norm.forward(y))
      .view([-1, 6, 3, 2, 8])
      .permute([2, 0, 3, 1, 4])
      .unbind(0) as [Tensor, Tensor, Tensor];
    const attended = scaledDotProductAttention(q, k, v, { isCausal: true }).transpose(1, 2).flatten(2);
    const z = y.add(dropout(this.out.forward(attended), this.p, true));
    return this.head.forward(z.add(this.down.forward(this.gelu.forward(this.up.forward(z)))).mean([1]));
  }
}

const labels = (): Tensor => randint(0, 5, [4]);
export const KINDS: Readonly<Record<string, Kind>> = {
  mlp: { net: () => new Mlp(), batch: () => [randn([4, 12]), labels()] },
  cnn: { net: () => new Cnn(), batch: () => [randn([4, 1, 8, 8]), labels()] },
  residual: { net: () => new Residual(), batch: () => [randn([4, 3, 6, 6]), labels()] },
  lstm: { net: () => new Lstm(), batch: () => [randn([4, 5, 6]), labels()] },
  transformer: { net: () => new Transformer(), batch: () => [randint(0, 11, [4, 6]), labels()] },
};
/** The same without dropout: for engines that draw other random bits. */
export const CERTAIN_KINDS: Readonly<Record<string, Kind>> = {
  ...KINDS,
  mlp: { ...KINDS["mlp"], net: () => new Mlp(0) } as Kind,
  transformer: { ...KINDS["transformer"], net: () => new Transformer(0) } as Kind,
};

/** Trains one of them. */
export class Classifier extends LightningModule {
  readonly net: nn.Module & { forward(x: Tensor): Tensor };
  constructor(
    kind: Kind,
    readonly optimizer: (parameters: Iterable<nn.Parameter>) => optim.Optimizer,
  ) {
    super();
    this.net = kind.net();
  }
  override trainingStep([x, y]: Batch): Tensor {
    const loss = crossEntropyLoss(this.net.forward(x), y);
    this.log("loss", loss);
    return loss;
  }
  override configureOptimizers(): optim.Optimizer {
    return this.optimizer(this.parameters());
  }
}
