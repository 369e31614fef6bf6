/** The networks that people begin with, small enough for two cores. */
import {
  arange,
  cat,
  crossEntropyLoss,
  maxPool2d,
  nn,
  optim,
  randint,
  randn,
  relu,
  scaledDotProductAttention,
  type Tensor,
} from "@nbit/torch";
import { LightningModule } from "@nbit/lightning";

type Net = nn.Module & { forward(x: Tensor): Tensor };

/** 28 × 28 digits: two convolutions with batch norm and pooling, two layers. */
class Digits extends nn.Module {
  readonly conv1 = new nn.Conv2d(1, 8, 3, { padding: 1, bias: false });
  readonly bn1 = new nn.BatchNorm2d(8);
  readonly conv2 = new nn.Conv2d(8, 16, 3, { padding: 1, bias: false });
  readonly bn2 = new nn.BatchNorm2d(16);
  readonly hidden = new nn.Linear(16 * 7 * 7, 32);
  readonly head = new nn.Linear(32, 10);
  forward(x: Tensor): Tensor {
    const y = maxPool2d(relu(this.bn1.forward(this.conv1.forward(x))), [2, 2]);
    const z = maxPool2d(relu(this.bn2.forward(this.conv2.forward(y))), [2, 2]);
    return this.head.forward(relu(this.hidden.forward(z.flatten(1))));
  }
}

class BasicBlock extends nn.Module {
  readonly conv1: nn.Conv2d;
  readonly bn1: nn.BatchNorm2d;
  readonly conv2: nn.Conv2d;
  readonly bn2: nn.BatchNorm2d;
  readonly downsample: nn.Sequential | null;
  constructor(inputs: number, outputs: number, stride: number) {
    super();
    this.conv1 = new nn.Conv2d(inputs, outputs, 3, { stride, padding: 1, bias: false });
    this.bn1 = new nn.BatchNorm2d(outputs);
    this.conv2 = new nn.Conv2d(outputs, outputs, 3, { padding: 1, bias: false });
    this.bn2 = new nn.BatchNorm2d(outputs);
    this.downsample =
      stride === 1
        ? null
        : new nn.Sequential(new nn.Conv2d(inputs, outputs, 1, { stride, bias: false }), new nn.BatchNorm2d(outputs));
  }
  forward(x: Tensor): Tensor {
    const y = this.bn2.forward(this.conv2.forward(relu(this.bn1.forward(this.conv1.forward(x)))));
    return relu(y.add(this.downsample === null ? x : this.downsample.forward(x)));
  }
}
/** ResNet-18 as for CIFAR, an eighth as wide. */
class ResNet18 extends nn.Module {
  readonly stem = new nn.Conv2d(3, 8, 3, { padding: 1, bias: false });
  readonly bn = new nn.BatchNorm2d(8);
  readonly blocks = new nn.Sequential(
    ...[8, 16, 32, 64].flatMap((width, i) => [
      new BasicBlock(i === 0 ? 8 : width / 2, width, i === 0 ? 1 : 2),
      new BasicBlock(width, width, 1),
    ]),
  );
  readonly head = new nn.Linear(64, 10);
  forward(x: Tensor): Tensor {
    return this.head.forward(this.blocks.forward(relu(this.bn.forward(this.stem.forward(x)))).mean([2, 3]));
  }
}

class Block extends nn.Module {
  readonly norm1: nn.LayerNorm;
  readonly qkv: nn.Linear;
  readonly out: nn.Linear;
  readonly norm2: nn.LayerNorm;
  readonly up: nn.Linear;
  readonly gelu = new nn.GELU();
  readonly down: nn.Linear;
  constructor(
    readonly width: number,
    readonly heads: number,
    readonly isCausal: boolean,
  ) {
    super();
    this.norm1 = new nn.LayerNorm(width);
    this.qkv = new nn.Linear(width, 3 * width);
    this.out = new nn.Linear(width, width);
    this.norm2 = new nn.LayerNorm(width);
    this.up = new nn.Linear(width, 4 * width);
    this.down = new nn.Linear(4 * width, width);
  }
  forward(x: Tensor): Tensor {
    const [B = 0, T = 0] = x.shape;
    const [q, k, v] = this.qkv
      .forward(this.norm1.forward(x))
      .view([B, T, 3, this.heads, this.width / this.heads])
      .permute([2, 0, 3, 1, 4])
      .unbind(0) as [Tensor, Tensor, Tensor];
    const attended = scaledDotProductAttention(q, k, v, { isCausal: this.isCausal })
      .transpose(1, 2)
      .reshape([B, T, this.width]);
    const y = x.add(this.out.forward(attended));
    return y.add(this.down.forward(this.gelu.forward(this.up.forward(this.norm2.forward(y)))));
  }
}
/** A GPT of two layers, its head tied to the embedding. */
class Gpt extends nn.Module {
  readonly embedding = new nn.Embedding(65, 32);
  readonly position = new nn.Embedding(16, 32);
  readonly blocks = new nn.Sequential(new Block(32, 2, true), new Block(32, 2, true));
  readonly norm = new nn.LayerNorm(32);
  forward(x: Tensor): Tensor {
    const y = this.embedding.forward(x).add(this.position.forward(arange(16)));
    const out = this.norm.forward(this.blocks.forward(y)).matmul(this.embedding.weight.t());
    return out.flatten(0, 1);
  }
}
/** A ViT of two layers over patches of 4 × 4. */
class Vit extends nn.Module {
  readonly patches = new nn.Conv2d(3, 32, 4, { stride: 4 });
  readonly token = new nn.Parameter(randn([1, 1, 32]).mul(0.02));
  readonly position = new nn.Parameter(randn([1, 17, 32]).mul(0.02));
  readonly blocks = new nn.Sequential(new Block(32, 2, false), new Block(32, 2, false));
  readonly norm = new nn.LayerNorm(32);
  readonly head = new nn.Linear(32, 10);
  forward(x: Tensor): Tensor {
    const patches = this.patches.forward(x).flatten(2).transpose(1, 2);
    const token = this.token.expand([x.shape[0] ?? 0, 1, 32]);
    const y = cat([token.to(patches.dtype), patches], 1).add(this.position);
    return this.head.forward(this.norm.forward(this.blocks.forward(y)).select(1, 0));
  }
}

export interface Known {
  readonly net: () => Net;
  readonly batch: () => readonly [Tensor, Tensor];
}
export const MODELS: Readonly<Record<string, Known>> = {
  MNIST: { net: () => new Digits(), batch: () => [randn([8, 1, 28, 28]), randint(0, 10, [8])] },
  "ResNet-18": { net: () => new ResNet18(), batch: () => [randn([8, 3, 32, 32]), randint(0, 10, [8])] },
  GPT: { net: () => new Gpt(), batch: () => [randint(0, 65, [4, 16]), randint(0, 65, [64])] },
  ViT: { net: () => new Vit(), batch: () => [randn([4, 3, 16, 16]), randint(0, 10, [4])] },
};

export class Learner extends LightningModule {
  readonly net: Net;
  constructor({ net }: Known) {
    super();
    this.net = net();
  }
  override trainingStep([x, y]: readonly [Tensor, Tensor]): Tensor {
    const loss = crossEntropyLoss(this.net.forward(x), y);
    this.log("loss", loss);
    return loss;
  }
  override configureOptimizers(): optim.Optimizer {
    return new optim.SGD(this.parameters(), { lr: 1e-3, momentum: 0.9, weightDecay: 1e-4 });
  }
}
