/**
 * Runs of one process that take turns on its event loop: whether operations are recorded is each one's own affair, and
 * nobody else's.
 */
import assert from "node:assert/strict";
import { test } from "node:test";
import { setImmediate as pause } from "node:timers/promises";
import { Callback, LightningModule, Trainer } from "@nbit/lightning";
import { isGradEnabled, manualSeed, nn, ones, optim, type Tensor } from "@nbit/torch";
import { Line } from "../helpers/modules.js";
import { QUIET } from "../helpers/training.js";

class Validated extends Line {
  readonly recorded: boolean[] = [];
  override validationStep(x: Tensor): void {
    this.recorded.push(isGradEnabled());
    this.log("val", this.forward(x).square().mean());
  }
}

function gate(): { readonly open: () => void; readonly passed: Promise<void> } {
  let open = (): void => undefined;
  const passed = new Promise<void>((resolve) => (open = resolve));
  return { open, passed };
}

/** A validation that waits at its start, until it is let go. */
function waiting(): {
  readonly begun: Promise<void>;
  readonly goOn: () => void;
  readonly done: Promise<unknown>;
  readonly module: Validated;
} {
  const begun = gate();
  const going = gate();
  const callback = new Callback();
  callback.onValidationStart = async () => {
    begun.open();
    await going.passed;
  };
  const module = new Validated();
  const done = new Trainer({ ...QUIET, inferenceMode: false, callbacks: [callback] }).validate(module, {
    dataloaders: [ones([1, 2])],
  });
  return { begun: begun.passed, goOn: going.open, done, module };
}

test("a fit learns while another run validates", async () => {
  const validation = waiting();
  await validation.begun;
  const module = new Validated();
  const before = module.layer.weight.tolist();
  try {
    await new Trainer({ ...QUIET, maxEpochs: 2 }).fit(module, {
      trainDataloaders: [ones([1, 2])],
      valDataloaders: [ones([1, 2])],
    });
  } finally {
    validation.goOn();
  }
  assert.notDeepEqual(module.layer.weight.tolist(), before);
  await validation.done;
  assert.deepEqual(
    validation.module.recorded,
    [false],
    "the fit's own validation ended before: that recorded nothing either",
  );
});

test("autograd records again after two validations at once, whichever ends first", async () => {
  for (const lastFirst of [false, true]) {
    const runs = [waiting(), waiting()] as const;
    await Promise.all(runs.map((run) => run.begun));
    const [one, two] = lastFirst ? [runs[1], runs[0]] : runs;
    one.goOn();
    await one.done;
    two.goOn();
    await two.done;
    assert.deepEqual(
      runs.map(({ module }) => module.recorded),
      [[false], [false]],
    );
    assert.equal(isGradEnabled(), true);
  }
});

class Notes extends LightningModule {
  readonly layer = new nn.Linear(2, 1);
  readonly gradients = new Map<string, boolean>();

  #note(where: string): void {
    this.gradients.set(where, isGradEnabled());
  }
  override trainingStep(x: Tensor): Tensor {
    this.#note("trainingStep");
    return this.layer.forward(x).square().mean();
  }
  override validationStep(x: Tensor): void {
    this.#note("validationStep");
    this.log("val_loss", this.layer.forward(x).square().mean());
  }
  override onTrainBatchEnd(): void {
    this.#note("onTrainBatchEnd");
  }
  override onValidationEpochEnd(): void {
    this.#note("onValidationEpochEnd");
  }
  override configureOptimizers(): optim.Optimizer {
    return new optim.SGD(this.parameters(), { lr: 0.1, momentum: 0.9 });
  }
}

/** Waits after every batch, so that another run's batch comes next. */
class Waits extends Callback {
  override async onTrainBatchEnd(): Promise<void> {
    await pause();
  }
  override async onValidationBatchEnd(): Promise<void> {
    await pause();
    await pause();
  }
}

const batches = (n: number): Tensor[] => Array.from({ length: n }, (_, i) => ones([1, 2]).mul(i + 1));
function start(validation: number): { readonly model: Notes; readonly done: Promise<void> } {
  manualSeed(3);
  const model = new Notes();
  const trainer = new Trainer({ ...QUIET, callbacks: [new Waits()], maxEpochs: 4 });
  return {
    model,
    done: trainer.fit(model, {
      trainDataloaders: batches(3),
      ...(validation > 0 ? { valDataloaders: batches(validation) } : {}),
    }),
  };
}

test("a validation beside a training run changes neither, and code between their batches has gradients", async () => {
  const alone = start(0);
  await alone.done;
  const [validates, trains] = [start(5), start(0)];
  let ended = false;
  const done = Promise.all([validates.done, trains.done]).finally(() => (ended = true));
  const between = new Set<boolean>();
  while (!ended) {
    between.add(isGradEnabled());
    await pause();
  }
  await done;
  assert.deepEqual([...between], [true]);
  assert.deepEqual([...validates.model.gradients].sort(), [
    ["onTrainBatchEnd", true],
    ["onValidationEpochEnd", false],
    ["trainingStep", true],
    ["validationStep", false],
  ]);
  assert.deepEqual([...trains.model.gradients].sort(), [
    ["onTrainBatchEnd", true],
    ["trainingStep", true],
  ]);
  for (const { model } of [validates, trains])
    assert.deepEqual(model.layer.weight.tolist(), alone.model.layer.weight.tolist());
});
