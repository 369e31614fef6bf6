/** A precision for each part of a model. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { precisionFor, seedEverything, Trainer, type ModulePrecisions, type PrecisionInput } from "@nbit/lightning";
import { nn, ones, setNumThreads, type Tensor } from "@nbit/torch";
import { OPTIONS, Net, BATCHES, seen } from "./probed-net.js";

setNumThreads(1);

async function run(
  rules: ModulePrecisions,
  base?: Exclude<PrecisionInput, "auto">,
): Promise<{ model: Net; trainer: Trainer }> {
  seen.clear();
  seedEverything(1);
  const model = new Net();
  const trainer = new Trainer({ ...OPTIONS, plugins: precisionFor(rules, base === undefined ? {} : { base }) });
  await trainer.fit(model, { trainDataloaders: BATCHES });
  assert.equal(trainer.globalStep, 3);
  return { model, trainer };
}

test("with a mixed-precision backbone and a float32 head tensors are cast between them, and explain lists both", async () => {
  const { model, trainer } = await run({ head: "32-true", "backbone.*": "bf16" });
  assert.deepEqual(Object.fromEntries(seen), {
    "backbone.0": "float32 bfloat16",
    "backbone.1": "float32 bfloat16",
    head: "float32 float32",
    out: "float32",
  });
  for (const p of model.parameters()) assert.equal(p.dtype, "float32");
  const explanation = trainer.precision.explain({ print: false });
  assert.deepEqual(explanation.modules, [
    ["backbone.0", "bf16-mixed"],
    ["backbone.1", "bf16-mixed"],
    ["head", "32-true"],
  ]);
  assert.match(
    explanation.toString(),
    /modules {2,}backbone\.0: bf16-mixed\n {2,}backbone\.1: bf16-mixed\n {2,}head: 32-true/,
  );
});

test("a true 16-bit backbone has 16-bit weights, inputs and outputs, and the most specific pattern wins", async () => {
  const { model, trainer } = await run({ backbone: "bf16-true", "**.norm": "32-true", "backbone.1": "64" });
  assert.equal(model.backbone.parameters()[0]?.dtype, "bfloat16");
  assert.equal(model.getParameter("backbone.0.norm.weight").dtype, "float32");
  assert.equal(model.getParameter("backbone.1.fc.weight").dtype, "float64");
  assert.equal(model.getParameter("backbone.1.norm.weight").dtype, "float32");
  assert.deepEqual(Object.fromEntries(seen), {
    "backbone.0": "bfloat16 bfloat16",
    "backbone.1": "float64 float64",
    head: "float32 float32",
    out: "float32",
  });
  for (const p of model.parameters()) assert.ok(p.detach().isfinite().all().item());
  assert.equal(
    trainer.precision.explain({ print: false }).memory?.parameters,
    model.parameters().reduce((n, p) => n + p.nbytes, 0),
  );
  assert.equal(model.forward(ones([2, 4])).dtype, "float32", "also outside the Trainer");
});

test("a module stays float32 under autocast, and a head in bf16-true", async () => {
  await run({ head: 32 }, "bf16");
  assert.deepEqual(Object.fromEntries(seen), {
    "backbone.0": "float32 bfloat16",
    "backbone.1": "bfloat16 bfloat16",
    head: "float32 float32",
    out: "float32",
  });
  const { model } = await run({ head: "32" }, "bf16-true");
  assert.equal(model.head.fc.weight.dtype, "float32");
  assert.equal(seen.get("head"), "float32 float32");
  assert.equal(seen.get("out"), "bfloat16");
});

test("one float16 module brings a loss scaler for the whole loss", async () => {
  const { trainer } = await run({ backbone: 16 });
  assert.equal(seen.get("backbone.0"), "float32 float16");
  assert.equal(trainer.lossScale, 65536 / 2 ** trainer.skippedSteps);
  assert.match(trainer.precision.explain({ print: false }).toString(), /loss scaling {2,}dynamic, now \d+/);
});

test("another Trainer starts over, and an equal run gives equal weights", async () => {
  const { model } = await run({ backbone: "bf16-true" });
  const again = await run({ backbone: "bf16-true" });
  for (const [name, t] of model.stateDict()) assert.ok(t.equal(again.model.stateDict().get(name) as Tensor), name);
  const trainer = new Trainer({ ...OPTIONS, plugins: precisionFor({ head: "64-true" }) });
  await trainer.fit(model, { trainDataloaders: BATCHES });
  assert.equal(model.head.fc.weight.dtype, "float64");
  assert.equal(model.getParameter("backbone.0.fc.weight").dtype, "float32");
});

test("wrong rules are refused as soon as they can be checked", async () => {
  const code = "ERR_PRECISION_PATTERN";
  assert.throws(() => precisionFor({}), { code });
  assert.throws(() => precisionFor({ head: 8 as 16 }), { code: "ERR_PRECISION_UNKNOWN" });
  assert.throws(() => precisionFor({ head: "float8" }), { code });
  assert.throws(() => precisionFor({ head: "16-true" }, { base: 16 }), {
    code,
    message: /A loss scaler cannot take float16 gradients/,
  });
  const rejects = (rules: ModulePrecisions, message: RegExp): Promise<void> =>
    assert.rejects(run(rules), { code, message });
  await rejects(
    { haed: "32" },
    /^precisionFor: expected patterns that match modules \(backbone, backbone\.0, .*\)\. Received: "haed"\. `\*` stands for one part of a dotted name, `\*\*` for any number\.$/,
  );
  await rejects(
    { "backbone.*": "bf16", "*.0": "64" },
    /Received: backbone\.\* and \*\.0 for backbone\.0\. Name the module itself\./,
  );
  class Shared extends nn.Module {
    constructor(readonly weight: nn.Parameter) {
      super();
    }
    forward(x: Tensor): Tensor {
      return x.mm(this.weight);
    }
  }
  class Tied extends Net {
    readonly tied = new Shared(this.head.fc.weight);
  }
  const net = new Tied();
  const trainer = new Trainer({ ...OPTIONS, plugins: precisionFor({ backbone: "bf16-true", tied: "bf16-true" }) });
  await assert.rejects(trainer.fit(net, { trainDataloaders: BATCHES }), {
    code,
    message:
      /a weight that is shared to be held in one dtype\. Received: head\.fc\.weight in float32, which is tied\.weight in bfloat16/,
  });
  assert.ok(
    [...net.parameters()].every((p) => p.dtype === "float32"),
    "nothing has changed",
  );
});
