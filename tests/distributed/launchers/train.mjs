/**
 * A rank for the tests of launchers: trains with the others, and prints as one line of JSON where it was put, how many
 * steps it made and what its weights add up to. Alone, it starts two ranks of itself when its argument says so.
 */
import { LightningModule, Trainer } from "@nbit/lightning";
import { DataLoader, DistributedSampler, manualSeed, mseLoss, nn, optim, randn, TensorDataset } from "@nbit/torch";
import { clusterEnvironment } from "@nbit/torch/distributed";

class Net extends LightningModule {
  net = new nn.Sequential(new nn.Linear(8, 16), new nn.Tanh(), new nn.Linear(16, 2));
  trainingStep([x, y]) {
    return mseLoss(this.net.forward(x), y);
  }
  configureOptimizers() {
    return new optim.AdamW(this.parameters(), { lr: 0.01 });
  }
}

manualSeed(1);
const data = new TensorDataset(randn(64, 8), randn(64, 2));
const net = new Net();
const { rank = 0, worldSize = 1 } = clusterEnvironment() ?? {};
const sampler = new DistributedSampler(data, { numReplicas: worldSize, rank, shuffle: false });
const trainer = new Trainer({
  accelerator: "cpu",
  devices: process.argv[2] === "alone" ? 2 : "auto",
  maxEpochs: 2,
  logger: false,
  enableCheckpointing: false,
  enableProgressBar: false,
  enableModelSummary: false,
});
await trainer.fit(net, { trainDataloaders: new DataLoader(data, { batchSize: 8, sampler }) });
const weights = [...net.parameters()].reduce((sum, w) => sum + w.detach().double().abs().sum().item(), 0);
console.log(JSON.stringify({ place: clusterEnvironment(), steps: trainer.globalStep, weights }));
