/**
 * Fine-tune a trained network whose weights are frozen in 4 bits: only low-rank adapters learn, and only they are
 * saved.
 */
import { LightningModule, Trainer, type CheckpointContents } from "@nbit/lightning";
import { addLora, loraParameters, loraStateDict, mergeLora, quantizeWeights, weightMemory } from "@nbit/lowbit";
import { keep, nn, optim, randn, saveCheckpoint, scope, seedEverything, type Tensor } from "@nbit/torch";
import { mkdtempSync, rmSync, statSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { QUIET } from "./base.js";

class Net extends LightningModule {
  layers = new nn.Sequential(
    new nn.Linear(64, 256),
    new nn.GELU(),
    new nn.Linear(256, 256),
    new nn.GELU(),
    new nn.Linear(256, 64),
  );
  task: (x: Tensor) => Tensor = (x) => x.flip([1]);
  learning: readonly nn.Parameter[] = this.parameters();

  error(x: Tensor): Tensor {
    return this.layers.forward(x).sub(this.task(x)).square().mean();
  }
  override trainingStep(x: Tensor): Tensor {
    return this.error(x);
  }
  override configureOptimizers() {
    return new optim.AdamW(this.learning, { lr: 3e-3 });
  }
  override onSaveCheckpoint(checkpoint: CheckpointContents): void {
    const adapters = loraStateDict(this);
    if (adapters.size > 0) checkpoint.stateDict = Object.fromEntries(adapters);
  }
}

seedEverything(1);
const net = new Net();
const x = keep(randn([128, 64]));
const batches = Array.from({ length: 80 }, () => x);
const show = (what: string): void =>
  console.log(`${what.padEnd(28)} error ${scope(() => net.error(x).item()).toFixed(3)}`);

await new Trainer({ ...QUIET, maxEpochs: 1 }).fit(net, { trainDataloaders: batches });
show("trained on the first task");

quantizeWeights(net, { format: "nf4-dq" });
show("weights in nf4-dq");

net.task = (input) => input.flip([1]).mul(0.5).add(0.25);
show("the second task");

addLora(net, { rank: 8, alpha: 16 });
net.learning = loraParameters(net);
const trainer = new Trainer({ ...QUIET, maxEpochs: 1 });
await trainer.fit(net, { trainDataloaders: batches });
show("with adapters trained on it");
console.log(String(weightMemory(net)));

const folder = mkdtempSync(join(tmpdir(), "nbit-qlora-"));
trainer.saveCheckpoint(join(folder, "adapters.ckpt"), { weightsOnly: true });
saveCheckpoint(join(folder, "all.ckpt"), Object.fromEntries(net.stateDict()));
console.log(
  `a checkpoint of adapters is ${statSync(join(folder, "adapters.ckpt")).size < statSync(join(folder, "all.ckpt")).size ? "smaller" : "larger"} than one of everything`,
);
rmSync(folder, { recursive: true });

mergeLora(net);
show("merged into wide layers");
