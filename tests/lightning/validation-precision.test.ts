import assert from "node:assert/strict";
import { join } from "node:path";
import { test } from "node:test";
import { Callback, LightningModule, ModelCheckpoint, readCheckpoint, Trainer } from "@nbit/lightning";
import type { TrainerOptions, TrainerView } from "@nbit/lightning";
import { keep, nn, noGrad, ones, optim, randn, seedEverything, tensor } from "@nbit/torch";
import type { Tensor } from "@nbit/torch";
import { temporaryFolder } from "../helpers/temporary-folder.js";
import { QUIET } from "../helpers/training.js";

const directory = temporaryFolder("lent");
const OPTIONS: TrainerOptions = { ...QUIET, maxEpochs: 2 };
const BATCHES = [randn([8, 4]), randn([8, 4]), randn([8, 4])];

class Net extends LightningModule {
  readonly head = new nn.Linear(4, 4);
  override forward(x: Tensor): Tensor {
    return this.head.forward(x);
  }
  override trainingStep(x: Tensor): Tensor {
    return this.forward(x).sub(x).square().mean();
  }
  override validationStep(x: Tensor): void {
    this.log("val", this.forward(x).float().square().mean());
  }
  override configureOptimizers(): optim.Optimizer {
    return new optim.AdamW(this.parameters(), { lr: 0.01 });
  }
}

test("buffers written during validation in another precision stay, in the module's own dtype, and nothing else changes", async () => {
  const lossy = 1 + 2 ** -12; // bfloat16 and float16 cannot hold it
  class Counting extends Net {
    readonly norm = new nn.BatchNorm1d(4);
    /** Written in place, by name, and not at all. */
    total!: Tensor;
    replaced!: Tensor;
    constant!: Tensor;
    constructor() {
      super();
      this.registerBuffer("total", tensor([0, lossy]));
      this.registerBuffer("replaced", tensor([lossy]));
      this.registerBuffer("constant", tensor([lossy, NaN]));
    }
    override validationStep(x: Tensor): void {
      this.norm.train(); // as for a recalibration of its statistics
      this.norm.forward(x.to(this.norm.runningMean?.dtype ?? x.dtype));
      noGrad(() => this.total.narrow(0, 0, 1).add_(1));
      this.replaced = keep(this.replaced.add(2));
      super.validationStep(x);
    }
  }
  for (const [precision, validationPrecision] of [
    ["bf16-true", 32],
    [32, "bf16-true"],
    [32, "16-true"],
    ["bf16", 64],
    [64, 32],
  ] as const) {
    seedEverything(2);
    const model = new Counting();
    const weights: number[][] = [];
    const saver = new ModelCheckpoint({
      dirpath: join(directory, `${precision}-${validationPrecision}`),
      saveOnTrainEpochEnd: false,
      everyNEpochs: 1,
    });
    const watch = new Callback();
    watch.onValidationStart = watch.onValidationEnd = () =>
      void weights.push(model.head.weight.flatten().tolist() as number[]);
    const trainer = new Trainer({
      ...OPTIONS,
      enableCheckpointing: true,
      precision,
      validationPrecision,
      callbacks: [saver, watch],
      numSanityValSteps: 0,
    });
    await trainer.fit(model, { trainDataloaders: BATCHES, valDataloaders: [ones([2, 4]).mul(3), ones([2, 4])] });
    const own = precision === "bf16-true" ? "bfloat16" : precision === 64 ? "float64" : "float32";
    const name = `${precision} ${validationPrecision}`;
    const epochs = trainer.currentEpoch;
    for (const [key, t] of model.stateDict()) if (t.isFloatingPoint()) assert.equal(t.dtype, own, `${name} ${key}`);
    const kept = tensor([lossy], { dtype: own }).item();
    assert.deepEqual(model.total.tolist(), [2 * epochs, kept], name);
    assert.deepEqual(model.constant.tolist(), [kept, NaN], name);
    assert.ok(Math.abs(model.replaced.item() - (lossy + 4 * epochs)) < 0.05, `${name} ${model.replaced.item()}`);
    assert.equal(model.norm.numBatchesTracked?.item(), 2 * epochs, name);
    assert.ok((model.norm.runningMean?.at(0).item() ?? 0) > 0.3, name);
    for (let i = 0; i < weights.length; i += 2)
      assert.deepEqual(weights[i], weights[i + 1], `${name}: hooks around validation see training's weights`);
    // A checkpoint that is saved after validation, or in its middle, holds what training has.
    const saved = readCheckpoint(saver.lastSavedPath).stateDict;
    for (const [key, t] of model.stateDict())
      assert.ok(saved[key]?.dtype === t.dtype && (key === "constant" || saved[key].equal(t)), `${name} ${key}`);
    const path = join(directory, "middle.ckpt");
    class Saving extends Callback {
      override onValidationBatchEnd(t: TrainerView): void {
        t.saveCheckpoint(path);
      }
    }
    await new Trainer({ ...OPTIONS, precision, validationPrecision, callbacks: [new Saving()] }).validate(model, {
      dataloaders: [ones([2, 4])],
    });
    assert.ok(
      model.head.weight.equal(readCheckpoint(path).stateDict["head.weight"] as Tensor) &&
        model.total.dtype === own &&
        model.replaced.dtype === own,
      name,
    );
    assert.deepEqual(model.total.tolist(), [2 * epochs + 1, kept]);
  }
});

test("averaged weights that are swapped in for validation and out again leave the trained ones exact", async () => {
  class Averaged extends Callback {
    #own: Tensor[] = [];
    override onValidationBatchStart(_t: TrainerView, module: LightningModule): void {
      this.#own = module.parameters().map((p) => keep(p.detach().clone()));
      noGrad(() => module.parameters().forEach((p) => p.fill_(0.5)));
    }
    override onValidationBatchEnd(_t: TrainerView, module: LightningModule): void {
      noGrad(() => module.parameters().forEach((p, i) => p.copy_(this.#own[i] as Tensor)));
    }
  }
  const run = async (callbacks: Callback[]): Promise<unknown> => {
    seedEverything(2);
    const model = new Net();
    await new Trainer({ ...OPTIONS, precision: 32, validationPrecision: "bf16-true", callbacks }).fit(model, {
      trainDataloaders: BATCHES,
      valDataloaders: [ones([2, 4]), ones([2, 4])],
    });
    return model.parameters().map((p) => p.tolist());
  };
  assert.deepEqual(await run([new Averaged()]), await run([]));
});
