/** One batch over several devices: those of the plugin for CPUs, which has as many as are asked for. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { Trainer } from "@nbit/lightning";
import { optim, randn, randint } from "@nbit/torch";
import { SILENT } from "../helpers/training.js";
import { CERTAIN_KINDS, Classifier, KINDS, type Batch, type Kind } from "../replay/models.js";
import { needsPlugin, train, updateError, worstLossError, type Given } from "./train.js";

const of = (kind: Kind) => (): Given => ({
  module: new Classifier(kind, (p) => new optim.SGD(p, { lr: 0.05, momentum: 0.9 })),
  batches: Array.from({ length: 6 }, kind.batch),
});

for (const name of ["mlp", "cnn", "transformer"])
  for (const strategy of ["auto", "fsdp"])
    test(`${name} on four devices, strategy ${strategy}: as on one`, needsPlugin, async () => {
      const make = of(CERTAIN_KINDS[name] as Kind);
      const one = await train(make, { accelerator: "xla", gradientClipVal: 0.5 });
      const four = await train(make, { accelerator: "xla", devices: 4, strategy, gradientClipVal: 0.5 });
      assert.equal(four.trainer.replayedBatches, 5);
      assert.ok(worstLossError(four, one) <= 1e-5, `losses differ by ${worstLossError(four, one)}`);
      assert.ok(updateError(four, one) <= 1e-4, `updates differ by ${updateError(four, one)}`);
    });

test("dropout draws the same on four devices as on one", needsPlugin, async () => {
  const make = of(KINDS["mlp"] as Kind);
  const one = await train(make, { accelerator: "xla" });
  const four = await train(make, { accelerator: "xla", devices: 4 });
  assert.ok(worstLossError(four, one) <= 1e-5, `losses differ by ${worstLossError(four, one)}`);
});

test("a batch that does not divide is named, and all devices may be asked for", needsPlugin, async () => {
  const kind = CERTAIN_KINDS["mlp"] as Kind;
  const make = (): Given => ({
    module: new Classifier(kind, (p) => new optim.SGD(p, { lr: 0.05 })),
    batches: Array.from({ length: 4 }, (): Batch => [randn([6, 12]), randint(0, 5, [6])]),
  });
  await assert.rejects(train(make, { accelerator: "xla", devices: 4 }), { code: "XLA_SHARDING" });
  await assert.doesNotReject(train(make, { accelerator: "xla", devices: -1 }));
  assert.throws(() => new Trainer({ ...SILENT, accelerator: "xla", devices: 0 }), { code: "ERR_DEVICES" });
});
