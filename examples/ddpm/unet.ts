/** The network that finds the noise in a picture: a small U-Net with residual blocks, told how noisy the picture is. */
import { arange, cat, nn } from "@nbit/torch";
import type { Tensor } from "@nbit/torch";

const F = nn.functional;

/** Sines and cosines of a number at frequencies that fall from 1 to 1e-4: `[n]` → `[n, dim]`. */
class SinusoidalPosEmb extends nn.Module {
  constructor(
    readonly dim: number,
    readonly theta = 10000,
  ) {
    super();
  }

  override forward(time: Tensor): Tensor {
    const halfDim = this.dim / 2;
    const frequencies = arange(halfDim)
      .mul(-Math.log(this.theta) / (halfDim - 1))
      .exp();
    const angles = time.float().unsqueeze(1).mul(frequencies);
    return cat([angles.sin(), angles.cos()], -1);
  }
}

/** Convolution, group normalisation, SiLU; the time scales and shifts what is normalised. */
class Block extends nn.Module {
  proj: nn.Conv2d;
  norm: nn.GroupNorm;
  act = new nn.SiLU();

  constructor(dim: number, dimOut: number, groups = 4) {
    super();
    this.proj = new nn.Conv2d(dim, dimOut, 3, { padding: 1 });
    this.norm = new nn.GroupNorm(groups, dimOut);
  }

  override forward(x: Tensor, scaleShift: readonly [scale: Tensor, shift: Tensor] | null = null): Tensor {
    let y = this.norm.call(this.proj.call(x));
    if (scaleShift !== null) {
      const [scale, shift] = scaleShift;
      y = y.mul(scale.add(1)).add(shift);
    }
    return this.act.call(y);
  }
}

class ResnetBlock extends nn.Module {
  mlp: nn.Sequential;
  block1: Block;
  block2: Block;
  resConv: nn.Module & { forward(x: Tensor): Tensor };

  constructor(dim: number, dimOut: number, timeEmbDim: number) {
    super();
    this.mlp = new nn.Sequential(new nn.SiLU(), new nn.Linear(timeEmbDim, dimOut * 2));
    this.block1 = new Block(dim, dimOut);
    this.block2 = new Block(dimOut, dimOut);
    this.resConv = dim === dimOut ? new nn.Identity() : new nn.Conv2d(dim, dimOut, 1);
  }

  override forward(x: Tensor, timeEmb: Tensor): Tensor {
    const [scale, shift] = this.mlp.call(timeEmb).unsqueeze(-1).unsqueeze(-1).chunk(2, 1);
    const h = this.block2.call(this.block1.call(x, [scale, shift]));
    return h.add(this.resConv.call(x));
  }
}

/** Every pixel looks at every other; with the input around it. */
class Attention extends nn.Module {
  norm: nn.GroupNorm;
  toQkv: nn.Conv2d;
  toOut: nn.Conv2d;

  constructor(
    dim: number,
    readonly heads = 2,
    readonly dimHead = 8,
  ) {
    super();
    this.norm = new nn.GroupNorm(1, dim);
    this.toQkv = new nn.Conv2d(dim, heads * dimHead * 3, 1, { bias: false });
    this.toOut = new nn.Conv2d(heads * dimHead, dim, 1);
  }

  override forward(x: Tensor): Tensor {
    const [b, , h, w] = x.size();
    const [q, k, v] = this.toQkv
      .call(this.norm.call(x))
      .chunk(3, 1)
      .map((t) => t.reshape(b, this.heads, this.dimHead, h * w).transpose(2, 3));
    const out = F.scaledDotProductAttention(q, k, v);
    return this.toOut.call(out.transpose(2, 3).reshape(b, this.heads * this.dimHead, h, w)).add(x);
  }
}

/** Half the size: each square of four pixels becomes the channels of one. */
function downsample(dim: number, dimOut: number): nn.Sequential {
  return new nn.Sequential(new nn.PixelUnshuffle(2), new nn.Conv2d(dim * 4, dimOut, 1));
}

function upsample(dim: number, dimOut: number): nn.Sequential {
  return new nn.Sequential(
    new nn.Upsample({ scaleFactor: 2, mode: "nearest" }),
    new nn.Conv2d(dim, dimOut, 3, { padding: 1 }),
  );
}

/** Two levels; `[n, channels, size, size]` and times `[n]` → the noise, of the picture's shape. */
export class Unet extends nn.Module {
  initConv: nn.Conv2d;
  timeMlp: nn.Sequential;
  block1: ResnetBlock;
  down: nn.Sequential;
  block2: ResnetBlock;
  midBlock1: ResnetBlock;
  midAttn: Attention;
  midBlock2: ResnetBlock;
  block3: ResnetBlock;
  up: nn.Sequential;
  block4: ResnetBlock;
  finalConv: nn.Conv2d;

  constructor(dim: number, channels: number) {
    super();
    const timeDim = dim * 4;
    this.initConv = new nn.Conv2d(channels, dim, 7, { padding: 3 });
    this.timeMlp = new nn.Sequential(
      new SinusoidalPosEmb(dim),
      new nn.Linear(dim, timeDim),
      new nn.GELU(),
      new nn.Linear(timeDim, timeDim),
    );
    this.block1 = new ResnetBlock(dim, dim, timeDim);
    this.down = downsample(dim, dim * 2);
    this.block2 = new ResnetBlock(dim * 2, dim * 2, timeDim);
    this.midBlock1 = new ResnetBlock(dim * 2, dim * 2, timeDim);
    this.midAttn = new Attention(dim * 2);
    this.midBlock2 = new ResnetBlock(dim * 2, dim * 2, timeDim);
    this.block3 = new ResnetBlock(dim * 4, dim * 2, timeDim);
    this.up = upsample(dim * 2, dim);
    this.block4 = new ResnetBlock(dim * 2, dim, timeDim);
    this.finalConv = new nn.Conv2d(dim, channels, 1);
  }

  override forward(x: Tensor, time: Tensor): Tensor {
    const t = this.timeMlp.call(time);
    const large = this.block1.call(this.initConv.call(x), t);
    const small = this.block2.call(this.down.call(large), t);
    let y = this.midBlock1.call(small, t);
    y = this.midAttn.call(y);
    y = this.midBlock2.call(y, t);
    y = this.block3.call(cat([y, small], 1), t);
    y = this.block4.call(cat([this.up.call(y), large], 1), t);
    return this.finalConv.call(y);
  }
}
