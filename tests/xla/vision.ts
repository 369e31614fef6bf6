/** Networks over images, small enough for a test. */
import {
  avgPool2d,
  cat,
  convTranspose2d,
  maxPool2d,
  nn,
  randn,
  relu,
  upsampleBilinear2d,
  upsampleNearest2d,
  type Tensor,
} from "@nbit/torch";

type Layer = nn.Module & { forward(x: Tensor): Tensor };

export class Cnn extends nn.Module {
  /** Without biases before a norm, which takes them away again: their gradient is rounding alone. */
  readonly conv1 = new nn.Conv2d(3, 8, 3, { padding: 1, bias: false });
  readonly bn1 = new nn.BatchNorm2d(8);
  readonly conv2 = new nn.Conv2d(8, 16, 3, { stride: 2, padding: 1, groups: 2, bias: false });
  readonly bn2 = new nn.BatchNorm2d(16);
  readonly conv3 = new nn.Conv2d(16, 16, 3, { padding: 2, dilation: 2 });
  readonly head = new nn.Linear(16, 5);
  forward(x: Tensor): Tensor {
    const y = maxPool2d(relu(this.bn1.forward(this.conv1.forward(x))), [3, 3], [2, 2], [1, 1]);
    const z = relu(this.conv3.forward(relu(this.bn2.forward(this.conv2.forward(y)))));
    return this.head.forward(avgPool2d(z, [2, 2]).mean([2, 3]));
  }
}

const conv = (inputs: number, outputs: number, size: number, stride = 1): nn.Conv2d =>
  new nn.Conv2d(inputs, outputs, size, { stride, padding: (size - 1) / 2, bias: false });

class Basic extends nn.Module {
  readonly conv1: nn.Conv2d;
  readonly bn1: nn.BatchNorm2d;
  readonly conv2: nn.Conv2d;
  readonly bn2: nn.BatchNorm2d;
  readonly down: nn.Sequential | null;
  constructor(inputs: number, width: number, stride: number) {
    super();
    [this.conv1, this.bn1] = [conv(inputs, width, 3, stride), new nn.BatchNorm2d(width)];
    [this.conv2, this.bn2] = [conv(width, width, 3), new nn.BatchNorm2d(width)];
    this.down =
      stride === 1 && inputs === width
        ? null
        : new nn.Sequential(conv(inputs, width, 1, stride), new nn.BatchNorm2d(width));
  }
  forward(x: Tensor): Tensor {
    const y = this.bn2.forward(this.conv2.forward(relu(this.bn1.forward(this.conv1.forward(x)))));
    return relu(y.add(this.down === null ? x : this.down.forward(x)));
  }
}
class Bottleneck extends nn.Module {
  readonly body: nn.Sequential;
  readonly down: nn.Sequential | null;
  constructor(inputs: number, width: number, stride: number) {
    super();
    // Blocks begin near to nothing, as is usual: fifty layers would make of the last bit of a sum a digit of the loss.
    const last = new nn.BatchNorm2d(4 * width);
    if (last.weight !== null) nn.init.constant_(last.weight, 0.1);
    this.body = new nn.Sequential(
      ...[conv(inputs, width, 1), new nn.BatchNorm2d(width), new nn.ReLU()],
      ...[conv(width, width, 3, stride), new nn.BatchNorm2d(width), new nn.ReLU()],
      ...[conv(width, 4 * width, 1), last],
    );
    this.down =
      stride === 1 && inputs === 4 * width
        ? null
        : new nn.Sequential(conv(inputs, 4 * width, 1, stride), new nn.BatchNorm2d(4 * width));
  }
  forward(x: Tensor): Tensor {
    return relu(this.body.forward(x).add(this.down === null ? x : this.down.forward(x)));
  }
}
/** He et al., 2015: ResNet-18 with basic blocks, ResNet-50 with bottlenecks, of a few channels. */
export class ResNet extends nn.Module {
  readonly stem: nn.Conv2d;
  readonly bn: nn.BatchNorm2d;
  readonly blocks: nn.Sequential;
  readonly head: nn.Linear;
  constructor(bottlenecks: boolean, depths: readonly number[], width: number) {
    super();
    [this.stem, this.bn] = [conv(3, width, 7, 2), new nn.BatchNorm2d(width)];
    const blocks: Layer[] = [];
    let inputs = width;
    depths.forEach((depth, i) => {
      for (let k = 0; k < depth; k++) {
        const [channels, stride] = [width << i, k === 0 && i > 0 ? 2 : 1];
        blocks.push(bottlenecks ? new Bottleneck(inputs, channels, stride) : new Basic(inputs, channels, stride));
        inputs = channels * (bottlenecks ? 4 : 1);
      }
    });
    this.blocks = new nn.Sequential(...blocks);
    this.head = new nn.Linear(inputs, 5);
  }
  forward(x: Tensor): Tensor {
    const y = maxPool2d(relu(this.bn.forward(this.stem.forward(x))), [3, 3], [2, 2], [1, 1]);
    return this.head.forward(this.blocks.forward(y).mean([2, 3]));
  }
}

/** Down, up again, and across. */
export class UNet extends nn.Module {
  readonly down1 = new nn.Sequential(conv(3, 8, 3), new nn.BatchNorm2d(8), new nn.ReLU());
  readonly down2 = new nn.Sequential(conv(8, 16, 3), new nn.GroupNorm(4, 16), new nn.SiLU());
  readonly middle = new nn.Sequential(conv(16, 16, 3), new nn.ReLU());
  readonly weight = new nn.Parameter(randn([16, 16, 2, 2]).mul(0.1));
  readonly up2 = new nn.Sequential(conv(32, 8, 3), new nn.ReLU());
  readonly up1 = new nn.Sequential(conv(16, 8, 3), new nn.ReLU());
  readonly out = new nn.Conv2d(8, 3, 1);
  forward(x: Tensor): Tensor {
    const a = this.down1.forward(x);
    const b = this.down2.forward(maxPool2d(a, [2, 2]));
    const c = this.middle.forward(maxPool2d(b, [2, 2]));
    const d = this.up2.forward(cat([convTranspose2d(c, this.weight, null, 2), b], 1));
    const [h, w] = x.shape.slice(2) as [number, number];
    const e = this.up1.forward(cat([upsampleBilinear2d(d, [h, w], false), a], 1));
    return this.out.forward(e.add(upsampleNearest2d(d, [h, w])));
  }
}
/** Into few numbers and back. */
export class Autoencoder extends nn.Module {
  readonly encoder = new nn.Sequential(
    ...[new nn.Conv2d(3, 8, 3, { stride: 2, padding: 1 }), new nn.LeakyReLU(0.1)],
    ...[new nn.Flatten(), new nn.Linear(8 * 8 * 8, 12), new nn.Tanh()],
  );
  readonly decoder = new nn.Linear(12, 8 * 8 * 8);
  readonly weight = new nn.Parameter(randn([8, 3, 4, 4]).mul(0.1));
  forward(x: Tensor): Tensor {
    const y = relu(this.decoder.forward(this.encoder.forward(x))).view([x.shape[0] ?? 0, 8, 8, 8]);
    return convTranspose2d(y, this.weight, null, 2, 1).sigmoid();
  }
}
