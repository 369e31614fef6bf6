import { LightningModule, Trainer } from "@nbit/lightning";
import { amp, DataLoader, full, manualSeed, nn, optim, randn, TensorDataset } from "@nbit/torch";
import type { Tensor } from "@nbit/torch";
import { accelerator, region, type Curves, type RunOptions } from "../shared/options.js";
import { digits } from "../shared/pictures.js";
import { Discriminator, Generator, weightsInit } from "./model.js";

const REAL = 1;
const FAKE = 0;

/** Two networks, two optimizers: the steps are made by hand. */
class DCGAN extends LightningModule {
  override automaticOptimization = false;
  netG: Generator;
  netD: Discriminator;
  criterion = new nn.BCELoss();
  readonly lossesD: number[] = [];
  readonly lossesG: number[] = [];

  constructor(
    readonly nz: number,
    width: number,
    readonly say: (line: string) => void,
  ) {
    super();
    this.netG = new Generator(nz, width, 1);
    this.netG.apply(weightsInit);
    this.netD = new Discriminator(width, 1);
    this.netD.apply(weightsInit);
  }

  /** Cross entropy of probabilities, outside autocast: it is for float32 alone. */
  private loss(output: Tensor, label: number): Tensor {
    return amp.autocast(region(32), () => this.criterion.call(output, full([output.size(0)], label)));
  }

  override trainingStep([real]: [Tensor]): void {
    const [optimizerD, optimizerG] = [this.optimizers()].flat();

    // The discriminator: log D(x) + log(1 - D(G(z))) is to rise. The gradients of both parts are added up.
    optimizerD.zeroGrad();
    const errDReal = this.loss(this.netD.call(real), REAL);
    this.manualBackward(errDReal);
    const noise = randn(real.size(0), this.nz, 1, 1);
    const fake = this.netG.call(noise);
    const errDFake = this.loss(this.netD.call(fake.detach()), FAKE);
    this.manualBackward(errDFake);
    optimizerD.step();

    // The generator: log D(G(z)) is to rise.
    optimizerG.zeroGrad();
    const errG = this.loss(this.netD.call(fake), REAL);
    this.manualBackward(errG);
    optimizerG.step();

    this.lossesD.push(errDReal.add(errDFake).item());
    this.lossesG.push(errG.item());
    const step = this.lossesD.length;
    if (step % 10 === 1)
      this.say(`step ${step}: loss D ${this.lossesD.at(-1)?.toFixed(4)}, loss G ${this.lossesG.at(-1)?.toFixed(4)}`);
  }

  override configureOptimizers() {
    return [
      new optim.Adam(this.netD.parameters(), { lr: 0.0002, betas: [0.5, 0.999] }),
      new optim.Adam(this.netG.parameters(), { lr: 0.0002, betas: [0.5, 0.999] }),
    ];
  }
}

/** The losses of each step of both networks. */
export async function train({ precision = 32, steps = 100, log = () => {} }: RunOptions = {}): Promise<
  Curves<"discriminator" | "generator">
> {
  manualSeed(999);
  const images = nn.functional.interpolate(digits(512), { size: 64, mode: "bilinear" }).sub(0.5).div(0.5);
  const loader = new DataLoader(new TensorDataset(images), { batchSize: 8, shuffle: true });
  const model = new DCGAN(100, 16, log);
  const trainer = new Trainer({
    accelerator: accelerator(),
    precision,
    maxSteps: 2 * steps, // both optimizers' steps count
    logger: false,
    enableCheckpointing: false,
    enableProgressBar: false,
    enableModelSummary: false,
  });
  await trainer.fit(model, { trainDataloaders: loader });
  return { discriminator: model.lossesD, generator: model.lossesG };
}
