import assert from "node:assert/strict";
import { existsSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import {
  CSVLogger,
  EarlyStopping,
  LightningModule,
  ModelCheckpoint,
  ProgressBar,
  Timer,
  Trainer,
  type TrainerOptions,
} from "@nbit/lightning";
import { autograd, nn, NbitError, ones, optim, randn, setNumThreads, type Tensor, tensor } from "@nbit/torch";
import { Small, batches } from "./small-module.js";
import { QUIET, SILENT, warningsOf } from "../helpers/training.js";

setNumThreads(1); // tiny tensors
const folder = mkdtempSync(join(tmpdir(), "nbit-members-"));
after(() => {
  rmSync(folder, { recursive: true });
});

test("callbacks of a kind are found by their names", () => {
  const [best, last] = [new ModelCheckpoint({ dirpath: folder }), new ModelCheckpoint({ everyNTrainSteps: 2 })];
  const stopping = new EarlyStopping({ monitor: "loss" });
  const bar = new ProgressBar();
  const trainer = new Trainer({ accelerator: "cpu", logger: false, callbacks: [best, stopping, last, bar] });
  assert.equal(trainer.checkpointCallback, best);
  assert.deepEqual(trainer.checkpointCallbacks, [best, last]);
  assert.equal(trainer.earlyStoppingCallback, stopping);
  assert.deepEqual(trainer.earlyStoppingCallbacks, [stopping]);
  assert.equal(trainer.progressBarCallback, bar);
  const quiet = new Trainer(QUIET);
  assert.deepEqual(
    [quiet.checkpointCallback, quiet.earlyStoppingCallback, quiet.progressBarCallback],
    [null, null, null],
  );
});

test("devices, ranks and folders of one process", async () => {
  const trainer = new Trainer({ ...QUIET, defaultRootDir: folder });
  assert.deepEqual([trainer.deviceIds, trainer.numDevices, trainer.numNodes, trainer.nodeRank], [[0], 1, 1, 0]);
  assert.deepEqual([trainer.globalRank, trainer.localRank, trainer.worldSize], [0, 0, 1]);
  assert.equal(trainer.distributedSamplerKwargs, null);
  assert.equal(trainer.logDir, folder);
  const logger = new CSVLogger(folder);
  assert.equal(new Trainer({ ...QUIET, logger }).logDir, logger.logDir);
  assert.equal(trainer.precisionPlugin, trainer.precision);
  assert.equal(trainer.scaler, null);
  assert.notEqual(new Trainer({ ...QUIET, precision: 16 }).scaler, null);
  assert.deepEqual([trainer.model, trainer.interrupted, trainer.receivedSigterm], [null, false, false]);
  const net = new Small();
  assert.deepEqual([net.globalRank, net.localRank, net.loggers], [0, 0, []]);
  await assert.rejects(trainer.fit(net, { trainDataloaders: 3 as never }));
  assert.deepEqual([trainer.model, trainer.interrupted], [net, true]);
});

test("evaluating is validation, testing and the sanity check", async () => {
  const seen: [string | null, boolean][] = [];
  class Watched extends Small {
    override validationStep(): void {
      seen.push([this.trainer.state.stage, this.trainer.evaluating]);
    }
    override trainingStep(batch: [Tensor, Tensor]): Tensor {
      seen.push([this.trainer.state.stage, this.trainer.evaluating]);
      return super.trainingStep(batch);
    }
  }
  const data = batches(1);
  await new Trainer({ ...QUIET, maxEpochs: 1 }).fit(new Watched(), { trainDataloaders: data, valDataloaders: data });
  assert.deepEqual(seen, [
    ["sanity_check", true],
    ["train", false],
    ["validate", true],
  ]);
});

test("what the constructor was given can be read", async () => {
  const given = {
    ...{ limitTrainBatches: 3, limitValBatches: 0.5, limitTestBatches: 2, limitPredictBatches: 1 },
    ...{ numSanityValSteps: 0, reloadDataloadersEveryNEpochs: 2, enableAutologHparams: false, barebones: false },
  };
  const trainer = new Trainer({ ...QUIET, ...given, maxEpochs: 1 });
  for (const [name, value] of Object.entries(given)) assert.equal(Reflect.get(trainer, name), value, name);
  assert.equal(new Trainer(QUIET).limitTrainBatches, undefined);
  const overfits = new Trainer({ ...QUIET, overfitBatches: 0.25 });
  assert.deepEqual([overfits.overfitBatches, overfits.limitTrainBatches, overfits.limitValBatches], [0.25, 0.25, 0.25]);
  assert.equal(trainer.valCheckBatch, Infinity);
  await trainer.fit(new Small(), { trainDataloaders: batches(5) });
  assert.equal(trainer.valCheckBatch, 3);
});

test("verbose prints the metrics of an evaluation", async (t) => {
  class Measured extends Small {
    override testStep(batch: [Tensor, Tensor], batchIdx: number): void {
      this.log("a", this.loss(batch).mul(0).add(batchIdx));
    }
  }
  const said = t.mock.method(console, "log", () => undefined);
  const trainer = new Trainer(QUIET);
  await trainer.test(new Measured(), { dataloaders: batches(1) });
  assert.equal(said.mock.callCount(), 0);
  await trainer.test(new Measured(), { dataloaders: [batches(1), batches(3)], verbose: true });
  const [table] = said.mock.calls.map(({ arguments: given }) => String(given[0]).split("\n"));
  assert.match(table?.[0] ?? "", /test metric +loader 0 +loader 1$/);
  assert.match(table?.[2] ?? "", /^ a\/dataloader_idx_0 +0/);
  assert.match(table?.[3] ?? "", /^ a\/dataloader_idx_1 +1/);
});

test("loadFromCheckpoint takes strict: false", async () => {
  const path = join(folder, "small.ckpt");
  const trainer = new Trainer({ ...QUIET, maxEpochs: 1 });
  await trainer.fit(new Small(), { trainDataloaders: batches(1) });
  trainer.saveCheckpoint(path);
  class Larger extends Small {
    readonly more = new nn.Linear(1, 1);
  }
  assert.throws(() => Larger.loadFromCheckpoint(path), { code: "STATE_DICT_MISMATCH" });
  assert.ok(Larger.loadFromCheckpoint(path, {}, { strict: false }) instanceof Larger);
});

test("print says it once for a machine", (t) => {
  const said = t.mock.method(console, "log", () => undefined);
  new Trainer(QUIET).print("a", 1);
  assert.deepEqual(
    said.mock.calls.map(({ arguments: given }) => given),
    [["a", 1]],
  );
});

test("initModule makes parameters in the dtype of the precision, and leaves the defaults as they were", () => {
  const net = new Trainer({ ...QUIET, precision: "bf16-true" }).initModule(() => new nn.Linear(2, 3));
  assert.equal(net.weight.dtype, "bfloat16");
  assert.equal(new nn.Linear(2, 3).weight.dtype, "float32");
  assert.throws(() => new Trainer(QUIET).initModule((async () => Promise.resolve()) as never), {
    code: "ERR_ASYNC_HOOK",
  });
});

class Manual extends LightningModule {
  readonly layer = new nn.Linear(4, 2);
  override automaticOptimization = false;
  readonly given: unknown[] = [];
  constructor(readonly count: number) {
    super();
  }
  override trainingStep(): void {
    this.given.push(this.optimizers(), this.optimizers(false), this.lrSchedulers());
  }
  override configureOptimizers(): never {
    const make = (): optim.Optimizer => new optim.SGD(this.parameters(), { lr: 0.1 });
    return Array.from({ length: this.count }, make) as never;
  }
}

test("optimizers() is the optimizer itself where there is one, and a list where there are several", async () => {
  const fit = async (count: number): Promise<unknown[]> => {
    const net = new Manual(count);
    await new Trainer({ ...QUIET, maxEpochs: 1 }).fit(net, { trainDataloaders: batches(1) });
    return net.given;
  };
  const [one, raw, schedulers] = await fit(1);
  assert.equal(one?.constructor.name, "LightningOptimizer");
  assert.ok(raw instanceof optim.SGD);
  assert.equal(schedulers, null);
  const [several, unwrapped] = await fit(2);
  assert.ok(Array.isArray(several) && several.length === 2);
  assert.ok(Array.isArray(unwrapped) && unwrapped.every((each) => each instanceof optim.SGD));
});

test("lrSchedulers() is the scheduler itself where there is one", async () => {
  const seen: unknown[] = [];
  class Scheduled extends Small {
    override trainingStep(batch: [Tensor, Tensor]): Tensor {
      seen.push(this.lrSchedulers());
      return super.trainingStep(batch);
    }
    override configureOptimizers(): never {
      const optimizer = new optim.SGD(this.parameters(), { lr: 0.1 });
      return { optimizer, lrScheduler: new optim.StepLR(optimizer, 1) } as never;
    }
  }
  await new Trainer({ ...QUIET, maxEpochs: 1 }).fit(new Scheduled(), { trainDataloaders: batches(1) });
  assert.ok(seen[0] instanceof optim.StepLR);
});

test("toggledOptimizer gives gradients to one optimizer's parameters while a function runs", async () => {
  const seen: boolean[][] = [];
  class Pair extends LightningModule {
    readonly a = new nn.Linear(4, 1);
    readonly b = new nn.Linear(4, 1);
    override automaticOptimization = false;
    override trainingStep(): void {
      const flags = (): boolean[] => [this.a.weight.requiresGrad, this.b.weight.requiresGrad];
      const [first] = [this.optimizers()].flat();
      if (first === undefined) throw new RangeError("no optimizer");
      this.toggledOptimizer(first, () => seen.push(flags()));
      assert.throws(() => this.toggledOptimizer(first, () => assert.fail("inside")), /inside/);
      seen.push(flags());
    }
    override configureOptimizers(): never {
      return [new optim.SGD(this.a.parameters(), { lr: 1 }), new optim.SGD(this.b.parameters(), { lr: 1 })] as never;
    }
  }
  await new Trainer({ ...QUIET, maxEpochs: 1 }).fit(new Pair(), { trainDataloaders: batches(1) });
  assert.deepEqual(seen, [
    [true, false],
    [true, true],
  ]);
});

test("allGather of one process is what it was given", async () => {
  const t = tensor([1, 2]);
  let gathered: unknown;
  class Gathers extends Small {
    override trainingStep(batch: [Tensor, Tensor]): Tensor {
      gathered = this.allGather({ t });
      return super.trainingStep(batch);
    }
  }
  await new Trainer({ ...QUIET, maxEpochs: 1 }).fit(new Gathers(), { trainDataloaders: batches(1) });
  assert.deepEqual(gathered, { t });
});

test("toOnnx writes the model, on the module's example where none is given", () => {
  class Forward extends Small {
    override forward(x: Tensor): Tensor {
      return this.layer.forward(x);
    }
  }
  const path = join(folder, "net.onnx");
  const net = new Forward();
  assert.throws(
    () => {
      net.toOnnx(path);
    },
    { code: "ERR_EXAMPLE_INPUT" },
  );
  net.exampleInputArray = randn([1, 4]);
  net.toOnnx(path, null, { inputNames: ["x"] });
  assert.ok(existsSync(path));
  assert.equal(net.training, true);
});

test("barebones leaves out what costs time, and refuses options that ask for it", async () => {
  class Logs extends Small {
    override trainingStep(batch: [Tensor, Tensor]): Tensor {
      const loss = super.trainingStep(batch);
      this.log("loss", loss);
      return loss;
    }
  }
  const trainer = new Trainer({ accelerator: "cpu", barebones: true, maxEpochs: 1, defaultRootDir: folder });
  assert.deepEqual([trainer.callbacks, trainer.loggers, trainer.logEveryNSteps], [[], [], 0]);
  const warnings = await warningsOf(() => trainer.fit(new Logs(), { trainDataloaders: batches(2) }));
  assert.deepEqual(
    warnings.map(({ code }) => code),
    ["WARN_BAREBONES"],
  );
  assert.deepEqual(trainer.callbackMetrics, {});
  for (const options of [
    { logger: true },
    { enableCheckpointing: true },
    { enableProgressBar: true },
    { enableModelSummary: true },
    { logEveryNSteps: 10 },
    { numSanityValSteps: 1 },
    { fastDevRun: true },
    { detectAnomaly: true },
    { detectNonFinite: true },
  ] as const satisfies readonly TrainerOptions[])
    assert.throws(() => new Trainer({ accelerator: "cpu", barebones: true, ...options }), {
      code: "ERR_BAREBONES",
      message: new RegExp(`^Trainer: expected no ${Object.keys(options)[0]} with barebones`),
    });
});

test("detectAnomaly names the operator whose gradient is NaN, for as long as it trains", async () => {
  class Nan extends Small {
    override trainingStep(): Tensor {
      return this.layer.weight.mul(0).sum().sqrt().mul(0).add(this.layer.weight.sum());
    }
  }
  const fit = new Trainer({ ...SILENT, accelerator: "cpu", maxEpochs: 1, detectAnomaly: true }).fit(new Nan(), {
    trainDataloaders: batches(1),
  });
  await assert.rejects(fit, (error) => error instanceof NbitError && /sqrt/i.test(error.message));
  assert.equal(autograd.isAnomalyEnabled(), false);
  assert.throws(() => new Trainer({ ...QUIET, detectAnomaly: true, replay: true }), { code: "ERR_DETECT_ANOMALY" });
});

test("a Timer says that its time is over, unless it is told not to", async (t) => {
  const said = t.mock.method(console, "log", () => undefined);
  const fit = (verbose: boolean): Promise<void> =>
    new Trainer({ ...QUIET, maxEpochs: 3, callbacks: [new Timer({ duration: { seconds: 1e-9 }, verbose })] }).fit(
      new Small(),
      { trainDataloaders: batches(2) },
    );
  await fit(false);
  assert.equal(said.mock.callCount(), 0);
  await fit(true);
  assert.equal(said.mock.callCount(), 1);
  assert.match(String(said.mock.calls[0]?.arguments[0]), /^Timer: training ends, its time is over after /);
});

test("enableVersionCounter: false overwrites a file of the same name", async () => {
  const save = async (dirpath: string, enableVersionCounter: boolean): Promise<string[]> => {
    const callback = new ModelCheckpoint({ dirpath, filename: "a", enableVersionCounter });
    const options = { ...QUIET, enableCheckpointing: true, maxEpochs: 1, callbacks: [callback] };
    for (let i = 0; i < 2; i++)
      await new Trainer(
        i === 0
          ? options
          : { ...options, callbacks: [new ModelCheckpoint({ dirpath, filename: "a", enableVersionCounter })] },
      ).fit(new Small(), { trainDataloaders: batches(1) });
    return readdirSync(dirpath).sort();
  };
  assert.deepEqual(await save(join(folder, "kept"), true), ["a-v1.ckpt", "a.ckpt"]);
  assert.deepEqual(await save(join(folder, "over"), false), ["a.ckpt"]);
  writeFileSync(join(folder, "over", "a.ckpt"), "somebody's");
  assert.deepEqual(await save(join(folder, "over"), false), ["a.ckpt"]);
});

test("arguments of log that say nothing here are refused with the reason", () => {
  const net = new Small();
  for (const [name, reason] of [
    ["enableGraph", /nothing can be differentiated through it/],
    ["syncDistGroup", /Reduce over a group/],
    ["metricAttribute", /known by the name/],
  ] as const)
    assert.throws(() => {
      net.log("a", 1, { [name]: true } as never);
    }, reason);
  assert.throws(() => new Trainer({ ...QUIET, modelRegistry: "x" } as never), /There is no registry/);
  assert.equal(ones([1]).item(), 1);
});
