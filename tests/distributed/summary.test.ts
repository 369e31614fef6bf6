/** The summary before a fit shows the model, and not what this process has of it. */
import assert from "node:assert/strict";
import { FSDPStrategy, LightningModule, ModelSummary, summarize, Trainer } from "@nbit/lightning";
import { device, nn, optim, randn, type Tensor } from "@nbit/torch";
import { testRanks, type RankCase } from "../helpers/ranks.js";
import { SILENT } from "../helpers/training.js";

class Net extends LightningModule {
  readonly first = new nn.Linear(64, 128);
  readonly last = new nn.Linear(128, 8);
  override trainingStep(x: Tensor): Tensor {
    return this.last.forward(this.first.forward(x)).square().mean();
  }
  override configureOptimizers(): optim.Optimizer {
    return new optim.AdamW(this.parameters());
  }
}

const cases: Record<string, RankCase> = {};
for (const stage of [1, 2, 3] as const)
  cases[`stage ${stage}: layers of the whole model, bytes of this process`] = async (rank) => {
    let text = "";
    const stream = { write: (part: string) => ((text += part), true) };
    const net = new Net();
    const before = summarize(net);
    const trainer = new Trainer({
      accelerator: "cpu",
      strategy: new FSDPStrategy(device("cpu"), { stage }),
      maxSteps: 1,
      ...SILENT,
      enableModelSummary: true,
      callbacks: [new ModelSummary({ stream })],
    });
    await trainer.fit(net, { trainDataloaders: [randn([2, 64])] });
    if (rank !== 0) return assert.equal(text, "");
    for (const { name, type, parameters } of before.layers)
      assert.match(text, new RegExp(`${name} +${type} +${(parameters / 1000).toFixed(2)} K `));
    assert.match(text, /9,352 trainable/);
    // Float32 parameters of 9,352 elements are 36.5 KiB; gradients are those of what this process steps.
    assert.match(text, /gradients 1\d\.\d+ KiB/);
    assert.match(
      text,
      stage < 3 ? /on this process \(parameters 36\.5 KiB/ : /on this process \(parameters 1\d\.\d+ KiB/,
    );
  };
testRanks(import.meta.url, 2, cases);
