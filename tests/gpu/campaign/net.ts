/**
 * The small network of the campaign, in every way of training it: small enough for thousands of steps a second, wide
 * enough for float8 and for state in 8 bits.
 */
import { nn, noGrad, optim, randn, type Tensor } from "@nbit/torch";
import { LightningModule, type OptimizerConfiguration } from "@nbit/lightning";

export type MakeOptimizer = (parameters: Iterable<nn.Parameter>) => optim.Optimizer;
export const WIDTH = 64;

export const MODES = [
  "automatic",
  "manual",
  "two optimizers",
  "accumulation",
  "infinities",
  "schedulers",
  "validation",
] as const;
export type Mode = (typeof MODES)[number];

class Net extends nn.Module {
  readonly first = new nn.Linear(WIDTH, WIDTH);
  readonly norm = new nn.LayerNorm(WIDTH);
  readonly second = new nn.Linear(WIDTH, WIDTH);
  forward(x: Tensor): Tensor {
    return this.second.forward(nn.functional.gelu(this.norm.forward(this.first.forward(x))));
  }
}

/** Learns to give back its input. */
export class Echo extends LightningModule {
  readonly net = new Net();
  constructor(readonly makeOptimizer: MakeOptimizer) {
    super();
  }
  protected loss(x: Tensor): Tensor {
    const loss = this.net.forward(x).sub(x).square().mean();
    this.log("loss", loss, { onStep: true, onEpoch: true });
    return loss;
  }
  override trainingStep(x: Tensor): Tensor | undefined {
    return this.loss(x);
  }
  override configureOptimizers(): OptimizerConfiguration {
    return this.makeOptimizer(this.parameters());
  }
}

class Scheduled extends Echo {
  override configureOptimizers(): OptimizerConfiguration {
    const optimizer = this.makeOptimizer(this.parameters());
    return { optimizer, lrScheduler: { scheduler: new optim.CosineAnnealingLR(optimizer, 500), interval: "step" } };
  }
}
class Validated extends Echo {
  override validationStep(x: Tensor): void {
    this.log("val_loss", this.net.forward(x).sub(x).square().mean());
  }
}
/** Steps, clips and clears by itself. */
class Manual extends Echo {
  override automaticOptimization = false;
  override trainingStep(x: Tensor): undefined {
    const loss = this.loss(x);
    for (const optimizer of [this.optimizers()].flat()) optimizer.zeroGrad();
    this.manualBackward(loss);
    for (const optimizer of [this.optimizers()].flat()) {
      this.clipGradients(optimizer, { gradientClipVal: 1 });
      optimizer.step();
    }
  }
}
class ManualOfTwo extends Manual {
  override configureOptimizers(): OptimizerConfiguration {
    return [
      this.makeOptimizer(this.net.first.parameters()),
      this.makeOptimizer([...this.net.norm.parameters(), ...this.net.second.parameters()]),
    ];
  }
}

export function moduleOf(mode: Mode, makeOptimizer: MakeOptimizer): Echo {
  if (mode === "schedulers") return new Scheduled(makeOptimizer);
  if (mode === "validation") return new Validated(makeOptimizer);
  if (mode === "manual") return new Manual(makeOptimizer);
  return mode === "two optimizers" ? new ManualOfTwo(makeOptimizer) : new Echo(makeOptimizer);
}

/** So many batches that take turns; of an epoch with infinities every 89th has one. */
export function batchesOf(steps: number, device: string, mode: Mode): Tensor[] {
  const few = Array.from({ length: 8 }, () => randn([16, WIDTH]).to(device));
  const bad = few.map((t) => {
    const copy = t.clone();
    noGrad(() => copy.select(0, 0).fill_(Infinity));
    return copy;
  });
  return Array.from({ length: steps }, (_, i) => (mode === "infinities" && i % 89 === 88 ? bad : few)[i % 8] as Tensor);
}
export const infinitiesIn = (steps: number): number => Math.floor(steps / 89);
