/** Validation, testing and prediction as programs of an XLA device, beside the host. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { Trainer } from "@nbit/lightning";
import { crossEntropyLoss, keep, noGrad, optim, randint, randn, seedEverything, type Tensor } from "@nbit/torch";
import { MetricRows, SILENT, warningsOf } from "../helpers/training.js";
import { CERTAIN_KINDS, Classifier, type Batch, type Kind } from "../replay/models.js";
import { needsPlugin } from "./train.js";

const kind = CERTAIN_KINDS["cnn"] as Kind;
const sgd = (p: Iterable<Tensor>): optim.Optimizer => new optim.SGD(p, { lr: 0.05, momentum: 0.9 });

/** How often JavaScript ran each step. Outside of the module, where nothing looks for effects. */
interface Calls {
  validation: number;
  test: number;
  predict: number;
}
class Evaluated extends Classifier {
  readonly calls: Calls = { validation: 0, test: 0, predict: 0 };
  override validationStep([x, y]: Batch): void {
    this.calls.validation++;
    const found = this.net.forward(x);
    this.log("val_loss", crossEntropyLoss(found, y));
    this.log("val_right", found.argmax(-1).eq(y).float().mean(), { onStep: true, onEpoch: true });
  }
  override testStep([x, y]: Batch): Record<string, Tensor> {
    this.calls.test++;
    const loss = crossEntropyLoss(this.net.forward(x), y);
    this.log("test_loss", loss);
    return { loss };
  }
  override predictStep([x]: Batch): {
    readonly found: Tensor;
    readonly scores: readonly Tensor[];
    readonly name: string;
  } {
    this.calls.predict++;
    const scores = this.net.forward(x);
    return { found: scores.argmax(-1), scores: [scores.softmax(-1)], name: "a" };
  }
}
const numbers = (t: Tensor): number[] => [...(t.to("float64").reshape([-1]).toTypedArray() as Float64Array)];
function close(got: readonly number[], want: readonly number[], within: number): void {
  assert.equal(got.length, want.length);
  got.forEach((x, i) => assert.ok(Math.abs(x - (want[i] as number)) <= within, `${x} for ${want[i]}`));
}

async function run(accelerator: string, precision: 32 | "bf16" = 32) {
  seedEverything(3);
  const module = new Evaluated(kind, sgd);
  const batches = Array.from({ length: 6 }, kind.batch);
  const held = Array.from({ length: 4 }, kind.batch);
  const rows = new MetricRows();
  const trainer = new Trainer({ ...SILENT, accelerator, precision, maxEpochs: 3, logger: rows, logEveryNSteps: 1 });
  await trainer.fit(module, { trainDataloaders: batches, valDataloaders: held });
  const validated = { ...trainer.callbackMetrics };
  const [tested] = await trainer.test(module, { dataloaders: held });
  const again = await trainer.validate(module, { dataloaders: held });
  const predicted = (await trainer.predict(module, { dataloaders: held })) as ReturnType<Evaluated["predictStep"]>[];
  return { module, validated, tested, again, predicted, rows: rows.rows };
}

for (const [precision, within] of [
  [32, 1e-5],
  ["bf16", 0.1],
] as const)
  test(`steps that do not train give the host's numbers, in ${precision}`, needsPlugin, async () => {
    const host = await run("cpu", precision);
    const device = await run("xla", precision);
    assert.deepEqual(Object.keys(device.validated), Object.keys(host.validated));
    close(Object.values(device.validated), Object.values(host.validated), within);
    close(Object.values(device.tested ?? {}), Object.values(host.tested ?? {}), within);
    close(Object.values(device.again[0] ?? {}), Object.values(host.again[0] ?? {}), within);
    assert.equal(device.predicted.length, 4);
    device.predicted.forEach((one, i) => {
      const wanted = host.predicted[i] as typeof one;
      assert.equal(one.name, "a");
      close(numbers(one.scores[0] as Tensor), numbers(wanted.scores[0] as Tensor), within);
    });
    // Recorded once in the fit, and once in each run after it; the host calls them for every batch.
    assert.deepEqual(device.module.calls, { validation: 2, test: 1, predict: 1 });
    assert.deepEqual(host.module.calls, { validation: 2 + 3 * 4 + 4, test: 4, predict: 4 });
    // Rows of training come one step late, in their order and under their own steps.
    assert.deepEqual(
      device.rows.map((r) => [r.step, Object.keys(r.metrics)]),
      host.rows.map((r) => [r.step, Object.keys(r.metrics)]),
    );
  });

class OnHost extends Evaluated {
  readonly seen: number[] = [];
  readonly kept: Tensor[] = [];
  constructor(readonly how: "reads" | "keeps" | "pushes" | "writes") {
    super(kind, sgd);
  }
  override validationStep(batch: Batch): void {
    super.validationStep(batch);
    const total = batch[0].sum();
    if (this.how === "reads") this.seen.push(total.item());
    if (this.how === "keeps") this.kept.push(keep(total));
    if (this.how === "pushes") this.seen.push(1);
    if (this.how === "writes") noGrad(() => [...this.parameters()][0]?.mul_(1));
  }
}
for (const [how, reason] of [
  ["reads", /validationStep runs on the host.*_local_scalar_dense reads a number.*evaluation\.test\.ts/s],
  ["keeps", /keeps a tensor beyond the batch|changes the module's kept/],
  ["pushes", /changes the module's seen/],
  ["writes", /it writes a parameter/],
] as const)
  test(`a validation step that ${how} runs on the host for every batch, with a warning`, needsPlugin, async () => {
    seedEverything(4);
    const module = new OnHost(how);
    const held = Array.from({ length: 4 }, kind.batch);
    let metrics: unknown;
    const warnings = await warningsOf(async () => {
      metrics = await new Trainer({ ...SILENT, accelerator: "xla" }).validate(module, { dataloaders: held });
    });
    assert.deepEqual(
      warnings.map((w) => w.code),
      ["WARN_XLA_ON_HOST"],
    );
    assert.match(warnings[0]?.message ?? "", reason);
    assert.equal(module.calls.validation, 4);
    const wanted = await new Trainer({ ...SILENT, accelerator: "cpu" }).validate(module, { dataloaders: held });
    assert.deepEqual(metrics, wanted);
  });

test(
  "batches of other shapes have programs of their own, and buffers are written on the device",
  needsPlugin,
  async () => {
    class Counts extends Classifier {
      constructor() {
        super(CERTAIN_KINDS["mlp"] as Kind, sgd);
        this.registerBuffer("seen", randn([1]).zero_());
      }
      declare readonly seen: Tensor;
      override validationStep([x, y]: Batch): void {
        noGrad(() => this.seen.add_(x.size(0)));
        this.log("val_loss", crossEntropyLoss(this.net.forward(x), y));
      }
    }
    const sizes = [4, 4, 3, 4, 3, 2];
    const held = sizes.map((n): Batch => [randn([n, 12]), randint(0, 5, [n])]);
    const found: Record<string, unknown> = {};
    seedEverything(5);
    const module = new Counts();
    for (const accelerator of ["cpu", "xla"]) {
      const [metrics] = await new Trainer({ ...SILENT, accelerator }).validate(module, { dataloaders: held });
      found[accelerator] = metrics?.["val_loss"];
    }
    close([found["xla"] as number], [found["cpu"] as number], 1e-5);
    assert.equal(module.seen.item(), 2 * sizes.reduce((a, b) => a + b));
  },
);
