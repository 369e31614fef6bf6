/** Hooks of callback, module and data module are called in Lightning's order, whatever is combined. */
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { beforeEach, test } from "node:test";
import { Callback, LightningDataModule, LightningModule, Trainer, type TrainerOptions } from "@nbit/lightning";
import { DataLoader, manualSeed, nn, ones, optim, setNumThreads, type Tensor } from "@nbit/torch";
import { recordCalls } from "../../helpers/recorded-calls.js";
import { temporaryFolders } from "../../helpers/temporary-folder.js";
import { QUIET } from "../../helpers/training.js";

/** A combination, and its calls: made by make_fixtures.py. */
interface Case {
  readonly name: string;
  readonly calls: string;
  readonly fn?: "validate" | "test" | "predict";
  readonly options?: TrainerOptions;
  /** Of a run whose checkpoint this one goes on from. */
  readonly resumedFrom?: TrainerOptions;
  /** How many optimizers are stepped by hand. */
  readonly manual?: number;
  readonly scheduler?: "step" | "epoch" | "plateau";
  readonly severalLoaders?: boolean;
  readonly nullStep?: boolean;
  /** Batches in which the epoch, or training, is ended. */
  readonly endsEpochAt?: number;
  readonly stopsAt?: number;
  readonly failsIn?: string;
}
/** The compiled file lies in tests/dist/lightning/hook-orders. */
const cases = readFileSync(new URL("../../../lightning/hook-orders/orders.jsonl", import.meta.url), "utf8")
  .trim()
  .split("\n")
  .map((line) => JSON.parse(line) as Case);

const nextFolder = temporaryFolders("hook-orders");
setNumThreads(1); // tiny tensors
beforeEach(() => void manualSeed(1));

type OneOrTwo = Tensor | { readonly a: Tensor };

class Net extends LightningModule {
  readonly layer = new nn.Linear(4, 2);
  constructor(readonly is: Case) {
    super();
    this.automaticOptimization = is.manual === undefined;
  }
  loss(batch: OneOrTwo): Tensor {
    return this.layer
      .forward("a" in batch ? batch.a : batch)
      .square()
      .mean();
  }
  failIn(where: string): void {
    if (this.is.failsIn === where) throw new RangeError("made to fail");
  }
  override trainingStep(batch: OneOrTwo, batchIdx: number): Tensor | null {
    if (batchIdx === 1) {
      this.failIn("trainingStep");
      if (this.is.nullStep === true) return null;
    }
    if (this.automaticOptimization) return this.loss(batch);
    for (const optimizer of [this.optimizers()].flat()) {
      optimizer.zeroGrad();
      this.manualBackward(this.loss(batch));
      optimizer.step();
    }
    return null;
  }
  override validationStep(batch: Tensor, _batchIdx: number, dataloaderIdx: number): void {
    this.failIn("validationStep");
    const loss = this.loss(batch);
    if (dataloaderIdx === 0) this.log("val_loss", loss, { addDataloaderIdx: false });
  }
  override testStep(batch: Tensor): void {
    this.failIn("testStep");
    this.loss(batch);
  }
  override predictStep(batch: Tensor): Tensor {
    this.failIn("predictStep");
    return this.layer.forward(batch);
  }
  override onTrainBatchStart(_batch: OneOrTwo, batchIdx: number): -1 | undefined {
    return this.is.endsEpochAt === batchIdx ? -1 : undefined;
  }
  override onTrainBatchEnd(_outputs: unknown, _batch: OneOrTwo, batchIdx: number): void {
    if (this.is.stopsAt === batchIdx) this.trainer.shouldStop = true;
  }
  override onTrainEpochEnd(): void {
    this.failIn("onTrainEpochEnd");
  }
  override configureOptimizers() {
    const { manual = 1, scheduler: kind } = this.is;
    const first = new optim.SGD(this.parameters(), { lr: 0.1 });
    if (kind === "plateau")
      return {
        optimizer: first,
        lrScheduler: { scheduler: new optim.ReduceLROnPlateau(first), monitor: "val_loss" },
      } as const;
    if (kind !== undefined) return [[first], [{ scheduler: new optim.StepLR(first, 1), interval: kind }]] as const;
    return manual === 1 ? first : [first, new optim.SGD(this.parameters(), { lr: 0.1 })];
  }
}

const loader = (): DataLoader<Tensor, Tensor> =>
  new DataLoader<Tensor, Tensor>(
    Array.from({ length: 8 }, () => ones([4])),
    { batchSize: 2 },
  );

class Data extends LightningDataModule {
  constructor(readonly is: Case) {
    super();
  }
  override trainDataloader(): unknown {
    return this.is.severalLoaders === true ? { a: loader(), b: loader() } : loader();
  }
  override valDataloader(): unknown {
    return this.is.severalLoaders === true ? [loader(), loader()] : loader();
  }
  override testDataloader(): unknown {
    return this.valDataloader();
  }
  override predictDataloader(): unknown {
    return this.valDataloader();
  }
}

/** Names of hooks and steps, as the fixtures have them. */
const STEPS = [
  ...["trainingStep", "validationStep", "testStep", "predictStep", "configureOptimizers", "configureModel"],
  ...["configureCallbacks", "prepareData", "optimizerZeroGrad", "backward", "lrSchedulerStep"],
  ...["configureGradientClipping", "transferBatchToDevice"],
];
function hooksOf(object: object): string[] {
  const names = new Set<string>();
  for (let at: unknown = object; typeof at === "object" && at !== null; at = Object.getPrototypeOf(at))
    for (const name of Object.getOwnPropertyNames(at))
      if (/^on[A-Z]|^setup$|^teardown$/.test(name) || STEPS.includes(name)) names.add(name);
  return [...names];
}

async function callsOf(is: Case): Promise<string[]> {
  const limits = {
    maxEpochs: 1,
    numSanityValSteps: 0,
    limitValBatches: 1,
    limitTestBatches: 2,
    limitPredictBatches: 2,
  };
  const options: TrainerOptions = { ...QUIET, ...limits, ...is.options };
  let ckptPath: string | null = null;
  if (is.resumedFrom !== undefined) {
    ckptPath = join(nextFolder(), "first.ckpt");
    const first = new Trainer({ ...options, ...is.resumedFrom });
    await first.fit(new Net(is), { datamodule: new Data(is) });
    first.saveCheckpoint(ckptPath);
  }
  const calls: string[] = [];
  const [callback, net, datamodule] = [new Callback(), new Net(is), new Data(is)];
  recordCalls(callback, hooksOf(callback), "c", calls);
  recordCalls(net, hooksOf(net), "m", calls);
  recordCalls(datamodule, hooksOf(datamodule), "d", calls);
  const trainer = new Trainer({ ...options, callbacks: [callback] });
  const run = trainer[is.fn ?? "fit"](net, { datamodule, ckptPath });
  if (is.failsIn === undefined) await run;
  else await assert.rejects(run, /made to fail/);
  return calls;
}

function cut(calls: readonly string[], first: string, count: number, from = 0): string[] {
  const at = calls.indexOf(first, from);
  assert.ok(at >= 0, first);
  return calls.toSpliced(at, count);
}
/** The second training step gives null: neither does the optimizer step then, where Lightning's does. */
const withoutStep = (calls: readonly string[]): string[] =>
  cut(calls, "c.onBeforeOptimizerStep", 3, calls.indexOf("m.trainingStep", calls.indexOf("m.trainingStep") + 1));

/** Where nbit's calls are others by design: what they are, from Lightning's. */
const BY_DESIGN: Readonly<Record<string, (calls: readonly string[]) => string[]>> = {
  "a step that gives nothing": withoutStep,
  // A run that goes on has been checked before.
  "resumed after an epoch, sanity check": (calls) => {
    const [start, end] = [calls.indexOf("c.onSanityCheckStart"), calls.indexOf("c.onSanityCheckEnd")];
    return calls.toSpliced(start, end - start + 1);
  },
};

for (const is of cases) {
  const byDesign = BY_DESIGN[is.name];
  const note = byDesign === undefined ? "" : ", but for what is so by design";
  test(`hooks are called in Lightning's order${note}: ${is.name}`, async () => {
    const calls = is.calls.split(" ");
    assert.deepEqual(await callsOf(is), byDesign === undefined ? calls : byDesign(calls));
  });
}
