/** A small convolutional network for images of 28×28, and ResNet-18 as it is used for images of 32×32. */
import { maxPool2d, nn, relu, type Tensor } from "@nbit/torch";

export class Cnn extends nn.Module {
  readonly conv1 = new nn.Conv2d(1, 16, 3, { padding: 1 });
  readonly bn1 = new nn.BatchNorm2d(16);
  readonly conv2 = new nn.Conv2d(16, 32, 3, { padding: 1 });
  readonly bn2 = new nn.BatchNorm2d(32);
  readonly head = new nn.Linear(32 * 7 * 7, 10);
  forward(x: Tensor): Tensor {
    const y = maxPool2d(relu(this.bn1.forward(this.conv1.forward(x))), [2, 2]);
    const z = maxPool2d(relu(this.bn2.forward(this.conv2.forward(y))), [2, 2]);
    return this.head.forward(z.flatten(1));
  }
}

class ResidualBlock extends nn.Module {
  readonly conv1: nn.Conv2d;
  readonly bn1: nn.BatchNorm2d;
  readonly conv2: nn.Conv2d;
  readonly bn2: nn.BatchNorm2d;
  readonly down: nn.Conv2d | null;
  readonly bn3: nn.BatchNorm2d | null;
  constructor(inputs: number, channels: number, stride: number) {
    super();
    this.conv1 = new nn.Conv2d(inputs, channels, 3, { stride, padding: 1, bias: false });
    this.bn1 = new nn.BatchNorm2d(channels);
    this.conv2 = new nn.Conv2d(channels, channels, 3, { padding: 1, bias: false });
    this.bn2 = new nn.BatchNorm2d(channels);
    const changed = stride !== 1 || inputs !== channels;
    this.down = changed ? new nn.Conv2d(inputs, channels, 1, { stride, bias: false }) : null;
    this.bn3 = changed ? new nn.BatchNorm2d(channels) : null;
  }
  forward(x: Tensor): Tensor {
    const y = this.bn2.forward(this.conv2.forward(relu(this.bn1.forward(this.conv1.forward(x)))));
    return relu(y.add(this.down === null || this.bn3 === null ? x : this.bn3.forward(this.down.forward(x))));
  }
}

/** He et al., 2015, with one 3×3 convolution before the blocks and no pooling there. */
export class ResNet18 extends nn.Module {
  readonly conv = new nn.Conv2d(3, 64, 3, { padding: 1, bias: false });
  readonly bn = new nn.BatchNorm2d(64);
  readonly blocks: nn.ModuleList<ResidualBlock>;
  readonly head: nn.Linear;
  constructor() {
    super();
    const blocks: ResidualBlock[] = [];
    let inputs = 64;
    for (let i = 0; i < 4; i++)
      for (const stride of [i === 0 ? 1 : 2, 1]) {
        blocks.push(new ResidualBlock(inputs, 64 << i, stride));
        inputs = 64 << i;
      }
    this.blocks = new nn.ModuleList(blocks);
    this.head = new nn.Linear(512, 10);
  }
  forward(x: Tensor): Tensor {
    let y = relu(this.bn.forward(this.conv.forward(x)));
    for (const block of this.blocks) y = block.forward(y);
    return this.head.forward(y.mean([2, 3]));
  }
}
