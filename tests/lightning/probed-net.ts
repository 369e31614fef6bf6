/** A net whose parts tell the dtypes that they meet. */
import { LightningModule, type TrainerOptions } from "@nbit/lightning";
import { nn, optim, randn, relu, type Tensor } from "@nbit/torch";
import { QUIET } from "../helpers/training.js";

export const OPTIONS: TrainerOptions = { ...QUIET, maxSteps: 3 };

/** What dtypes the parts of a net were given and gave in the latest run. */
export const seen = new Map<string, string>();

export class Probe extends nn.Module {
  readonly fc = new nn.Linear(4, 4);
  readonly norm = new nn.LayerNorm([4]);
  constructor(readonly label: string) {
    super();
  }
  forward(x: Tensor): Tensor {
    const y = this.fc.forward(x);
    seen.set(this.label, `${x.dtype} ${y.dtype}`);
    return this.norm.forward(relu(y));
  }
}
export class Net extends LightningModule {
  readonly backbone = new nn.Sequential(new Probe("backbone.0"), new Probe("backbone.1"));
  readonly head = new Probe("head");
  override forward(x: Tensor): Tensor {
    return this.head.forward(this.backbone.forward(x) as Tensor);
  }
  override trainingStep(x: Tensor): Tensor {
    const out = this.forward(x);
    seen.set("out", out.dtype);
    return out.sub(x).square().mean();
  }
  override validationStep(x: Tensor): void {
    const out = this.forward(x);
    seen.set("validation", `${this.head.fc.weight.dtype} ${out.dtype}`);
    this.log("val", out.float().square().mean());
  }
  override configureOptimizers(): optim.Optimizer {
    return new optim.AdamW(this.parameters(), { lr: 0.01 });
  }
}
export const BATCHES = [randn([8, 4]), randn([8, 4]), randn([8, 4])];
