/** Pictures out of noise, step by step. Ho, Jain and Abbeel, 2020, arXiv:2006.11239. */
import { amp, cumprod, full, linspace, nn, noGrad, randint, randn, randnLike, scope, sub } from "@nbit/torch";
import type { Tensor } from "@nbit/torch";
import { region } from "../shared/options.js";
import type { Unet } from "./unet.js";

const F = nn.functional;

/** What of a schedule `[steps]` belongs to times `[n]`, to multiply pictures with: `[n, 1, 1, 1]`. */
const extract = (a: Tensor, t: Tensor): Tensor => a.gather(-1, t).view(-1, 1, 1, 1);

export class GaussianDiffusion extends nn.Module {
  declare betas: Tensor;
  declare sqrtAlphasCumprod: Tensor;
  declare sqrtOneMinusAlphasCumprod: Tensor;
  declare sqrtRecipAlphas: Tensor;
  declare posteriorVariance: Tensor;

  constructor(
    readonly model: Unet,
    readonly imageSize: number,
    readonly channels: number,
    readonly numTimesteps: number,
  ) {
    super();
    // In float64: the products of so many numbers near 1 would be inexact in float32.
    const scale = 1000 / numTimesteps;
    const betas = linspace(scale * 0.0001, scale * 0.02, numTimesteps, { dtype: "float64" });
    const alphas = sub(1, betas);
    const alphasCumprod = cumprod(alphas, 0);
    const alphasCumprodPrev = F.pad(alphasCumprod.narrow(0, 0, numTimesteps - 1), [1, 0], "constant", 1);
    const register = (name: string, value: Tensor): void => this.registerBuffer(name, value.float());
    register("betas", betas);
    register("sqrtAlphasCumprod", alphasCumprod.sqrt());
    register("sqrtOneMinusAlphasCumprod", sub(1, alphasCumprod).sqrt());
    register("sqrtRecipAlphas", alphas.rsqrt());
    register("posteriorVariance", betas.mul(sub(1, alphasCumprodPrev)).div(sub(1, alphasCumprod)));
  }

  /** A picture with the noise of time `t`. In float32 also within autocast: signal and noise are far apart in size. */
  qSample(xStart: Tensor, t: Tensor, noise: Tensor): Tensor {
    return amp.autocast(region(32), () =>
      extract(this.sqrtAlphasCumprod, t).mul(xStart).add(extract(this.sqrtOneMinusAlphasCumprod, t).mul(noise)),
    );
  }

  /** How far the network's noise is from that which was added. */
  pLosses(xStart: Tensor, t: Tensor): Tensor {
    const noise = randnLike(xStart);
    const x = this.qSample(xStart, t, noise);
    return F.mseLoss(this.model.call(x, t), noise);
  }

  /** The loss of pictures in [0, 1], at random times. */
  override forward(img: Tensor): Tensor {
    const t = randint(0, this.numTimesteps, [img.size(0)]).long();
    return this.pLosses(img.mul(2).sub(1), t);
  }

  /** A little less noise: from time `t` to `t - 1`. */
  pSample(x: Tensor, t: number): Tensor {
    const times = full([x.size(0)], t, { dtype: "int64" });
    const part = extract(this.betas, times).div(extract(this.sqrtOneMinusAlphasCumprod, times));
    const mean = x.sub(part.mul(this.model.call(x, times))).mul(extract(this.sqrtRecipAlphas, times));
    return t === 0 ? mean : mean.add(extract(this.posteriorVariance, times).sqrt().mul(randnLike(x)));
  }

  /** Pictures in [0, 1], made of noise alone. */
  sample(batchSize: number): Tensor {
    return noGrad(() => {
      let img = randn(batchSize, this.channels, this.imageSize, this.imageSize);
      for (let t = this.numTimesteps - 1; t >= 0; t--) {
        const before = img;
        img = scope(() => this.pSample(before, t));
        before.dispose();
      }
      return img.clamp(-1, 1).add(1).div(2);
    });
  }
}
