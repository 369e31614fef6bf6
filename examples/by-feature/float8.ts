/**
 * Products of linear layers in float8, beside bfloat16: which layers are converted and why, and that the loss goes
 * where it went.
 */
import { Float8Precision, LightningModule, Trainer, type Precision } from "@nbit/lightning";
import { nn, optim, randn, seedEverything, type Tensor } from "@nbit/torch";
import { QUIET } from "./base.js";

class Reverser extends LightningModule {
  embed = new nn.Linear(64, 128);
  hidden = new nn.Sequential(new nn.GELU(), new nn.Linear(128, 128), new nn.GELU());
  head = new nn.Linear(128, 64);
  score = new nn.Linear(64, 1);
  lastLoss = 0;

  override trainingStep(x: Tensor): Tensor {
    const y = this.head.forward(this.hidden.forward(this.embed.forward(x)));
    const loss = y
      .sub(x.flip([1]))
      .square()
      .mean()
      .add(this.score.forward(y).square().mean().mul(0.1));
    this.lastLoss = loss.item();
    return loss;
  }
  override configureOptimizers() {
    return new optim.AdamW(this.parameters(), { lr: 3e-3 });
  }
}

async function train(options: { precision?: "bf16-true"; plugins?: Precision }): Promise<number> {
  seedEverything(1);
  const model = new Reverser();
  const x = randn([64, 64]);
  await new Trainer({ ...QUIET, ...options, maxEpochs: 1 }).fit(model, {
    trainDataloaders: Array.from({ length: 40 }, () => x),
  });
  return model.lastLoss;
}

const float8 = new Float8Precision({ recipe: "rowwise", filter: (_, path) => path !== "head" });
const [wide, narrow] = [await train({ precision: "bf16-true" }), await train({ plugins: float8 })];
console.log(String(float8.conversion));
console.log(`last loss: bfloat16 ${wide.toFixed(3)}, float8 ${narrow.toFixed(3)}`);
