/** What each opt level does to models, and that it trains. */
import assert from "node:assert/strict";
import { test } from "node:test";
import {
  initialize,
  OPT_LEVELS,
  registerFloatFunction,
  registerHalfFunction,
  resolveOptLevel,
  type OptLevel,
} from "@nbit/apex";
import { LightningModule, Trainer } from "@nbit/lightning";
import {
  amp,
  DataLoader,
  keep,
  nn,
  optim,
  randint,
  randn,
  seedEverything,
  type Tensor,
  tensor,
  TensorDataset,
} from "@nbit/torch";
import { QUIET } from "../helpers/training.js";
import { Net } from "./net.js";

const { functional } = nn;
const dtypes = (m: nn.Module): Record<string, string> =>
  Object.fromEntries([...m.stateDict()].filter(([k]) => !k.includes("num_batches")).map(([k, t]) => [k, t.dtype]));

test("the levels have APEX's properties", () => {
  const table = (level: OptLevel): unknown[] => {
    const p = resolveOptLevel(level);
    return [p.castModelType, p.patchTorchFunctions, p.keepBatchnormFp32, p.masterWeights, p.lossScale];
  };
  assert.deepEqual(table("O0"), ["float32", false, null, false, 1]);
  assert.deepEqual(table("O1"), [null, true, null, null, "dynamic"]);
  assert.deepEqual(table("O2"), ["float16", false, true, true, "dynamic"]);
  assert.deepEqual(table("O3"), ["float16", false, false, false, 1]);
  assert.ok(Object.isFrozen(OPT_LEVELS) && Object.isFrozen(OPT_LEVELS.O2));
  assert.equal(resolveOptLevel("O2", { lossScale: "128" }).lossScale, 128);
  assert.equal(resolveOptLevel("O3", { keepBatchnormFp32: "True" }).keepBatchnormFp32, true);
  assert.equal(resolveOptLevel("O2", { masterWeights: false }).masterWeights, false);
  assert.equal(resolveOptLevel("O1", { castModelType: "float32" }).castModelType, null);
});

test("overrides that contradict a level are refused", () => {
  assert.throws(
    () => resolveOptLevel("02"),
    /optLevel to be one of O0, O1, O2, O3\. Received: "02"\. The letter O, not a zero\./,
  );
  assert.throws(() => resolveOptLevel("O1", { castModelType: "float16" }), /no castModelType with O1/);
  assert.throws(() => resolveOptLevel("O1", { keepBatchnormFp32: true }), /no keepBatchnormFp32 with O1/);
  assert.throws(() => resolveOptLevel("O1", { masterWeights: true }), /no masterWeights with O1/);
  for (const level of ["O0", "O2", "O3"])
    assert.throws(() => resolveOptLevel(level, { patchTorchFunctions: true }), /only with O1/);
  for (const lossScale of ["fast", 0, -1, NaN, Infinity, ""])
    assert.throws(() => resolveOptLevel("O2", { lossScale }), /lossScale to be a number > 0/);
});

test("O0 leaves everything in float32", () => {
  const net = new Net();
  const a = initialize(net, new optim.SGD(net.parameters(), { lr: 0.1 }), { optLevel: "O0" });
  net.forward(randn([4, 8]));
  assert.deepEqual(net.seen, ["float32", "float32", "float32", "float32"]);
  assert.equal(a.lossScalers[0]?.lossScale, 1);
});

test("O1 casts around operators by its own lists", () => {
  const net = new Net();
  const a = initialize(net, new optim.SGD(net.parameters(), { lr: 0.1 }), { optLevel: "O1" });
  const out = net.forward(randn([4, 8]));
  assert.deepEqual(net.seen, ["float32", "float16", "float32", "float16"]);
  assert.equal(out.dtype, "float16");
  assert.ok(Object.values(dtypes(net)).every((d) => d === "float32"));
  const h = randn([2, 2]).half();
  assert.equal(
    a.run(() => functional.crossEntropy(out, randint(4, [4])).dtype),
    "float32",
  );
  assert.equal(
    a.run(() => h.softmax(0).dtype),
    "float32",
  );
  assert.equal(
    a.run(() => h.add(randn([2, 2])).dtype),
    "float32",
  );
  assert.equal(
    a.run(() => h.tanh().dtype),
    "float16",
  );
  assert.equal(
    a.run(() => randn([2, 2]).prelu(tensor([0.25])).dtype),
    "float16",
  );
  assert.equal(
    amp.autocast({ dtype: "float16" }, () => h.softmax(0).dtype),
    "float16",
  );
  a.dispose();
  assert.equal(net.forward(randn([4, 8])).dtype, "float32");
});

test("O2: float16 model, float32 BatchNorm, inputs and outputs cast, float32 masters and state dict", () => {
  const net = new Net();
  const before = new Map([...net.stateDict()].map(([k, t]) => [k, t.clone()]));
  const optimizer = new optim.SGD(net.parameters(), { lr: 0.1 });
  const a = initialize(net, optimizer, { optLevel: "O2" });
  assert.equal(net.fc1.weight.dtype, "float16");
  assert.equal(net.bn.weight?.dtype, "float32");
  assert.equal(net.bn.runningMean?.dtype, "float32");
  const out = net.forward(randn([4, 8]));
  assert.equal(net.seen[0], "float16");
  assert.equal(out.dtype, "float32");
  assert.ok(a.masterParams(optimizer).every((p) => p.dtype === "float32"));
  const state = net.stateDict();
  assert.ok([...state.values()].every((t) => t.dtype !== "float16"));
  for (const [k, t] of state) if (k.endsWith("weight")) assert.deepEqual(t.tolist(), before.get(k)?.tolist(), k);
  assert.throws(() => initialize(net, new optim.SGD(net.parameters(), { lr: 1 })), { code: "APEX_MISUSE" });
});

test("O3: everything in float16, also BatchNorm", () => {
  const net = new Net();
  const optimizer = new optim.SGD(net.parameters(), { lr: 0.1 });
  const a = initialize(net, optimizer, { optLevel: "O3" });
  assert.ok(Object.values(dtypes(net)).every((d) => d === "float16"));
  assert.ok(a.masterParams(optimizer).every((p) => p.dtype === "float16"));
  assert.equal(net.forward(randn([4, 8])).dtype, "float32");
});

test("registered functions join O1's lists", () => {
  registerFloatFunction("tanh");
  registerHalfFunction("sigmoid");
  const net = new nn.Linear(2, 2);
  const a = initialize(net, [], { optLevel: "O1" });
  assert.equal(
    a.run(() => randn([2]).half().tanh().dtype),
    "float32",
  );
  assert.equal(
    a.run(() => randn([2]).sigmoid().dtype),
    "float16",
  );
  a.dispose();
});

class Classifier extends LightningModule {
  readonly net = new Net();
  readonly losses: number[] = [];
  override trainingStep(batch: unknown): Tensor {
    const [x, y] = batch as readonly [Tensor, Tensor];
    const loss = functional.crossEntropy(this.net.forward(x), y);
    assert.equal(loss.dtype, "float32");
    this.losses.push(loss.item());
    return loss;
  }
  constructor(readonly plain: boolean) {
    super();
  }
  override configureOptimizers(): optim.Optimizer {
    return this.plain
      ? new optim.SGD(this.parameters(), { lr: 0.1 })
      : new optim.AdamW(this.parameters(), { lr: 2e-2 });
  }
}
async function fit(ampLevel: OptLevel, accumulateGradBatches = 1, plain = false): Promise<number[]> {
  seedEverything(0);
  const x = randn([128, 8]);
  const y = x.matmul(randn([8, 4])).argmax(1);
  const data = new DataLoader(new TensorDataset(keep(x), keep(y)), { batchSize: 32 });
  const model = new Classifier(plain);
  const trainer = new Trainer({
    ...QUIET,
    precision: 16,
    ampBackend: "apex",
    ampLevel,
    maxEpochs: 10,
    accumulateGradBatches,
    gradientClipVal: 5,
  });
  await trainer.fit(model, { trainDataloaders: data });
  assert.equal(trainer.precision.dtypes.compute, ampLevel === "O0" ? "float32" : "float16");
  assert.match(trainer.precision.explain({ print: false }).toString(), /ApexPrecision/);
  return model.losses;
}

test("each level trains through the Trainer; O0 to O2 reach the loss of O0", async () => {
  const end = (losses: number[]): number => losses.slice(-4).reduce((a, b) => a + b, 0) / 4;
  const full = end(await fit("O0"));
  assert.ok(full < 0.5, `O0 learns: ${full}`);
  for (const level of ["O1", "O2"] as const) {
    const loss = end(await fit(level));
    assert.ok(Math.abs(loss - full) < 0.1, `${level}: ${loss}, O0: ${full}`);
  }
  // What O3 loses: Adam's eps of 1e-8 is 0 in float16, and a step divides by zero, which ends the run. Plain SGD
  // learns, in float16 steps.
  await assert.rejects(fit("O3"), { code: "ERR_NON_FINITE" });
  const [first = 0, ...rest] = await fit("O3", 1, true);
  assert.ok(end(rest) < first);
  assert.ok(end(await fit("O2", 2)) < 0.8);
});
