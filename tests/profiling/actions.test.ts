/** Actions of a run are Lightning's, in its order: fixtures/profiler_actions.py wrote these down. */
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import { Callback, LightningModule, Profiler, Trainer } from "@nbit/lightning";
import { DataLoader, nn, ones, optim, setNumThreads, TensorDataset } from "@nbit/torch";
import type { Tensor } from "@nbit/torch";
import { camel } from "../helpers/camel.js";
import { QUIET } from "../helpers/training.js";

setNumThreads(1);
const reference = JSON.parse(
  readFileSync(new URL("../../profiling/fixtures/profiler-actions.json", import.meta.url), "utf8"),
) as Readonly<Record<string, readonly string[]>>;

/** What this Trainer has no action for: it has no such methods to call, or calls what nobody overrides without one. */
const ELSEWHERE =
  /\.(on(Validation|Test|Predict)Model(Eval|Train|ZeroGrad)|configureCallbacks|prepareData|on(Before|After)BatchTransfer|transferBatchToDevice)$|^.\[Strategy\]\w+\.(on[A-Z]|setup|teardown)/;
const inOurNames = (action: string): string =>
  action.replace(/\.(\w+)$/, (whole, name: string) => (action.includes("Loop]") ? whole : `.${camel(name)}`));

class Actions extends Profiler {
  readonly log: string[] = [];
  start(action: string): void {
    this.log.push(`+${action}`);
  }
  stop(action: string): void {
    this.log.push(`-${action}`);
  }
}

class Net extends LightningModule {
  readonly layer = new nn.Linear(3, 2);
  override trainingStep([x]: [Tensor]): Tensor {
    return this.layer.forward(x).sum();
  }
  override validationStep([x]: [Tensor]): void {
    this.layer.forward(x);
  }
  override testStep([x]: [Tensor]): void {
    this.layer.forward(x);
  }
  override predictStep([x]: [Tensor]): Tensor {
    return this.layer.forward(x);
  }
  override configureOptimizers(): optim.Optimizer {
    return new optim.SGD(this.parameters(), { lr: 0.1 });
  }
  override configureGradientClipping(): void {}
}
class All extends Callback {}
// Every hook is overridden, so that each is called and has an action.
for (const type of [Net, All])
  for (let proto: object = type.prototype; proto !== nn.Module.prototype && proto !== Object.prototype;)
    proto = overrideHooks(type.prototype, proto);
function overrideHooks(into: object, from: object): object {
  for (const name of Object.getOwnPropertyNames(from))
    if (/^on[A-Z]|^setup$|^teardown$/.test(name) && !/Checkpoint$|Exception$|Transfer$|ZeroGrad$/.test(name))
      Object.defineProperty(into, name, { value: () => undefined, configurable: true });
  return Object.getPrototypeOf(from) as object;
}
for (const type of [Net, All])
  Object.defineProperty(type.prototype, "onBeforeZeroGrad", { value: () => undefined, configurable: true });

const data = (): Iterable<unknown> => new DataLoader(new TensorDataset(ones([4, 3])), { batchSize: 2 });

for (const fn of ["fit", "validate", "test", "predict"] as const)
  test(`actions of ${fn} are Lightning's`, async () => {
    const profiler = new Actions();
    const trainer = new Trainer({
      ...QUIET,
      maxEpochs: 1,
      profiler,
      callbacks: new All(),
      numSanityValSteps: 1,
      accumulateGradBatches: 2,
    });
    assert.equal(trainer.profiler, profiler);
    const model = new Net();
    if (fn === "fit") await trainer.fit(model, { trainDataloaders: data(), valDataloaders: data() });
    else await trainer[fn](model, { dataloaders: data() });
    const expected = (reference[fn] ?? []).map(inOurNames).filter((action) => !ELSEWHERE.test(action));
    assert.deepEqual(
      profiler.log.map(inOurNames).filter((action) => !ELSEWHERE.test(action)),
      expected,
    );
  });
