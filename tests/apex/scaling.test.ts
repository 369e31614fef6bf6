/** Masters and loss scales: what steps, what is skipped, what is saved; misuse. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { initialize, LossScaler, registerHalfFunction, type OptLevel } from "@nbit/apex";
import { memory, nn, optim, randn, scope, seedEverything, type Tensor, tensor } from "@nbit/torch";
import { Net } from "./net.js";

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
