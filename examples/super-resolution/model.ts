/** Sharper pictures by a sub-pixel convolution. Shi et al., 2016, arXiv:1609.05158. */
import { nn } from "@nbit/torch";
import type { Tensor } from "@nbit/torch";

export class Net extends nn.Module {
  relu = new nn.ReLU();
  conv1 = new nn.Conv2d(1, 64, [5, 5], [1, 1], [2, 2]);
  conv2 = new nn.Conv2d(64, 64, [3, 3], [1, 1], [1, 1]);
  conv3 = new nn.Conv2d(64, 32, [3, 3], [1, 1], [1, 1]);
  conv4: nn.Conv2d;
  pixelShuffle: nn.PixelShuffle;

  constructor(upscaleFactor: number) {
    super();
    this.conv4 = new nn.Conv2d(32, upscaleFactor ** 2, [3, 3], [1, 1], [1, 1]);
    this.pixelShuffle = new nn.PixelShuffle(upscaleFactor);
    this.initializeWeights();
  }

  override forward(input: Tensor): Tensor {
    let x = this.relu.call(this.conv1.call(input));
    x = this.relu.call(this.conv2.call(x));
    x = this.relu.call(this.conv3.call(x));
    return this.pixelShuffle.call(this.conv4.call(x));
  }

  private initializeWeights(): void {
    const gain = nn.init.calculateGain("relu");
    nn.init.orthogonal_(this.conv1.weight, gain);
    nn.init.orthogonal_(this.conv2.weight, gain);
    nn.init.orthogonal_(this.conv3.weight, gain);
    nn.init.orthogonal_(this.conv4.weight);
  }
}
