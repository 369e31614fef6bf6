import assert from "node:assert/strict";
import { test } from "node:test";
import {
  initialize,
  LossScaler,
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
  memory,
  nn,
  optim,
  randint,
  randn,
  relu,
  scope,
  seedEverything,
  type Tensor,
  tensor,
  TensorDataset,
} from "@nbit/torch";
import { QUIET } from "../helpers/training.js";

const { functional } = nn;

class Net extends nn.Module {
  readonly fc1 = new nn.Linear(8, 16);
  readonly bn = new nn.BatchNorm1d(16);
  readonly fc2 = new nn.Linear(16, 4);
  seen: string[] = [];
  forward(x: Tensor): Tensor {
    const a = this.fc1.forward(x);
    const b = this.bn.forward(a);
    const c = this.fc2.forward(relu(b));
    this.seen = [x.dtype, a.dtype, b.dtype, c.dtype];
    return c;
  }
}
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

test("float32 masters keep updates that float16 weights would round away", () => {
  const run = (optLevel: OptLevel): number => {
    const net = new nn.Linear(1, 1, { bias: false });
    nn.init.ones_(net.weight);
    const optimizer = new optim.SGD(net.parameters(), { lr: 1 });
    const a = initialize(net, optimizer, { optLevel, lossScale: 1 });
    for (let i = 0; i < 10; i++) {
      optimizer.zeroGrad();
      a.scaleLoss(net.forward(tensor([[1e-4]])).sum(), optimizer, (s) => s.backward());
      optimizer.step();
    }
    return net.weight.item();
  };
  assert.equal(run("O3"), 1);
  assert.ok(Math.abs(run("O2") - (1 - 1e-3)) < 1e-3 && run("O2") < 1);
});

test("an overflow skips the step, halves the scale, and leaves weights and state", () => {
  const net = new Net();
  const optimizer = new optim.AdamW(net.parameters(), { lr: 0.1 });
  const a = initialize(net, optimizer, { optLevel: "O2" });
  const weights = (): string => JSON.stringify(a.masterParams(optimizer).map((p) => p.tolist()));
  const first = weights();
  const step = (factor: number): void => {
    optimizer.zeroGrad();
    a.scaleLoss(
      net
        .forward(randn([4, 8]))
        .sum()
        .mul(factor),
      optimizer,
      (s) => s.backward(),
    );
    optimizer.step();
  };
  step(1e6);
  assert.equal(weights(), first);
  assert.equal(optimizer.state.size, 0);
  assert.equal(a.lossScalers[0]?.lossScale, 32768);
  assert.equal(a.skippedSteps, 1);
  step(1e-3);
  assert.notEqual(weights(), first);
});

test("the loss scaler grows after its window, stays within its limits, and can be static", () => {
  const s = new LossScaler("dynamic", { scaleWindow: 2, minLossScale: 2 ** 15, maxLossScale: 2 ** 17 });
  assert.equal(s.lossScale, 65536);
  const trace = [false, false, false, false, true, true, true, false, false].map((overflow) => [
    s.update(overflow),
    s.lossScale,
  ]);
  assert.deepEqual(trace, [
    [false, 65536],
    [false, 131072],
    [false, 131072],
    [false, 131072],
    [true, 65536],
    [true, 32768],
    [true, 32768],
    [false, 32768],
    [false, 65536],
  ]);
  assert.equal(new LossScaler("dynamic", { maxLossScale: 1024 }).lossScale, 1024);
  const falling = new LossScaler("dynamic");
  for (let i = 0; i < 1200; i++) falling.update(true);
  assert.ok(falling.lossScale > 0);
  new LossScaler("dynamic").loadStateDict({ ...falling.stateDict() });
  const fixed = new LossScaler(128);
  assert.equal(fixed.update(true), false);
  assert.equal(fixed.lossScale, 128);
});

test("several losses have their own scales; gradients of several backward passes add up", () => {
  const net = new nn.Linear(4, 1);
  const optimizer = new optim.SGD(net.parameters(), { lr: 0.1 });
  const a = initialize(net, optimizer, { optLevel: "O2", numLosses: 2 });
  const x = tensor([[1, 2, 2.5, 3]]);
  a.scaleLoss(net.forward(x).sum().mul(0.25), optimizer, (s) => s.backward(), { lossId: 0 });
  a.scaleLoss(net.forward(x).sum().mul(0.25), optimizer, (s) => s.backward(), { lossId: 1 });
  assert.deepEqual(a.masterParams(optimizer)[0]?.grad?.tolist(), [[0.5, 1, 1.25, 1.5]]);
  a.scaleLoss(net.forward(x).sum().mul(1e30), optimizer, (s) => s.backward(), { lossId: 1 });
  assert.deepEqual(
    a.lossScalers.map((s) => s.lossScale),
    [65536, 32768],
  );
  assert.throws(() => a.scaleLoss(x, optimizer, () => undefined, { lossId: 2 }), /lossId below numLosses/);
});

test("misuse of initialize and scaleLoss is an error", () => {
  const net = new nn.Linear(2, 1);
  const optimizer = new optim.SGD(net.parameters(), { lr: 0.1 });
  const other = new optim.SGD(new nn.Linear(2, 1).parameters(), { lr: 0.1 });
  const a = initialize(net, optimizer, { optLevel: "O2" });
  const loss = (): Tensor => net.forward(tensor([[1, 2]])).sum();
  assert.throws(() => a.scaleLoss(loss(), other, (s) => s.backward()), { code: "APEX_MISUSE" });
  assert.throws(() => a.masterParams(other), { code: "APEX_MISUSE" });
  assert.throws(() => a.scaleLoss(loss(), optimizer, () => a.scaleLoss(loss(), optimizer, (s) => s.backward())), {
    code: "APEX_MISUSE",
  });
  assert.throws(() => optimizer.step(() => loss()), { code: "APEX_MISUSE" });
  assert.throws(() => initialize(new nn.Linear(2, 1).half()), { code: "APEX_MISUSE" });
  assert.throws(() => registerHalfFunction("no_such"), /name of an operator/);
});

test("a parameter that was put into a group by hand is refused, where it would be stepped with scaled gradients", () => {
  for (const optLevel of ["O0", "O1", "O2", "O3"] as const) {
    const net = new nn.Linear(2, 2);
    const optimizer = new optim.SGD(net.parameters(), { lr: 0.125, momentum: 0.5 });
    using handle = initialize(net, optimizer, { optLevel });
    const other = new nn.Parameter(tensor([1, 2]));
    const step = (): void => {
      optimizer.zeroGrad();
      handle.scaleLoss(
        handle.run(() =>
          net
            .forward(tensor([[1, 2]]))
            .float()
            .sum()
            .add(other.sum()),
        ),
        optimizer,
        (scaled) => void scaled.backward(),
      );
      optimizer.step();
    };
    step();
    const group = optimizer.paramGroups[0] as optim.ParamGroup;
    const [first] = group.params;
    group.params[0] = other;
    assert.throws(step, {
      code: "APEX_MISUSE",
      message: /parameters that initialize and addParamGroup were given\. Received: another one in a group of SGD/,
    });
    assert.deepEqual(other.tolist(), [1, 2]);
    group.params[0] = first as Tensor;
    optimizer.addParamGroup({ params: [new nn.Parameter(tensor([3]))] });
    step();
  }
});

test("weights of an O2 model under earlier names reach the masters", () => {
  class Capital extends nn.Module {
    readonly OutNorm = new nn.LayerNorm([2]);
    readonly fc = new nn.Linear(2, 2);
    forward(x: Tensor): Tensor {
      return this.OutNorm.forward(this.fc.forward(x));
    }
  }
  const net = new Capital();
  using handle = initialize(net, new optim.SGD(net.parameters(), { lr: 0.1 }), { optLevel: "O2" });
  net.loadStateDict(
    new Map(
      [...net.stateDict()].map(([name, t]) => [name.replace("OutNorm", "Out_norm"), t.detach().mul(0).add(0.75)]),
    ),
  );
  assert.equal(handle.enabled, true);
  for (const [name, t] of net.stateDict()) assert.ok(t.eq(0.75).all().item(), name);
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

test("state goes through a state dict exactly, masters and scale", () => {
  const make = (): { net: nn.Linear; optimizer: optim.Optimizer; a: ReturnType<typeof initialize> } => {
    seedEverything(5);
    const net = new nn.Linear(8, 4);
    const optimizer = new optim.AdamW(net.parameters(), { lr: 1e-3 });
    return { net, optimizer, a: initialize(net, optimizer, { optLevel: "O2" }) };
  };
  const step = ({ net, optimizer, a }: ReturnType<typeof make>, i: number): void => {
    seedEverything(i);
    optimizer.zeroGrad();
    a.scaleLoss(
      net
        .forward(randn([4, 8]))
        .pow(2)
        .mean(),
      optimizer,
      (s) => s.backward(),
    );
    optimizer.step();
  };
  const through = make();
  for (let i = 0; i < 6; i++) step(through, i);
  const first = make();
  for (let i = 0; i < 3; i++) step(first, i);
  const second = make();
  second.a.loadStateDict(first.a.stateDict());
  second.optimizer.loadStateDict(first.optimizer.stateDict());
  for (let i = 3; i < 6; i++) step(second, i);
  const list = (m: ReturnType<typeof make>): unknown => m.a.masterParams(m.optimizer).map((p) => p.tolist());
  assert.deepEqual(list(second), list(through));
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

test("steps leave no tensors behind", async () => {
  const net = new Net();
  const optimizer = new optim.AdamW(net.parameters(), { lr: 1e-3 });
  const a = initialize(net, optimizer, { optLevel: "O2" });
  const step = (): void =>
    scope(() => {
      optimizer.zeroGrad();
      a.scaleLoss(
        net
          .forward(randn([4, 8]))
          .pow(2)
          .mean(),
        optimizer,
        (s) => s.backward(),
      );
      optimizer.step();
    });
  step();
  step();
  const before = memory().unreleased;
  for (let i = 0; i < 5; i++) step();
  assert.equal(memory().unreleased, before);
});
