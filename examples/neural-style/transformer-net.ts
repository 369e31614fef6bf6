/** The network that paints. Johnson, Alahi and Fei-Fei, 2016, arXiv:1603.08155. */
import { nn } from "@nbit/torch";
import type { Tensor } from "@nbit/torch";

const F = nn.functional;

/** A convolution that keeps the size at stride 1: borders are reflected, which leaves no frame around a picture. */
class ConvLayer extends nn.Module {
  reflectionPad: nn.ReflectionPad2d;
  conv2d: nn.Conv2d;

  constructor(inChannels: number, outChannels: number, kernelSize: number, stride: number) {
    super();
    this.reflectionPad = new nn.ReflectionPad2d(Math.floor(kernelSize / 2));
    this.conv2d = new nn.Conv2d(inChannels, outChannels, kernelSize, stride);
  }

  override forward(x: Tensor): Tensor {
    return this.conv2d.call(this.reflectionPad.call(x));
  }
}

/** Two convolutions around which the input goes. He et al., 2015, without the ReLU after the sum. */
class ResidualBlock extends nn.Module {
  conv1: ConvLayer;
  in1: nn.InstanceNorm2d;
  conv2: ConvLayer;
  in2: nn.InstanceNorm2d;
  relu = new nn.ReLU();

  constructor(channels: number) {
    super();
    this.conv1 = new ConvLayer(channels, channels, 3, 1);
    this.in1 = new nn.InstanceNorm2d(channels, { affine: true });
    this.conv2 = new ConvLayer(channels, channels, 3, 1);
    this.in2 = new nn.InstanceNorm2d(channels, { affine: true });
  }

  override forward(x: Tensor): Tensor {
    const out = this.relu.call(this.in1.call(this.conv1.call(x)));
    return this.in2.call(this.conv2.call(out)).add(x);
  }
}

/** Enlarges by repeating pixels and then convolves: no checkerboard, as transposed convolutions leave one. */
class UpsampleConvLayer extends nn.Module {
  reflectionPad: nn.ReflectionPad2d;
  conv2d: nn.Conv2d;

  constructor(
    inChannels: number,
    outChannels: number,
    kernelSize: number,
    stride: number,
    readonly upsample: number | null = null,
  ) {
    super();
    this.reflectionPad = new nn.ReflectionPad2d(Math.floor(kernelSize / 2));
    this.conv2d = new nn.Conv2d(inChannels, outChannels, kernelSize, stride);
  }

  override forward(x: Tensor): Tensor {
    const large = this.upsample === null ? x : F.interpolate(x, { mode: "nearest", scaleFactor: this.upsample });
    return this.conv2d.call(this.reflectionPad.call(large));
  }
}

export class TransformerNet extends nn.Module {
  conv1: ConvLayer;
  in1: nn.InstanceNorm2d;
  conv2: ConvLayer;
  in2: nn.InstanceNorm2d;
  conv3: ConvLayer;
  in3: nn.InstanceNorm2d;
  res1: ResidualBlock;
  res2: ResidualBlock;
  res3: ResidualBlock;
  res4: ResidualBlock;
  res5: ResidualBlock;
  deconv1: UpsampleConvLayer;
  in4: nn.InstanceNorm2d;
  deconv2: UpsampleConvLayer;
  in5: nn.InstanceNorm2d;
  deconv3: ConvLayer;
  relu = new nn.ReLU();

  /** @param width - Channels of the first layer; 32 in the paper. */
  constructor(width = 32) {
    super();
    this.conv1 = new ConvLayer(3, width, 9, 1);
    this.in1 = new nn.InstanceNorm2d(width, { affine: true });
    this.conv2 = new ConvLayer(width, width * 2, 3, 2);
    this.in2 = new nn.InstanceNorm2d(width * 2, { affine: true });
    this.conv3 = new ConvLayer(width * 2, width * 4, 3, 2);
    this.in3 = new nn.InstanceNorm2d(width * 4, { affine: true });
    this.res1 = new ResidualBlock(width * 4);
    this.res2 = new ResidualBlock(width * 4);
    this.res3 = new ResidualBlock(width * 4);
    this.res4 = new ResidualBlock(width * 4);
    this.res5 = new ResidualBlock(width * 4);
    this.deconv1 = new UpsampleConvLayer(width * 4, width * 2, 3, 1, 2);
    this.in4 = new nn.InstanceNorm2d(width * 2, { affine: true });
    this.deconv2 = new UpsampleConvLayer(width * 2, width, 3, 1, 2);
    this.in5 = new nn.InstanceNorm2d(width, { affine: true });
    this.deconv3 = new ConvLayer(width, 3, 9, 1);
  }

  override forward(x: Tensor): Tensor {
    let y = this.relu.call(this.in1.call(this.conv1.call(x)));
    y = this.relu.call(this.in2.call(this.conv2.call(y)));
    y = this.relu.call(this.in3.call(this.conv3.call(y)));
    y = this.res1.call(y);
    y = this.res2.call(y);
    y = this.res3.call(y);
    y = this.res4.call(y);
    y = this.res5.call(y);
    y = this.relu.call(this.in4.call(this.deconv1.call(y)));
    y = this.relu.call(this.in5.call(this.deconv2.call(y)));
    return this.deconv3.call(y);
  }
}
