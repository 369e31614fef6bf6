/** The two networks of a deep convolutional GAN. Radford, Metz and Chintala, 2015, arXiv:1511.06434. */
import { nn } from "@nbit/torch";
import type { Tensor } from "@nbit/torch";

/** Normal weights, as in the paper; for the layers of which a network is made. */
export function weightsInit(module: nn.Module): void {
  if (module instanceof nn.Conv2d || module instanceof nn.ConvTranspose2d) {
    nn.init.normal_(module.weight, 0.0, 0.02);
  } else if (module instanceof nn.BatchNorm2d && module.weight !== null && module.bias !== null) {
    nn.init.normal_(module.weight, 1.0, 0.02);
    nn.init.zeros_(module.bias);
  }
}

/** Noise `[n, nz, 1, 1]` → images `[n, nc, 64, 64]` in (-1, 1). */
export class Generator extends nn.Module {
  main: nn.Sequential;

  constructor(nz: number, ngf: number, nc: number) {
    super();
    this.main = new nn.Sequential(
      new nn.ConvTranspose2d(nz, ngf * 8, 4, 1, 0, { bias: false }),
      new nn.BatchNorm2d(ngf * 8),
      new nn.ReLU(true),
      // [ngf · 8, 4, 4]
      new nn.ConvTranspose2d(ngf * 8, ngf * 4, 4, 2, 1, { bias: false }),
      new nn.BatchNorm2d(ngf * 4),
      new nn.ReLU(true),
      // [ngf · 4, 8, 8]
      new nn.ConvTranspose2d(ngf * 4, ngf * 2, 4, 2, 1, { bias: false }),
      new nn.BatchNorm2d(ngf * 2),
      new nn.ReLU(true),
      // [ngf · 2, 16, 16]
      new nn.ConvTranspose2d(ngf * 2, ngf, 4, 2, 1, { bias: false }),
      new nn.BatchNorm2d(ngf),
      new nn.ReLU(true),
      // [ngf, 32, 32]
      new nn.ConvTranspose2d(ngf, nc, 4, 2, 1, { bias: false }),
      new nn.Tanh(),
    );
  }

  override forward(input: Tensor): Tensor {
    return this.main.call(input);
  }
}

/** Images `[n, nc, 64, 64]` → how likely each is a real one, `[n]`. */
export class Discriminator extends nn.Module {
  main: nn.Sequential;

  constructor(ndf: number, nc: number) {
    super();
    this.main = new nn.Sequential(
      new nn.Conv2d(nc, ndf, 4, 2, 1, { bias: false }),
      new nn.LeakyReLU(0.2, true),
      // [ndf, 32, 32]
      new nn.Conv2d(ndf, ndf * 2, 4, 2, 1, { bias: false }),
      new nn.BatchNorm2d(ndf * 2),
      new nn.LeakyReLU(0.2, true),
      // [ndf · 2, 16, 16]
      new nn.Conv2d(ndf * 2, ndf * 4, 4, 2, 1, { bias: false }),
      new nn.BatchNorm2d(ndf * 4),
      new nn.LeakyReLU(0.2, true),
      // [ndf · 4, 8, 8]
      new nn.Conv2d(ndf * 4, ndf * 8, 4, 2, 1, { bias: false }),
      new nn.BatchNorm2d(ndf * 8),
      new nn.LeakyReLU(0.2, true),
      // [ndf · 8, 4, 4]
      new nn.Conv2d(ndf * 8, 1, 4, 1, 0, { bias: false }),
    );
  }

  /** In float32, whatever the layers compute in: a probability of 1 - 1e-5 is 1 in 16 bits. */
  override forward(input: Tensor): Tensor {
    return this.main.call(input).float().sigmoid().view(-1, 1).squeeze(1);
  }
}
