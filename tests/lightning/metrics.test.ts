import assert from "node:assert/strict";
import { join } from "node:path";
import { beforeEach, test } from "node:test";
import { EarlyStopping, Logger, readCheckpoint, Trainer } from "@nbit/lightning";
import type { LogOptions, LogValue, Metrics, TrainerOptions } from "@nbit/lightning";
import { manualSeed, randn, setNumThreads, tensor } from "@nbit/torch";
import type { Tensor } from "@nbit/torch";
import { Line } from "../helpers/modules.js";
import { temporaryFolder } from "../helpers/temporary-folder.js";
import { QUIET } from "../helpers/training.js";

setNumThreads(1); // tiny tensors
beforeEach(() => void manualSeed(1)); // batches and weights are the same in every run

class Memory extends Logger {
  readonly name = "memory";
  readonly version = 0;
  readonly rows: (Record<string, number> & { at: number })[] = [];
  readonly statuses: string[] = [];
  hyperparams: unknown = null;
  override logMetrics(metrics: Metrics, step: number): void {
    this.rows.push({ ...metrics, at: step });
  }
  override logHyperparams(params: Readonly<Record<string, unknown>>): void {
    this.hyperparams = params;
  }
  override finalize(status: string): void {
    this.statuses.push(status);
  }
}

const OPTIONS: TrainerOptions = { ...QUIET, maxEpochs: 1 };
const batches = (sizes: readonly number[]): Tensor[] => sizes.map((n) => randn([n, 2]));

test("logged values reach loggers per step and per epoch, as weighted means, under their names and at the right steps", async () => {
  class Logged extends Line {
    override trainingStep(batch: Tensor, batchIdx: number): Tensor | null {
      this.log("both", batchIdx, { onStep: true, onEpoch: true, progBar: true });
      this.log("tens", batchIdx * 10);
      this.log("sum", 1, { onStep: false, onEpoch: true, reduceFx: "sum" });
      this.log("most", tensor(batchIdx), { onStep: false, onEpoch: true, reduceFx: "max" });
      this.log("hidden", batchIdx, { logger: false });
      return super.trainingStep(batch, batchIdx);
    }
    override validationStep(batch: Tensor, batchIdx: number): void {
      this.log("val", batchIdx);
      this.log("val_steps", batchIdx, { onStep: true, onEpoch: true });
      this.forward(batch);
    }
    override onValidationEpochEnd(): void {
      this.log("val_end", 7);
    }
  }
  const logger = new Memory();
  const net = new Logged();
  net.saveHyperparameters({ lr: 0.1, secret: 1 }, { ignore: ["secret"] });
  const trainer = new Trainer({ ...OPTIONS, logger, logEveryNSteps: 2, numSanityValSteps: 1 });
  await trainer.fit(net, { trainDataloaders: batches([4, 4, 2, 2]), valDataloaders: batches([3, 1]) });

  const mean = (0 * 4 + 1 * 4 + 2 * 2 + 3 * 2) / 12;
  assert.deepEqual(
    { ...trainer.callbackMetrics },
    {
      both: mean,
      both_step: 3,
      both_epoch: mean,
      tens: 30,
      sum: 4,
      most: 3,
      hidden: 3,
      val: 0.25,
      val_steps: 0.25,
      val_steps_epoch: 0.25,
      val_end: 7,
    },
  );
  assert.deepEqual({ ...trainer.progressBarMetrics }, { both_step: 3, both_epoch: mean });
  assert.deepEqual(logger.rows, [
    { both_step: 1, tens: 10, epoch: 0, at: 1 },
    { both_step: 3, tens: 30, epoch: 0, at: 3 },
    { val_steps_step: 0, at: 0 },
    { val_steps_step: 1, at: 1 },
    { val: 0.25, val_steps_epoch: 0.25, val_end: 7, epoch: 0, at: 3 },
    { both_epoch: mean, sum: 4, most: 3, epoch: 0, at: 3 },
  ]);
  assert.deepEqual(logger.statuses, ["success"]);
  assert.deepEqual(logger.hyperparams, { lr: 0.1 });
});

test("metrics of several loaders have names and results of their own", async () => {
  class Logged extends Line {
    override testStep(batch: Tensor, _batchIdx: number, dataloaderIdx: number): void {
      this.log("acc", dataloaderIdx + 1);
      this.forward(batch);
    }
  }
  const trainer = new Trainer(OPTIONS);
  const results = await trainer.test(new Logged(), { dataloaders: [new Set(batches([2, 2])), new Set(batches([2]))] });
  assert.deepEqual(results, [{ "acc/dataloader_idx_0": 1 }, { "acc/dataloader_idx_1": 2 }]);
  assert.deepEqual({ ...trainer.callbackMetrics }, { "acc/dataloader_idx_0": 1, "acc/dataloader_idx_1": 2 });
});

test("means accumulate in float32, in float64 for float64 values", async () => {
  const values = [0.1, 0.2, 0.3];
  for (const dtype of ["float32", "float64"] as const) {
    class Logged extends Line {
      override trainingStep(batch: Tensor, batchIdx: number): Tensor | null {
        this.log("x", tensor(values[batchIdx] ?? 0, { dtype }), { onStep: false, onEpoch: true, batchSize: 3 });
        return super.trainingStep(batch, batchIdx);
      }
    }
    const trainer = new Trainer(OPTIONS);
    await trainer.fit(new Logged(), { trainDataloaders: batches([2, 2, 2]) });
    const f = Math.fround;
    const narrow = f(f(f(f(f(0.1) * 3) + f(f(0.2) * 3)) + f(f(0.3) * 3)) / 9);
    const wide = (0.1 * 3 + 0.2 * 3 + f(0) + 0.3 * 3) / 9;
    assert.equal(trainer.callbackMetrics["x"], dtype === "float32" ? narrow : wide);
  }
});

test("JavaScript numbers, integers and float64 tensors are float64 wherever they go", async () => {
  const numbers = [0.1, 1 / 3, 16777217.25];
  const integers = [16777217, 2 ** 40 + 1, 3];
  const path = join(temporaryFolder("metrics"), "m.ckpt");
  class Logged extends Line {
    readonly seen: unknown[] = [];
    override trainingStep(batch: Tensor, batchIdx: number): Tensor | null {
      const number = numbers[batchIdx] ?? 0;
      this.log("number", number, { onStep: true, onEpoch: true, batchSize: 7, progBar: true });
      this.log("int", tensor(integers[batchIdx] ?? 0, { dtype: "int64" }), {
        onStep: true,
        onEpoch: true,
        reduceFx: "sum",
      });
      this.log("double", tensor(number, { dtype: "float64" }), { onEpoch: true, reduceFx: "max" });
      this.log("mixed", batchIdx === 1 ? number : tensor(number), { onStep: false, onEpoch: true, batchSize: 3 });
      this.log("truth", batchIdx !== 1, { onStep: false, onEpoch: true, reduceFx: "sum" });
      return super.trainingStep(batch, batchIdx);
    }
    override onTrainEpochEnd(): void {
      this.log("late", 0.7);
    }
  }
  const logger = new Memory();
  const trainer = new Trainer({ ...OPTIONS, logger, logEveryNSteps: 1 });
  await trainer.fit(new Logged(), { trainDataloaders: batches([2, 2, 2]) });
  const f = Math.fround;
  const mean = numbers.reduce((sum, n) => sum + n * 7, 0) / 21;
  const expected = {
    number: mean,
    number_epoch: mean,
    number_step: 16777217.25,
    int: 2 ** 40 + 16777221,
    int_epoch: 2 ** 40 + 16777221,
    int_step: 3,
    double: 16777217.25,
    double_step: 16777217.25,
    double_epoch: 16777217.25,
    mixed: (f(f(0.1) * 3) + (1 / 3) * 3 + f(f(16777217.25) * 3)) / 9,
    truth: 2,
    late: 0.7,
  };
  assert.deepEqual({ ...trainer.callbackMetrics }, expected);
  assert.deepEqual(
    logger.rows.slice(0, 3).map(({ number_step, int_step, double_step }) => [number_step, int_step, double_step]),
    numbers.map((n, i) => [n, integers[i], n]),
  );
  assert.equal(trainer.progressBarMetrics["number_step"], 16777217.25);
  trainer.saveCheckpoint(path);
  assert.deepEqual(readCheckpoint(path).loops?.callbackMetrics, expected);
});

test("a monitor compares the exact value that was logged", async () => {
  class Logged extends Line {
    override onTrainEpochEnd(): void {
      this.log("score", 1 + this.currentEpoch * 1e-12);
    }
  }
  const stop = new EarlyStopping({ monitor: "score", mode: "max", patience: 1, verbose: false });
  await new Trainer({ ...OPTIONS, maxEpochs: 5, callbacks: [stop] }).fit(new Logged(), {
    trainDataloaders: batches([2]),
  });
  assert.deepEqual([stop.bestScore, stop.waitCount], [1 + 4e-12, 0]);
});

function failing(
  name: string,
  hook: "trainingStep" | "onFitStart" | "onTrainEpochEnd",
  code: string,
  message: RegExp,
  log: (net: Line) => void,
): void {
  test(`log refuses ${name}`, async () => {
    class Logged extends Line {
      override trainingStep(batch: Tensor, batchIdx: number): Tensor | null {
        if (hook === "trainingStep") log(this);
        return super.trainingStep(batch, batchIdx);
      }
      override onFitStart(): void {
        if (hook === "onFitStart") log(this);
      }
      override onTrainEpochEnd(): void {
        if (hook === "onTrainEpochEnd") log(this);
      }
    }
    const trainer = new Trainer(OPTIONS);
    await assert.rejects(trainer.fit(new Logged(), { trainDataloaders: batches([2]) }), { code, message });
    assert.equal(trainer.state.status, "interrupted");
  });
}

const call = (name: string, value: LogValue, options?: LogOptions) => (net: Line) => net.log(name, value, options);
failing(
  "a value with several elements",
  "trainingStep",
  "ERR_LOG_VALUE",
  /^log: expected value of "x" to have one element\. Received: Tensor float32 \[2\]/,
  (net) => net.log("x", randn([2])),
);
failing(
  "other options in a later call",
  "trainingStep",
  "ERR_LOG_OPTIONS",
  /the same options in every call for "x" in trainingStep/,
  (net) => {
    net.log("x", 1);
    net.log("x", 1, { progBar: true });
  },
);
failing("a hook outside of training", "onFitStart", "ERR_LOG_HOOK", /Received: "onFitStart"/, call("x", 1));
failing(
  "onStep in a hook of an epoch",
  "onTrainEpochEnd",
  "ERR_LOG_LEVEL",
  /onStep to be false in onTrainEpochEnd/,
  call("x", 1, { onStep: true }),
);
failing(
  "neither level",
  "trainingStep",
  "ERR_LOG_LEVEL",
  /onStep or onEpoch to be true/,
  call("x", 1, { onStep: false, onEpoch: false }),
);
failing(
  "another reduction",
  "trainingStep",
  "ERR_LOG_REDUCTION",
  /reduceFx to be "mean", "sum", "min" or "max"/,
  (net) => net.log("x", 1, { reduceFx: "median" as "mean" }),
);
