/** Low-bit optimizers through the Trainer. */
import assert from "node:assert/strict";
import { test } from "node:test";
import * as lowbit from "@nbit/lowbit";
import "@nbit/apex";
import { LowBitOptimizer, StableEmbedding } from "@nbit/lowbit";
import { LightningModule, Trainer } from "@nbit/lightning";
import { keep, nn, optim, randint, randn, seedEverything, type Tensor } from "@nbit/torch";
import { QUIET, warningsOf } from "../helpers/training.js";
import { type Make } from "./parameters.js";

test("overrides hold for float32 masters: an embedding under APEX O2 keeps its state in 32 bits, as forecast", async () => {
  class Words extends LightningModule {
    readonly table = new StableEmbedding(128, 64);
    readonly head = new nn.Linear(64, 128);
    override trainingStep(batch: unknown): Tensor {
      const x = batch as Tensor;
      return nn.functional.crossEntropy(this.head.forward(this.table.forward(x).half()).float(), x);
    }
    override configureOptimizers(): optim.Optimizer {
      return new lowbit.AdamW8bit(this.parameters(), { lr: 1e-3 });
    }
  }
  seedEverything(5);
  const words = new Words();
  const trainer = new Trainer({ ...QUIET, precision: 16, ampBackend: "apex", ampLevel: "O2", maxEpochs: 1 });
  await trainer.fit(words, { trainDataloaders: [randint(128, [32]), randint(128, [32])] });
  const [optimizer] = trainer.optimizers;
  assert.ok(optimizer instanceof LowBitOptimizer);
  const big = optimizer.paramGroups.flatMap((g) => g.params).filter((p) => p.numel() >= 4096);
  assert.deepEqual(
    big.map((p) => [p.dtype, (optimizer.state.get(p)?.["state1"] as Tensor).dtype]),
    [
      ["float32", "float32"],
      ["float32", "uint8"],
    ],
  );
  assert.equal(trainer.precision.explain({ print: false }).memory?.optimizerState, optimizer.stateBytes());
});

class Model extends LightningModule {
  readonly net = new nn.Sequential(
    new nn.Linear(16, 128),
    new nn.ReLU(),
    new nn.Linear(128, 64),
    new nn.ReLU(),
    new nn.Linear(64, 4),
  );
  readonly losses: number[] = [];
  constructor(readonly make: Make) {
    super();
  }
  override trainingStep(batch: unknown): Tensor {
    const [x, y] = batch as readonly [Tensor, Tensor];
    const loss = nn.functional.crossEntropy(this.net.forward(x), y);
    this.losses.push(loss.item());
    return loss;
  }
  override configureOptimizers(): optim.Optimizer {
    return this.make(this.parameters());
  }
}
test("through the Trainer: AdamW8bit ends where AdamW ends, in every precision of 32 and 16 bits", async () => {
  const fit = async (precision: 32 | 16 | "bf16" | "16-true" | "bf16-true", make: Make): Promise<number> => {
    seedEverything(3);
    const x = randn([64, 16]);
    const y = x.matmul(randn([16, 4])).argmax(1);
    const batches = Array.from({ length: 60 }, () => [keep(x), keep(y)]);
    const model = new Model(make);
    const trainer = new Trainer({ ...QUIET, precision, maxEpochs: 1 });
    await trainer.fit(model, { trainDataloaders: batches });
    return model.losses.slice(-5).reduce((a, b) => a + b, 0) / 5;
  };
  const full = await fit(32, (p) => new optim.AdamW(p, { lr: 3e-3 }));
  // Float16 has no 1e-8, but the step is made in float32: with the usual eps for 16-true, and with the default one,
  // which is no reason to warn.
  const warnings = await warningsOf(async () => {
    for (const [precision, eps] of [
      [32, 1e-8],
      [16, 1e-8],
      ["bf16", 1e-8],
      ["bf16-true", 1e-8],
      ["16-true", 1e-4],
      ["16-true", 1e-8],
    ] as const) {
      const low = await fit(precision, (p) => new lowbit.AdamW8bit(p, { lr: 3e-3, eps }));
      assert.ok(Math.abs(low - full) < 0.03, `${precision}, eps ${eps}: 8 bits ${low}, 32 bits ${full}`);
    }
  });
  assert.ok(!warnings.some((w) => w.code === "WARN_EPS_VANISHES"));
});
