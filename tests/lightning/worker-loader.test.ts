/** The Trainer with loaders whose batches threads load: the same training, resumed in the middle of an epoch too. */
import assert from "node:assert/strict";
import { mkdtempSync, readdirSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { LightningModule, ModelCheckpoint, seedEverything, Trainer } from "@nbit/lightning";
import { DataLoader, nn, optim, randn, TensorDataset, type Tensor } from "@nbit/torch";

class Line extends LightningModule {
  readonly layer = new nn.Linear(3, 1);
  readonly losses: number[] = [];
  override trainingStep([x, y]: [Tensor, Tensor]): Tensor {
    const loss = this.layer.forward(x).sub(y).square().mean();
    this.losses.push(loss.item() as number);
    return loss;
  }
  override configureOptimizers(): optim.Optimizer {
    return new optim.SGD(this.parameters(), { lr: 0.05 });
  }
}
const quiet = { logger: false, enableProgressBar: false, enableModelSummary: false, accelerator: "cpu" } as const;

function made(numWorkers: number, persistentWorkers = false) {
  seedEverything(5);
  const model = new Line();
  const data = new TensorDataset(randn([22, 3]), randn([22, 1]));
  return { model, loader: new DataLoader(data, { batchSize: 4, shuffle: true, numWorkers, persistentWorkers }) };
}

test("training does not depend on workers", async () => {
  const runs: number[][] = [];
  for (const numWorkers of [0, 2]) {
    const { model, loader } = made(numWorkers);
    await new Trainer({ ...quiet, maxEpochs: 2, enableCheckpointing: false }).fit(model, { trainDataloaders: loader });
    runs.push(model.losses);
  }
  assert.equal(runs[0]?.length, 12);
  assert.deepEqual(runs[1], runs[0]);
});

for (const persistent of [false, true])
  test(`a run with ${persistent ? "persistent " : ""}workers is resumed in the middle of an epoch`, async () => {
    const folder = mkdtempSync(join(tmpdir(), "nbit-worker-loader-"));
    try {
      const whole = made(2, persistent);
      const checkpoint = new ModelCheckpoint({ dirpath: folder, everyNTrainSteps: 9, saveTopK: -1 });
      await new Trainer({ ...quiet, maxEpochs: 2, callbacks: [checkpoint] }).fit(whole.model, {
        trainDataloaders: whole.loader,
      });
      const file = readdirSync(folder).find((name) => name.includes("step=9"));
      assert.ok(file, readdirSync(folder).join());
      const again = made(2, persistent);
      await new Trainer({ ...quiet, maxEpochs: 2, enableCheckpointing: false }).fit(again.model, {
        trainDataloaders: again.loader,
        ckptPath: join(folder, file),
      });
      assert.deepEqual(again.model.losses, whole.model.losses.slice(9));
    } finally {
      rmSync(folder, { recursive: true, force: true });
    }
  });
