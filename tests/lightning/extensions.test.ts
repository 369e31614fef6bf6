/** What a third party adds to a Trainer: a strategy and a logger, each by one class and at most one call. */
import assert from "node:assert/strict";
import { test } from "node:test";
import {
  LightningModule,
  Logger,
  type Metrics,
  registerStrategy,
  SingleDeviceStrategy,
  Trainer,
} from "@nbit/lightning";
import { type Device, nn, ones, optim, type Tensor } from "@nbit/torch";
import { QUIET } from "../helpers/training.js";

class Line extends LightningModule {
  readonly layer = new nn.Linear(2, 1);
  override trainingStep(x: Tensor): Tensor {
    const loss = this.layer.forward(x).square().mean();
    this.log("loss", loss);
    return loss;
  }
  override configureOptimizers(): optim.Optimizer {
    return new optim.SGD(this.parameters(), { lr: 0.1 });
  }
}

/** Counts what it places. */
class Counting extends SingleDeviceStrategy {
  override readonly name = "counting";
  modules = 0;
  batches = 0;
  override setupModule(module: nn.Module): void {
    this.modules++;
    super.setupModule(module);
  }
  override toDevice(batch: unknown): unknown {
    this.batches++;
    return super.toDevice(batch);
  }
}

class Table extends Logger {
  readonly name = "table";
  readonly version = 0;
  readonly steps: number[] = [];
  override logMetrics(_metrics: Metrics, step: number): void {
    this.steps.push(step);
  }
}

const batches = [ones([1, 2]), ones([1, 2]), ones([1, 2])];

test("trains with a strategy and a logger of a third party", async () => {
  const made: Counting[] = [];
  registerStrategy("counting", (rootDevice: Device) => {
    const strategy = new Counting(rootDevice);
    made.push(strategy);
    return strategy;
  });
  const logger = new Table();
  const trainer = new Trainer({ ...QUIET, strategy: "counting", logger, logEveryNSteps: 1, maxEpochs: 2 });
  const model = new Line();
  const before = model.layer.weight.tolist();
  await trainer.fit(model, { trainDataloaders: batches });
  assert.equal(trainer.strategy, made[0]);
  assert.deepEqual(
    made.map(({ modules, batches: placed }) => [modules, placed]),
    [[1, 6]],
  );
  assert.deepEqual(logger.steps, [0, 1, 2, 3, 4, 5]);
  assert.notDeepEqual(model.layer.weight.tolist(), before);
  assert.deepEqual(trainer.state, { fn: "fit", status: "finished", stage: null });
});

test("takes a strategy as it is, and says which names there are", () => {
  const strategy = new Counting(new Trainer(QUIET).rootDevice);
  assert.equal(new Trainer({ ...QUIET, strategy }).strategy, strategy);
  for (const name of ["auto", "single_device"])
    assert.equal(new Trainer({ ...QUIET, strategy: name }).strategy.name, "single_device");
  const message =
    'Trainer: expected strategy to be one of "auto", "single_device", "ddp", "fsdp", "fsdp_cpu_offload", "ddp_find_unused_parameters_true", "counting", or a Strategy. Received: "dpp". Add others with registerStrategy(name, create).';
  assert.throws(() => new Trainer({ ...QUIET, strategy: "dpp" }), { code: "ERR_STRATEGY_UNKNOWN", message });
  assert.throws(() => new Trainer({ ...QUIET, strategy: {} as SingleDeviceStrategy }), {
    code: "ERR_STRATEGY_UNKNOWN",
  });
  assert.throws(() => registerStrategy("mine", 3 as unknown as () => SingleDeviceStrategy), { code: "ERR_ARGUMENT" });
});
