/** A U-Net: what is where, pixel by pixel. Ronneberger, Fischer and Brox, 2015, arXiv:1505.04597. */
import { cat, nn } from "@nbit/torch";
import type { Tensor } from "@nbit/torch";

const F = nn.functional;

/** (convolution, batch normalisation, ReLU) twice. */
class DoubleConv extends nn.Module {
  doubleConv: nn.Sequential;

  constructor(inChannels: number, outChannels: number, midChannels = outChannels) {
    super();
    this.doubleConv = new nn.Sequential(
      new nn.Conv2d(inChannels, midChannels, 3, { padding: 1, bias: false }),
      new nn.BatchNorm2d(midChannels),
      new nn.ReLU({ inplace: true }),
      new nn.Conv2d(midChannels, outChannels, 3, { padding: 1, bias: false }),
      new nn.BatchNorm2d(outChannels),
      new nn.ReLU({ inplace: true }),
    );
  }

  override forward(x: Tensor): Tensor {
    return this.doubleConv.call(x);
  }
}

/** Half the size, then a double convolution. */
class Down extends nn.Module {
  maxpoolConv: nn.Sequential;

  constructor(inChannels: number, outChannels: number) {
    super();
    this.maxpoolConv = new nn.Sequential(new nn.MaxPool2d(2), new DoubleConv(inChannels, outChannels));
  }

  override forward(x: Tensor): Tensor {
    return this.maxpoolConv.call(x);
  }
}

/** Twice the size, beside what came down at that size, then a double convolution. */
class Up extends nn.Module {
  up: nn.Upsample | nn.ConvTranspose2d;
  conv: DoubleConv;

  constructor(inChannels: number, outChannels: number, bilinear: boolean) {
    super();
    if (bilinear) {
      // Enlarging has no weights: the convolutions bring the channels down.
      this.up = new nn.Upsample({ scaleFactor: 2, mode: "bilinear", alignCorners: true });
      this.conv = new DoubleConv(inChannels, outChannels, Math.floor(inChannels / 2));
    } else {
      this.up = new nn.ConvTranspose2d(inChannels, Math.floor(inChannels / 2), 2, { stride: 2 });
      this.conv = new DoubleConv(inChannels, outChannels);
    }
  }

  override forward(x1: Tensor, x2: Tensor): Tensor {
    const x = this.up.call(x1);
    // Sizes that are not divisible by two were rounded down.
    const diffY = x2.size(2) - x.size(2);
    const diffX = x2.size(3) - x.size(3);
    const padded = F.pad(x, [
      Math.floor(diffX / 2),
      diffX - Math.floor(diffX / 2),
      Math.floor(diffY / 2),
      diffY - Math.floor(diffY / 2),
    ]);
    return this.conv.call(cat([x2, padded], 1));
  }
}

class OutConv extends nn.Module {
  conv: nn.Conv2d;

  constructor(inChannels: number, outChannels: number) {
    super();
    this.conv = new nn.Conv2d(inChannels, outChannels, 1);
  }

  override forward(x: Tensor): Tensor {
    return this.conv.call(x);
  }
}

export class UNet extends nn.Module {
  inc: DoubleConv;
  down1: Down;
  down2: Down;
  down3: Down;
  down4: Down;
  up1: Up;
  up2: Up;
  up3: Up;
  up4: Up;
  outc: OutConv;

  /** @param width - Channels of the first level; 64 in the paper. */
  constructor(
    readonly nChannels: number,
    readonly nClasses: number,
    readonly bilinear = false,
    width = 64,
  ) {
    super();
    const factor = bilinear ? 2 : 1;
    this.inc = new DoubleConv(nChannels, width);
    this.down1 = new Down(width, width * 2);
    this.down2 = new Down(width * 2, width * 4);
    this.down3 = new Down(width * 4, width * 8);
    this.down4 = new Down(width * 8, (width * 16) / factor);
    this.up1 = new Up(width * 16, (width * 8) / factor, bilinear);
    this.up2 = new Up(width * 8, (width * 4) / factor, bilinear);
    this.up3 = new Up(width * 4, (width * 2) / factor, bilinear);
    this.up4 = new Up(width * 2, width, bilinear);
    this.outc = new OutConv(width, nClasses);
  }

  /** `[n, channels, h, w]` → logits `[n, classes, h, w]`. */
  override forward(x: Tensor): Tensor {
    const x1 = this.inc.call(x);
    const x2 = this.down1.call(x1);
    const x3 = this.down2.call(x2);
    const x4 = this.down3.call(x3);
    const x5 = this.down4.call(x4);
    let y = this.up1.call(x5, x4);
    y = this.up2.call(y, x3);
    y = this.up3.call(y, x2);
    y = this.up4.call(y, x1);
    return this.outc.call(y);
  }
}
