/** Weights in another dtype for a time, or in a file: validation, checkpoints; and what is logged in 16 bits. */
import assert from "node:assert/strict";
import { statSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import {
  LightningModule,
  ModelCheckpoint,
  readCheckpoint,
  seedEverything,
  Trainer,
  type TrainerOptions,
} from "@nbit/lightning";
import { full, memory, nn, ones, optim, randn, scope, setNumThreads, tensor, type Tensor } from "@nbit/torch";
import { temporaryFolder } from "../helpers/temporary-folder.js";
import { OPTIONS, Net, BATCHES, seen } from "./probed-net.js";

setNumThreads(1);
const folder = temporaryFolder("per-module");

// ---------------------------------------------------------------- validation

test("validation in another precision: weights are lent in its dtype and given back exactly", async () => {
  for (const [precision, validationPrecision, expected] of [
    ["bf16-true", 32, "float32 float32"],
    [32, "bf16-true", "bfloat16 bfloat16"],
    ["bf16", 64, "float64 float64"],
    [16, "bf16", "float32 bfloat16"],
  ] as const) {
    const fit = async (options: TrainerOptions): Promise<{ model: Net; trainer: Trainer }> => {
      seedEverything(2);
      const model = new Net();
      const trainer = new Trainer({ ...OPTIONS, precision, accumulateGradBatches: 2, valCheckInterval: 1, ...options });
      await trainer.fit(model, { trainDataloaders: BATCHES, valDataloaders: [ones([2, 4])] });
      return { model, trainer };
    };
    const plain = await fit({});
    const other = await fit({ validationPrecision });
    assert.equal(seen.get("validation"), expected);
    for (const [name, t] of plain.model.stateDict()) {
      const mine = other.model.stateDict().get(name);
      assert.ok(mine?.dtype === t.dtype && mine.equal(t), `${precision} ${name}: training is not disturbed`);
    }
    const before = memory().unreleased;
    await other.trainer.validate(other.model, { dataloaders: [ones([2, 4])] });
    await other.trainer.validate(other.model, { dataloaders: [ones([2, 4])] });
    assert.equal(memory().unreleased, before + 2); // the two batches
  }
  assert.throws(() => new Trainer({ ...OPTIONS, validationPrecision: 8 as 16 }), { code: "ERR_PRECISION_UNKNOWN" });
  assert.throws(() => new Trainer({ ...OPTIONS, ampBackend: "apex", precision: 16, validationPrecision: 32 }), {
    code: "ERR_VALIDATION_PRECISION",
  });
});

// ---------------------------------------------------------------- checkpoints

test("checkpoints in bfloat16 take half the room, and load in a chosen dtype", async () => {
  class Wide extends LightningModule {
    readonly layer = new nn.Linear(64, 256);
    override trainingStep(x: Tensor): Tensor {
      return this.layer.forward(x).square().mean();
    }
    override predictStep(x: Tensor): unknown {
      return this.layer.forward(x);
    }
    override configureOptimizers(): optim.Optimizer {
      return new optim.SGD(this.parameters(), { lr: 0.1 });
    }
  }
  const model = new Wide();
  const trainer = new Trainer({
    ...OPTIONS,
    enableCheckpointing: true,
    callbacks: new ModelCheckpoint({
      dirpath: folder,
      filename: "half",
      saveWeightsOnly: true,
      dtype: "bfloat16",
      everyNTrainSteps: 3,
    }),
  });
  await trainer.fit(model, { trainDataloaders: Array.from({ length: 3 }, () => randn([4, 64])) });
  const [half, whole] = [join(folder, "half.ckpt"), join(folder, "whole.ckpt")];
  trainer.saveCheckpoint(whole, { weightsOnly: true });
  assert.ok(Math.abs(statSync(half).size / statSync(whole).size - 0.5) < 0.05);
  assert.equal(readCheckpoint(half).stateDict["layer.weight"]?.dtype, "bfloat16");
  assert.equal(readCheckpoint(half, { dtype: "float32" }).stateDict["layer.weight"]?.dtype, "float32");
  assert.equal(model.layer.weight.dtype, "float32");

  const loaded = Wide.loadFromCheckpoint(whole, {}, { dtype: "float16" });
  assert.equal(loaded.layer.weight.dtype, "float16");
  const rounded = new Wide();
  await new Trainer(OPTIONS).predict(rounded, {
    dataloaders: [randn([2, 64])],
    ckptPath: whole,
    ckptDtype: "bfloat16",
  });
  assert.equal(rounded.layer.weight.dtype, "float32");
  assert.ok(rounded.layer.weight.equal(model.layer.weight.bfloat16().float()));
  assert.throws(() => trainer.saveCheckpoint(whole, { dtype: "int8" }), {
    code: "ERR_CHECKPOINT_DTYPE",
    message: 'saveCheckpoint: expected dtype to be "float16", "bfloat16", "float32" or "float64". Received: "int8".',
  });
  assert.throws(() => new ModelCheckpoint({ dtype: "int8" }), { code: "ERR_CHECKPOINT_DTYPE" });
  assert.throws(() => readCheckpoint(whole, { dtype: "int8" }), { code: "ERR_CHECKPOINT_DTYPE" });
});

// ---------------------------------------------------------------- metrics

test("16-bit values that are logged accumulate in float32", async () => {
  for (const [precision, dtype] of [
    ["bf16-true", "bfloat16"],
    ["16-true", "float16"],
  ] as const) {
    const count = 3000; // a sum in bfloat16 stops at 256, one in float16 at 2048
    class Logs extends LightningModule {
      readonly w = new nn.Parameter(ones([1]));
      override testStep(x: Tensor): void {
        const one = x.mean().to(dtype);
        assert.equal(one.dtype, dtype);
        this.log("sum", one, { reduceFx: "sum" });
        this.log("mean", one);
      }
    }
    const [result] = await new Trainer({ ...OPTIONS, precision }).test(new Logs(), {
      dataloaders: Array.from({ length: count }, () => full([1], 1, { dtype: "float32" })),
    });
    assert.deepEqual(result, { sum: count, mean: 1 });
  }
  assert.ok(scope(() => tensor([1]).bfloat16().add(256).item()) === 256, "the check can fail");
});
