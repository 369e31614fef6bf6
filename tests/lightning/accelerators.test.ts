/** What a Trainer runs on. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { LightningModule, registerAccelerator, type Trainer } from "@nbit/lightning";
import type { Accelerator } from "@nbit/lightning";
import { device, nn, ones, optim } from "@nbit/torch";
import type { Tensor } from "@nbit/torch";
import { warningsOf } from "../helpers/training.js";
import { make, fails } from "./make-trainer.js";

test("accelerators and devices are checked; others may be registered", () => {
  fails(
    { accelerator: "ipu" },
    "ERR_ACCELERATOR_UNKNOWN",
    'Trainer: expected accelerator to be one of "auto", "cpu", "cuda", "gpu", "tpu", "xla", or an Accelerator. Received: "ipu". Add others with registerAccelerator(name, create).',
  );
  fails(
    { devices: 0 },
    "ERR_DEVICES",
    /devices to be "auto", -1, a count ≥ 1 or a list of indices\. Received: 0\. 0 is a count, of no device; the first device is devices: \[0\] or "0,"\.$/,
  );
  fails({ devices: "0" }, "ERR_DEVICES", /Received: "0"\. 0 is a count/);
  fails({ devices: "0;1" }, "ERR_DEVICES", /Received: "0;1"\./);
  fails({ devices: "1," }, "ERR_DEVICES", /within the 1 of accelerator "cpu"/);
  for (const devices of ["auto", "1", "0,", "-1"]) assert.equal(make({ devices }).rootDevice.toString(), "cpu");
  fails(
    { devices: 2, strategy: "single_device" },
    "ERR_DEVICES",
    /one device with strategy "single_device"\. Received: 2\./,
  );
  assert.equal(make({ devices: 2 }).strategy.name, "ddp");
  fails({ devices: [1] }, "ERR_DEVICES", /within the 1 of accelerator "cpu"/);
});

test("the Trainer trains on an accelerator of a third party", async () => {
  const abacus: Accelerator = {
    name: "abacus",
    missing: () => null,
    deviceCount: () => 2,
    device: () => device("cpu"),
    support: () => ({ float16: false, bfloat16: true, float8: false, description: "beads" }),
    mapPrecision: (name) =>
      name === "16-mixed" ? { name: "bf16-mixed", warning: "an abacus counts in bfloat16" } : { name },
  };
  registerAccelerator("abacus", () => abacus);

  let trainer: Trainer | undefined;
  const warnings = await warningsOf(
    () =>
      void (trainer = make({
        accelerator: "abacus",
        devices: [1],
        precision: 16,
        maxEpochs: 1,
        enableCheckpointing: false,
        enableProgressBar: false,
        enableModelSummary: false,
      })),
  );
  assert.ok(trainer !== undefined);
  assert.deepEqual(warnings, [{ code: "WARN_PRECISION_MAPPED", message: "an abacus counts in bfloat16" }]);
  const explanation = trainer.precision.explain({ print: false });
  assert.equal(explanation.name, "bf16-mixed");
  assert.deepEqual(explanation.reasons, ["abacus has no 16-mixed"]);
  assert.match(
    explanation.toString(),
    /^asked +16\nruns +bf16-mixed \(MixedPrecision\)\nbecause +abacus has no 16-mixed\ndevice +abacus: beads\n/,
  );

  const seen: string[] = [];
  class Net extends LightningModule {
    readonly layer = new nn.Linear(4, 2);
    override trainingStep(batch: Tensor): Tensor {
      const out = this.layer.forward(batch);
      seen.push(out.dtype);
      return out.float().square().mean();
    }
    override configureOptimizers(): optim.Optimizer {
      return new optim.SGD(this.parameters(), { lr: 0.1 });
    }
  }
  await trainer.fit(new Net(), { trainDataloaders: [ones([2, 4])] });
  assert.deepEqual(seen, ["bfloat16"]);
  fails({ accelerator: "abacus", devices: [2] }, "ERR_DEVICES", /within the 2 of accelerator "abacus"/);
});
