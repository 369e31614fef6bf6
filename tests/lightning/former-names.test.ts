/** Plugins that were written for the version before: what they say under former names counts, with a warning. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { FullPrecision, LightningModule, Trainer } from "@nbit/lightning";
import { nn, ones, optim, type Tensor } from "@nbit/torch";
import { QUIET, warningsOf } from "../helpers/training.js";

class Former extends FullPrecision {
  protected get lossScaling(): string {
    return "by hand";
  }
  protected get modulePrecisions(): readonly (readonly [string, string])[] {
    return [["head", "float64"]];
  }
}

test("explain() reads lossScaling and modulePrecisions of a plugin, and warns once for each", async () => {
  const given = await warningsOf(() => {
    for (let i = 0; i < 2; i++) {
      const { lossScaling, modules } = new Trainer({ ...QUIET, plugins: new Former() }).precision.explain({
        print: false,
      });
      assert.deepEqual([lossScaling, modules], ["by hand", [["head", "float64"]]]);
    }
  });
  assert.deepEqual(given, [
    {
      code: "WARN_FORMER_NAME",
      message:
        "Former: lossScaling is called lossScaling of describe() now, and is read under its former name in this version only.",
    },
    {
      code: "WARN_FORMER_NAME",
      message:
        "Former: modulePrecisions is called modules of describe() now, and is read under its former name in this version only.",
    },
  ]);
});

class Net extends LightningModule {
  readonly layer = new nn.Linear(2, 1);
  constructor(readonly factor: number) {
    super();
  }
  override trainingStep(x: Tensor): Tensor {
    return this.layer.forward(x).sum().mul(this.factor);
  }
  override configureOptimizers(): optim.Optimizer {
    return new optim.SGD(this.parameters(), { lr: 0.1 });
  }
}
const fit = async (plugin: FullPrecision, factor: number): Promise<void> => {
  const trainer = new Trainer({ ...QUIET, maxSteps: 2, logEveryNSteps: 1, plugins: plugin });
  await trainer.fit(new Net(factor), { trainDataloaders: [ones([1, 2]), ones([1, 2])] });
};

test("a fit calls checkOutcome of a plugin after its steps, and warns", async () => {
  const dues: boolean[] = [];
  class Checked extends FullPrecision {
    checkOutcome(due: boolean): void {
      dues.push(due);
    }
  }
  const warnings = await warningsOf(() => fit(new Checked(), 1));
  assert.deepEqual(dues, [true, true]);
  assert.ok(warnings.some(({ message }) => message.startsWith("Checked: checkOutcome is called scaling.checkOutcome")));
});

test("a plugin with a lossScale of its own skips what overflows, as it says: a NaN loss with NaN gradients goes on", async () => {
  class Scaled extends FullPrecision {
    override get lossScale(): number {
      return 128;
    }
  }
  await fit(new Scaled(), NaN);
  await assert.rejects(fit(new FullPrecision(), NaN), { code: "ERR_NON_FINITE" });
});
