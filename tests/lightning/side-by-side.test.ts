/** Runs of one process that take turns: the mode of the thread, whether operations are recorded, is each one's own where it matters. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { Callback, LightningModule, Trainer } from "@nbit/lightning";
import { isGradEnabled, nn, ones, optim, type Tensor } from "@nbit/torch";
import { QUIET } from "../helpers/training.js";

class Line extends LightningModule {
  readonly layer = new nn.Linear(2, 1);
  readonly recorded: boolean[] = [];
  override trainingStep(x: Tensor): Tensor {
    return this.layer.forward(x).square().mean();
  }
  override validationStep(x: Tensor): void {
    this.recorded.push(isGradEnabled());
    this.log("val", this.layer.forward(x).square().mean());
  }
  override configureOptimizers(): optim.Optimizer {
    return new optim.SGD(this.parameters(), { lr: 0.1 });
  }
}

function gate(): { readonly open: () => void; readonly passed: Promise<void> } {
  let open = (): void => undefined;
  const passed = new Promise<void>((resolve) => (open = resolve));
  return { open, passed };
}

/** A validation that waits at its start, until it is let go. */
function waiting(): { readonly begun: Promise<void>; readonly goOn: () => void; readonly done: Promise<unknown>; readonly module: Line } {
  const begun = gate();
  const going = gate();
  const callback = new Callback();
  callback.onValidationStart = async () => {
    begun.open();
    await going.passed;
  };
  const module = new Line();
  const done = new Trainer({ ...QUIET, inferenceMode: false, callbacks: [callback] }).validate(module, { dataloaders: [ones([1, 2])] });
  return { begun: begun.passed, goOn: going.open, done, module };
}

test("a fit learns while another run validates", async () => {
  const validation = waiting();
  await validation.begun;
  const module = new Line();
  const before = module.layer.weight.tolist();
  try {
    await new Trainer({ ...QUIET, maxEpochs: 2 }).fit(module, { trainDataloaders: [ones([1, 2])], valDataloaders: [ones([1, 2])] });
  } finally {
    validation.goOn();
  }
  assert.notDeepEqual(module.layer.weight.tolist(), before);
  await validation.done;
  assert.deepEqual(validation.module.recorded, [false], "the fit's own validation ended before: that recorded nothing either");
});

test("whichever of two validations ends first, operations are recorded afterwards as before", async () => {
  for (const lastFirst of [false, true]) {
    const runs = [waiting(), waiting()] as const;
    await Promise.all(runs.map((run) => run.begun));
    const [one, two] = lastFirst ? [runs[1], runs[0]] : runs;
    one.goOn();
    await one.done;
    two.goOn();
    await two.done;
    assert.deepEqual(runs.map(({ module }) => module.recorded), [[false], [false]]);
    assert.equal(isGradEnabled(), true);
  }
});
