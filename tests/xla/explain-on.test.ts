/** Steps that are compiled for chips that need not be there, and what `explain` says after a fit on a device. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { AheadReport, explainOn, MisconfigurationError, Trainer } from "@nbit/lightning";
import { optim } from "@nbit/torch";
import { SILENT } from "../helpers/training.js";
import { CERTAIN_KINDS, Classifier, type Kind } from "../replay/models.js";
import { needsPlugin } from "./train.js";

const mlp = CERTAIN_KINDS["mlp"] as Kind;
const made = (): Classifier => new Classifier(mlp, (p) => new optim.AdamW(p, { lr: 1e-2 }));
const batches = (count: number): unknown[] => Array.from({ length: count }, mlp.batch);

test("a step is compiled for devices of a topology, and nothing of a fit is left", needsPlugin, async () => {
  const module = made();
  const bytes = [...module.stateDict().values()].reduce((sum, t) => sum + t.nbytes, 0);
  const report = await explainOn(module, {
    topology: "cpu:1",
    trainDataloaders: batches(2),
    trainer: { precision: 16, maxEpochs: 1 },
  });
  assert.ok(report instanceof AheadReport);
  assert.deepEqual([report.topology, report.platform, report.devices, report.shardState], ["cpu:1", "cpu", 1, false]);
  assert.deepEqual([report.precision.requested, report.precision.name], ["16", "bf16-mixed"]);
  const [step, second] = report.programs;
  assert.ok(step !== undefined && second === undefined);
  assert.equal(step.what, "step");
  assert.ok(step.kinds.includes("aten::_fused_adamw_.tensor_lr"));
  // Parameters and two moments of each, beside the batch.
  assert.ok((step.memory?.arguments ?? 0) >= 3 * bytes && (step.memory?.arguments ?? 0) < 3 * bytes + 2 ** 16);
  assert.deepEqual(step.collectives, {});
  assert.match(report.toString(), /^step +\d+ operators of \d+ kinds/m);
  const again = await new Trainer({ ...SILENT, accelerator: "cpu", maxEpochs: 1 })
    .fit(module, { trainDataloaders: batches(1) })
    .then(() => true);
  assert.ok(again, "the module trains elsewhere");
});

test("too few batches, options that are none, and a plugin that is not there are refused", needsPlugin, async () => {
  const codeOf = async (options: object): Promise<unknown> =>
    explainOn(made(), { topology: "cpu:1", ...options }).then(
      () => "no error",
      (error: unknown) => (error instanceof MisconfigurationError ? error.code : String(error)),
    );
  assert.equal(await codeOf({ trainDataloaders: [] }), "ERR_TOPOLOGY_BATCHES");
  assert.equal(await codeOf({ trainDataloaders: batches(2), plugin: "/nowhere.so" }), "ERR_TOPOLOGY_PLUGIN");
  assert.match(String(await codeOf({ trainDataloaders: batches(2), chips: 4 })), /expected options among topology/);
  assert.match(String(await codeOf({ topology: 4 })), /topology/);
});

test("after a fit on a device, explain says what its compiled steps take", needsPlugin, async () => {
  const trainer = new Trainer({ ...SILENT, accelerator: "xla", maxEpochs: 1 });
  await trainer.fit(made(), { trainDataloaders: batches(3) });
  const { steps } = trainer.precision.explain({ print: false });
  assert.match(
    steps ?? "",
    /^2 of 3 batches on xla:cpu, the others on the host; \d+ operators, compiled in [\d.]+ s, peak [\d.]+ \wi?B: arguments /,
  );
});
