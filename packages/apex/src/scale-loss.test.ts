import assert from "node:assert/strict";
import { test } from "node:test";
import { memory, nn, optim, randn, scope, seedEverything, setNumThreads, type Tensor, tensor } from "@nbit/torch";
import { ampOf, initialize, type OptLevel } from "./index.js";

setNumThreads(1); // tiny tensors

const LEVELS: readonly OptLevel[] = ["O0", "O1", "O2", "O3"];
const X = tensor([[1, 2, 2.5, 3]]);

function make(
  optLevel: OptLevel,
  numLosses = 1,
  lossScale: number | string = 1024,
): { net: nn.Linear; optimizer: optim.SGD; amp: ReturnType<typeof initialize>; grad: () => unknown } {
  const net = new nn.Linear(4, 1, { bias: false });
  nn.init.ones_(net.weight);
  const optimizer = new optim.SGD(net.parameters(), { lr: 0.5 });
  const amp = initialize(net, optimizer, { optLevel, numLosses, lossScale });
  return { net, optimizer, amp, grad: () => amp.masterParams(optimizer)[0]?.grad?.tolist() };
}
const backward = (scaled: Tensor): void => scaled.backward();
const lossOf = (net: nn.Linear): Tensor => net.forward(X).sum();

for (const level of LEVELS) {
  test(`${level}: delayUnscale leaves gradients scaled; the last backward unscales all of them, whatever came before`, () => {
    const { net, optimizer, amp, grad } = make(level);
    amp.scaleLoss(lossOf(net), optimizer, backward); // true
    assert.deepEqual(grad(), [[1, 2, 2.5, 3]]);
    amp.scaleLoss(lossOf(net), optimizer, backward, { delayUnscale: true });
    assert.equal(net.weight.grad?.min().item(), 1024);
    assert.throws(() => optimizer.step(), { code: "APEX_MISUSE", message: /gradients that are still scaled/ });
    amp.scaleLoss(lossOf(net), optimizer, backward, { delayUnscale: true });
    amp.scaleLoss(lossOf(net), optimizer, backward);
    assert.deepEqual(grad(), [[4, 8, 10, 12]]);
    optimizer.step();
    assert.deepEqual(amp.masterParams(optimizer)[0]?.tolist(), [[-1, -3, -4, -5]]);
    assert.deepEqual(net.weight.tolist(), [[-1, -3, -4, -5]]);
    optimizer.zeroGrad();
    assert.equal(net.weight.grad, null);
    assert.equal(grad(), undefined);
  });

  test(`${level}: a backward that throws leaves unscaled gradients as they were`, () => {
    const { net, optimizer, amp, grad } = make(level);
    amp.scaleLoss(lossOf(net), optimizer, backward);
    assert.throws(
      () =>
        amp.scaleLoss(lossOf(net), optimizer, (scaled) => {
          scaled.backward();
          throw new Error("mine");
        }),
      /mine/,
    );
    assert.deepEqual(grad(), [[1, 2, 2.5, 3]]);
    amp.scaleLoss(lossOf(net), optimizer, backward); // not "inside another"
    assert.deepEqual(grad(), [[2, 4, 5, 6]]);
  });

  test(`${level}: model.zeroGrad() is enough between steps`, () => {
    const { net, optimizer, amp } = make(level);
    for (let i = 0; i < 2; i++) {
      net.zeroGrad();
      amp.scaleLoss(lossOf(net), optimizer, backward);
      optimizer.step();
    }
    assert.deepEqual(net.weight.tolist(), [[0, -1, -1.5, -2]]);
  });
}

test("several optimizers of one loss: an overflow in one skips both", () => {
  const a = new nn.Linear(4, 1, { bias: false });
  const b = new nn.Linear(4, 1, { bias: false });
  const [first, second] = [new optim.SGD(a.parameters(), { lr: 0.5 }), new optim.SGD(b.parameters(), { lr: 0.5 })];
  const amp = initialize([a, b], [first, second], { optLevel: "O2" });
  const before = [a.weight.tolist(), b.weight.tolist()];
  amp.scaleLoss(a.forward(X).sum().add(b.forward(X).sum().mul(1e30)), [first, second], backward);
  assert.deepEqual(
    [first, second].map((o) => amp.willSkip(o)),
    [true, true],
  );
  first.step();
  second.step();
  assert.deepEqual([a.weight.tolist(), b.weight.tolist()], before);
  assert.equal(amp.skippedSteps, 2);
  assert.equal(amp.lossScalers[0]?.lossScale, 32768);
});

test("two losses, two optimizers, each loss with its own scale", () => {
  const a = new nn.Linear(4, 1, { bias: false });
  const b = new nn.Linear(4, 1, { bias: false });
  const [first, second] = [new optim.SGD(a.parameters(), { lr: 1 }), new optim.SGD(b.parameters(), { lr: 1 })];
  const amp = initialize([a, b], [first, second], { optLevel: "O2", numLosses: 2 });
  const [wa, wb] = [a.weight.tolist(), b.weight.tolist()];
  amp.scaleLoss(a.forward(X).sum().mul(0.125), first, backward, { lossId: 0 });
  amp.scaleLoss(b.forward(X).sum().mul(1e30), second, backward, { lossId: 1 });
  first.step();
  second.step();
  assert.notDeepEqual(a.weight.tolist(), wa);
  assert.deepEqual(b.weight.tolist(), wb);
  assert.deepEqual(
    amp.lossScalers.map((s) => s.lossScale),
    [65536, 32768],
  );
  const { net, optimizer, amp: one } = make("O2", 2);
  one.scaleLoss(lossOf(net), optimizer, backward, { delayUnscale: true });
  assert.throws(() => one.scaleLoss(lossOf(net), optimizer, backward, { lossId: 1 }), {
    code: "APEX_MISUSE",
    message:
      "scaleLoss: expected lossId 0, whose gradients are still scaled. Received: lossId 1. Unscale each loss (delayUnscale: false) before the next.",
  });
});

test("a static scale never skips; a dynamic one grows after its window", () => {
  const { net, optimizer, amp } = make("O2", 1, 128);
  amp.scaleLoss(lossOf(net).mul(1e30), optimizer, backward);
  assert.equal(amp.willSkip(optimizer), false);
  assert.equal(amp.lossScalers[0]?.lossScale, 128);
});

test("a parameter group that is added later gets masters too", () => {
  const net = new nn.Sequential(new nn.Linear(4, 4), new nn.Linear(4, 1));
  const [head, tail] = [net.parameters().slice(0, 2), net.parameters().slice(2)];
  const optimizer = new optim.SGD(head, { lr: 0.5 });
  const amp = initialize(net, optimizer, { optLevel: "O2", lossScale: 1024 });
  optimizer.addParamGroup({ params: tail, lr: 0.25 });
  assert.ok(amp.masterParams(optimizer).every((p) => p.dtype === "float32"));
  assert.deepEqual(amp.modelParams(optimizer), [...head, ...tail]);
  const before = tail[0]?.tolist();
  amp.scaleLoss((net.forward(X) as Tensor).sum(), optimizer, backward);
  optimizer.step();
  assert.notDeepEqual(tail[0]?.tolist(), before);
});

test("misuse of scaleLoss and masterParams is an error", () => {
  const { net, optimizer, amp } = make("O2");
  const stranger = new optim.SGD(new nn.Linear(2, 1).parameters(), { lr: 0.1 });
  const misuse = (fn: () => unknown, message: RegExp): void => assert.throws(fn, { code: "APEX_MISUSE", message });
  misuse(
    () => amp.scaleLoss(lossOf(net), stranger, backward),
    /^scaleLoss: expected an optimizer that was given to initialize\. Received: SGD\. Pass all optimizers to initialize\.$/,
  );
  misuse(() => amp.masterParams(stranger), /^masterParams: /);
  misuse(() => amp.unscale(stranger), /^unscale: /);
  misuse(() => amp.skipNext(stranger), /^skipNext: /);
  misuse(
    () => amp.scaleLoss(lossOf(net), optimizer, () => amp.scaleLoss(lossOf(net), optimizer, backward)),
    /scaleLoss inside scaleLoss/,
  );
  misuse(() => optimizer.step(() => lossOf(net)), /step\(closure\)/);
  assert.throws(
    () => amp.scaleLoss(lossOf(net), optimizer, backward, { lossId: 1 }),
    /^ArgumentError: scaleLoss: expected lossId below numLosses \(1\)\. Received: 1\. Pass numLosses to initialize\.$/,
  );
  assert.throws(() => Reflect.apply(amp.scaleLoss, amp, [1, optimizer, backward]), /loss to be a tensor\. Received: 1/);
  assert.throws(() => Reflect.apply(amp.scaleLoss, amp, [lossOf(net), optimizer]), /a function that calls backward/);
  assert.throws(
    () => Reflect.apply(amp.scaleLoss, amp, [lossOf(net), undefined, backward]),
    /optimizers that were given to initialize\. Received: undefined/,
  );
  amp.dispose();
  misuse(() => amp.scaleLoss(lossOf(net), optimizer, backward), /one that was disposed of/);
});

test("the saved state is APEX's with masters added, and a state of APEX itself loads", () => {
  const { net, optimizer, amp } = make("O2", 2, "dynamic");
  amp.scaleLoss(lossOf(net).mul(1e30), optimizer, backward, { lossId: 1 });
  const state = amp.stateDict();
  assert.deepEqual(Object.keys(state), ["loss_scaler0", "loss_scaler1", "masters"]);
  assert.deepEqual(state.loss_scaler1, { loss_scale: 32768, unskipped: 0 });
  assert.deepEqual(make("O1", 1, "dynamic").amp.stateDict(), { loss_scaler0: { loss_scale: 65536, unskipped: 0 } });

  const other = make("O2", 2, "dynamic");
  other.amp.loadStateDict({
    loss_scaler0: { loss_scale: 4096, unskipped: 7 },
    loss_scaler1: { loss_scale: 2, unskipped: 0 },
  });
  assert.deepEqual(
    other.amp.lossScalers.map((s) => [s.lossScale, s.unskipped]),
    [
      [4096, 7],
      [2, 0],
    ],
  );
  assert.throws(
    () => make("O2", 1).amp.loadStateDict(state),
    /expected 1 loss scalers .* Initialize with the numLosses that it was saved with/,
  );
  assert.throws(() => make("O3", 2).amp.loadStateDict(state), /Was it saved at another opt level\?/);
  assert.throws(() => amp.loadStateDict({}), /2 loss scalers/);
});

test("a float32 state dict loads into the masters exactly, and is read from them", () => {
  seedEverything(11);
  const source = new nn.Linear(4, 1, { bias: false });
  const { net, optimizer, amp } = make("O2");
  net.loadStateDict(source.stateDict());
  assert.deepEqual(amp.masterParams(optimizer)[0]?.tolist(), source.weight.tolist());
  assert.deepEqual(net.weight.tolist(), source.weight.half().tolist());
  assert.deepEqual(net.stateDict().get("weight")?.tolist(), source.weight.tolist());
  optimizer.step(); // no gradients: nothing changes
  assert.deepEqual(net.weight.tolist(), source.weight.half().tolist());
});

test("dispose gives float32 models and optimizers back, with the masters' values and their state", () => {
  seedEverything(12);
  const net = new nn.Linear(4, 2);
  const optimizer = new optim.AdamW(net.parameters(), { lr: 1e-3 });
  const amp = initialize(net, optimizer, { optLevel: "O2" });
  assert.equal(ampOf(net), amp);
  for (let i = 0; i < 3; i++) {
    optimizer.zeroGrad();
    amp.scaleLoss(
      net
        .forward(randn([8, 4]))
        .square()
        .mean(),
      optimizer,
      backward,
    );
    optimizer.step();
  }
  const masters = amp.masterParams(optimizer).map((p) => p.tolist());
  amp.dispose();
  amp.dispose();
  assert.equal(ampOf(net), null);
  assert.deepEqual(
    net.parameters().map((p) => [p.dtype, p.tolist()]),
    masters.map((m) => ["float32", m]),
  );
  assert.deepEqual(optimizer.paramGroups[0]?.params, net.parameters());
  assert.equal(optimizer.state.get(net.weight)?.["step"] instanceof Object, true);
  net
    .forward(randn([8, 4]))
    .square()
    .mean()
    .backward();
  optimizer.step();
  assert.notDeepEqual(net.weight.tolist(), masters[0]);
});

test("delayed steps leave no tensors behind", async () => {
  const { net, optimizer, amp } = make("O2");
  const step = (): void =>
    scope(() => {
      optimizer.zeroGrad();
      amp.scaleLoss(lossOf(net), optimizer, backward, { delayUnscale: true });
      amp.scaleLoss(lossOf(net), optimizer, backward);
      amp.scaleLoss(lossOf(net), optimizer, backward);
      optimizer.step();
    });
  step();
  const before = memory().unreleased;
  for (let i = 0; i < 4; i++) step();
  assert.equal(memory().unreleased, before);
});
