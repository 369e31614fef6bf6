/** What a step computes in, module by module: operators and their dtypes, casts, and how numbers fit float16. */
import { writePrecisionReport } from "@nbit/dashboard";
import { LightningModule, PrecisionReport, Trainer } from "@nbit/lightning";
import { crossEntropyLoss, nn, optim, randint, randn, scaledDotProductAttention, seedEverything } from "@nbit/torch";
import type { Tensor } from "@nbit/torch";
import { QUIET } from "./base.js";

class Block extends nn.Module {
  norm1 = new nn.LayerNorm(64);
  qkv = new nn.Linear(64, 192);
  out = new nn.Linear(64, 64);
  norm2 = new nn.LayerNorm(64);
  mlp = new nn.Sequential(new nn.Linear(64, 256), new nn.GELU(), new nn.Linear(256, 64));
  drop = new nn.Dropout(0.1);

  forward(x: Tensor): Tensor {
    const [batch = 0, time = 0] = x.shape;
    const heads = this.qkv.forward(this.norm1.forward(x)).view([batch, time, 3, 4, 16]).permute([2, 0, 3, 1, 4]);
    const mixed = scaledDotProductAttention(heads.select(0, 0), heads.select(0, 1), heads.select(0, 2))
      .transpose(1, 2)
      .reshape([batch, time, 64]);
    const y = x.add(this.drop.forward(this.out.forward(mixed)));
    return y.add(this.mlp.forward(this.norm2.forward(y)));
  }
}

class Classifier extends LightningModule {
  embed = new nn.Linear(16, 64);
  blocks = new nn.ModuleList([new Block(), new Block()]);
  norm = new nn.LayerNorm(64);
  head = new nn.Linear(64, 10);

  override forward(x: Tensor): Tensor {
    let y = this.embed.forward(x);
    for (const block of this.blocks) y = block.forward(y);
    return this.head.forward(this.norm.forward(y).mean([1]));
  }

  override trainingStep([x, y]: [Tensor, Tensor]): Tensor {
    return crossEntropyLoss(this.forward(x), y);
  }

  override configureOptimizers() {
    return new optim.AdamW(this.parameters(), { lr: 1e-3 });
  }
}

seedEverything(1);
const batches = Array.from({ length: 4 }, (): [Tensor, Tensor] => [randn([16, 32, 16]), randint(10, [16])]);
const report = new PrecisionReport({ step: 2, path: "precision.json" });
await new Trainer({ ...QUIET, precision: 16, maxEpochs: 1, callbacks: report }).fit(new Classifier(), {
  trainDataloaders: batches,
});
console.log(`Picture: ${writePrecisionReport("precision.html", "precision.json")}`);
