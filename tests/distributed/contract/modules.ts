/** What the contract trains. Batches are a pair `[x, y]`, 16 numbers to 16. */
import { LightningModule, type OptimizerConfiguration } from "@nbit/lightning";
import { addLora } from "@nbit/lowbit";
import { mseLoss, nn, optim, relu, softplus, type Tensor } from "@nbit/torch";

export type MakeOptimizer = (params: Tensor[]) => optim.Optimizer;

export const FEATURES_IN = 16;
/** Its square is more than the 4096 elements from which state is held in few bits; a multiple of float8's 16. */
const WIDTH = 80;

/** Losses are compared, so they are not to be rounded to 16 bits. */
const wide = (t: Tensor): Tensor => (t.dtype === "float64" ? t : t.float());

type Norm = nn.Module & { forward(x: Tensor): Tensor };
class Block extends nn.Module {
  readonly fc = new nn.Linear(WIDTH, WIDTH);
  constructor(readonly norm: Norm) {
    super();
  }
  forward(x: Tensor): Tensor {
    return x.add(relu(this.fc.forward(this.norm.forward(x))));
  }
}

class Body extends nn.Module {
  readonly first = new nn.Linear(FEATURES_IN, WIDTH);
  readonly blocks: nn.ModuleList<Block>;
  readonly last = new nn.Linear(WIDTH, FEATURES_IN);
  constructor(norm: () => Norm) {
    super();
    this.blocks = new nn.ModuleList([new Block(norm()), new Block(norm())]);
  }
  forward(x: Tensor): Tensor {
    let h = this.first.forward(x);
    for (const block of this.blocks) h = block.forward(h);
    return this.last.forward(h);
  }
}

export class Net extends LightningModule {
  /** Of every trainingStep. */
  readonly losses: number[] = [];
  readonly validated: number[] = [];
  readonly body = new Body(() => this.norm());

  constructor(protected readonly make: MakeOptimizer) {
    super();
  }
  protected norm(): Norm {
    return new nn.LayerNorm(WIDTH);
  }
  override configureOptimizers(): OptimizerConfiguration {
    return this.make(this.parameters().filter((p) => p.requiresGrad));
  }
  override forward(x: Tensor): Tensor {
    return this.body.forward(x);
  }
  protected loss(batch: unknown): Tensor {
    const [x, y] = batch as [Tensor, Tensor];
    return mseLoss(wide(this.forward(x)), wide(y));
  }
  override trainingStep(batch: unknown): Tensor | null | void {
    const loss = this.loss(batch);
    this.losses.push(loss.item());
    return loss;
  }
  override validationStep(batch: unknown): void {
    this.validated.push(this.loss(batch).item());
  }
}
export class AutomaticNet extends Net {}

export class NormNet extends Net {
  protected override norm(): Norm {
    return new nn.BatchNorm1d(WIDTH);
  }
}
/** Adapters on the layers that are then held in few bits; what is not, learns as before. */
export function adapt(net: Net): void {
  addLora(net, { rank: 4, targets: (_, path) => isAdapted(path) });
  for (const [name, p] of net.namedParameters()) if (!isAdapted(name.replace(/\.base\..*$/, ""))) p.requiresGrad = true;
}
export const isAdapted = (path: string): boolean => path.endsWith(".first") || path.endsWith(".fc");
/** The rate falls when the loss of the epoch, over all processes, does not. */
export class PlateauNet extends Net {
  override configureOptimizers(): OptimizerConfiguration {
    const optimizer = this.make(this.parameters());
    const scheduler = new optim.ReduceLROnPlateau(optimizer, { factor: 0.1, patience: 0, threshold: 0.05 });
    return { optimizer, lrScheduler: { scheduler, monitor: "val_loss" } };
  }
  override validationStep(batch: unknown): void {
    const loss = this.loss(batch);
    this.validated.push(loss.item());
    this.log("val_loss", loss);
  }
}
/** Two networks that train against each other, each while the other's parameters are off. */
export class GanNet extends Net {
  override automaticOptimization = false;
  readonly critic = new nn.Sequential(new nn.Linear(FEATURES_IN, WIDTH), new nn.ReLU(), new nn.Linear(WIDTH, 1));

  override configureOptimizers(): OptimizerConfiguration {
    const own = new Set<Tensor>(this.critic.parameters());
    const trained = this.parameters().filter((p) => p.requiresGrad);
    return [this.make(trained.filter((p) => !own.has(p))), this.make(trained.filter((p) => own.has(p)))];
  }
  override trainingStep(batch: unknown): void {
    const [x, y] = batch as [Tensor, Tensor];
    const [generator, critic] = [this.optimizers()].flat();
    if (generator === undefined || critic === undefined) throw new Error("expected two optimizers");
    const judged = (t: Tensor): Tensor => wide(this.critic.forward(t));
    critic.toggled(() => {
      const fake = this.forward(x).detach();
      const loss = softplus(judged(y).neg())
        .mean()
        .add(softplus(judged(fake)).mean());
      critic.zeroGrad();
      this.manualBackward(loss);
      critic.step();
      this.losses.push(loss.item());
    });
    generator.toggled(() => {
      const loss = softplus(judged(this.forward(x)).neg()).mean();
      generator.zeroGrad();
      this.manualBackward(loss);
      generator.step();
      this.losses.push(loss.item());
    });
  }
}
