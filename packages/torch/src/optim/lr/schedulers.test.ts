import assert from "node:assert/strict";
import { test } from "node:test";
import { ArgumentError, nn, ones, optim } from "../../index.js";

const sgd = (lr = 1): optim.SGD => new optim.SGD([new nn.Parameter(ones([1]))], { lr });
interface Scheduler {
  step(metric?: number): void;
  stateDict(): Record<string, unknown>;
  loadStateDict(state: Record<string, unknown>): void;
}
const rates = (o: optim.Optimizer): number[] => o.paramGroups.map((g) => g.lr);

/**
 * Learning rates of torch.optim.lr_scheduler of PyTorch 2.13, from 1 on. Several schedules: stepped one after the
 * other.
 */
const PEER: readonly (readonly [name: string, make: (o: optim.Optimizer) => Scheduler[], rates: readonly number[]])[] =
  [
    ["StepLR", (o) => [new optim.StepLR(o, 3, 0.5)], [1, 1, 1, 0.5, 0.5, 0.5, 0.25, 0.25, 0.25]],
    [
      "MultiStepLR",
      (o) => [new optim.MultiStepLR(o, [2, 2, 5], 0.5)],
      [1, 1, 0.25, 0.25, 0.25, 0.125, 0.125, 0.125, 0.125],
    ],
    [
      "ExponentialLR",
      (o) => [new optim.ExponentialLR(o, 0.9)],
      [1, 0.9, 0.81, 0.7290000000000001, 0.6561000000000001, 0.5904900000000002],
    ],
    ["ConstantLR", (o) => [new optim.ConstantLR(o, 0.25, 3)], [0.25, 0.25, 0.25, 1, 1]],
    ["LinearLR", (o) => [new optim.LinearLR(o, 0.25, 0.75, 4)], [0.25, 0.375, 0.5, 0.625, 0.75, 0.75, 0.75]],
    [
      "PolynomialLR",
      (o) => [new optim.PolynomialLR(o, 5, 2)],
      [1, 0.6400000000000001, 0.36, 0.16000000000000003, 0.03999999999999999, 0, 0, 0],
    ],
    [
      "CosineAnnealingLR",
      (o) => [new optim.CosineAnnealingLR(o, 3, 0.125)],
      [1, 0.78125, 0.3437500000000001, 0.125, 0.34374999999999994, 0.7812500000000004, 1.0000000000000004],
    ],
    ["LambdaLR", (o) => [new optim.LambdaLR(o, (step) => 1 / (step + 1))], [1, 0.5, 1 / 3, 0.25, 0.2]],
    [
      "LinearLR, then CosineAnnealingLR",
      (o) => [new optim.LinearLR(o, 0.25, 1, 3), new optim.CosineAnnealingLR(o, 3)],
      [0.25, 0.375, 0.18750000000000008, 0, 0.24999999999999994, 0.7500000000000004],
    ],
    [
      "ConstantLR, then LambdaLR, which begins where all began",
      (o) => [new optim.ConstantLR(o, 0.5, 2), new optim.LambdaLR(o, (step) => 0.5 ** step)],
      [1, 0.5, 0.25, 0.125],
    ],
  ];
for (const [name, make, expected] of PEER) {
  test(`${name}: PyTorch's learning rates, also from a saved state on`, () => {
    const optimizer = sgd();
    const schedules = make(optimizer);
    const seen = rates(optimizer);
    for (let i = 2; i < expected.length; i++) {
      schedules.forEach((s) => s.step());
      seen.push(optimizer.paramGroups[0]?.lr as number);
    }
    const resumed = sgd();
    const others = make(resumed);
    others.forEach((s, i) => s.loadStateDict(schedules[i]?.stateDict() as Record<string, unknown>));
    others.forEach((s) => s.step());
    seen.push(resumed.paramGroups[0]?.lr as number);
    seen.forEach((lr, i) =>
      assert.ok(Math.abs(lr - (expected[i] as number)) < 1e-15, `step ${i}: ${lr} for ${expected[i]}`),
    );
    assert.equal(seen.length, expected.length);
  });
}

/** For each class: what is given after the optimizer. */
const half = (): number => 0.5;
const WRONG: Readonly<Record<string, readonly (readonly unknown[])[]>> = {
  StepLR: [
    [],
    [0],
    [1.5],
    [-1],
    ["2"],
    [NaN],
    [1n],
    [{ stepsize: 2 }],
    [2, "0.1"],
    [2, NaN],
    [2, Infinity],
    [2, -0.5],
    [2, null],
    [2, { gamma: -0.5 }],
    [2, 0.5, { gamma: 0.5 }],
    [2, 0.5, -2],
    [2, 0.5, -1, 1],
  ],
  MultiStepLR: [[], [3], ["12"], [["1"]], [[1.5]], [[-1]], [[NaN]], [new Set([1])], [[1], "x"], [[1], NaN], [[1], -1]],
  ExponentialLR: [[], ["0.9"], [NaN], [Infinity], [-1], [null], [{ gama: 0.9 }], [0.9, 0.5], [0.9, -1, 0]],
  ConstantLR: [["0.5"], [0], [-1], [1.5], [NaN], [null], [0.5, 0], [0.5, 1.5], [0.5, "3"], [0.5, NaN], [0.5, Infinity]],
  LinearLR: [
    ["0.5"],
    [0],
    [1.5],
    [NaN],
    [0.5, "1"],
    [0.5, 1.5],
    [0.5, -1],
    [0.5, NaN],
    [0.5, 1, "3"],
    [0.5, 1, 0],
    [0.5, 1, 2.5],
    [0.5, 1, NaN],
  ],
  PolynomialLR: [["5"], [0], [-1], [2.5], [NaN], [5, "2"], [5, NaN], [5, -1], [5, Infinity]],
  CosineAnnealingLR: [[], ["5"], [0], [2.5], [NaN], [5, "0"], [5, NaN], [5, -1], [5, Infinity]],
  LambdaLR: [
    [],
    [0.5],
    ["x"],
    [[0.5]],
    [[half, half]],
    [[]],
    [() => "x"],
    [() => NaN],
    [() => Infinity],
    [() => undefined],
    [() => 1n],
    [[() => NaN]],
  ],
  ReduceLROnPlateau: [
    [{ mode: "least" }],
    [{ factor: "0.1" }],
    [{ factor: 1 }],
    [{ factor: -1 }],
    [{ factor: NaN }],
    [{ patience: "2" }],
    [{ patience: -1 }],
    [{ patience: 1.5 }],
    [{ patience: NaN }],
    [{ threshold: "x" }],
    [{ threshold: -1 }],
    [{ threshold: Infinity }],
    [{ thresholdMode: "relative" }],
    [{ cooldown: "x" }],
    [{ cooldown: 0.5 }],
    [{ minLr: "x" }],
    [{ minLr: -1 }],
    [{ minLr: [0, 0] }],
    [{ minLr: ["0"] }],
    [{ eps: "x" }],
    [{ eps: NaN }],
    [null],
    ["least"],
    ["min", 1],
    ["min", 0.5, 10, 1e-4, "rel", 0, 0, 1e-8, 1],
  ],
};
for (const [name, all] of Object.entries(WRONG)) {
  test(`${name}: a wrong argument is an ArgumentError of its name, and leaves the optimizer as it was`, () => {
    for (const args of all) {
      const optimizer = sgd();
      const make = (): unknown =>
        Reflect.construct(Reflect.get(optim, name) as new () => unknown, [optimizer, ...args]);
      assert.throws(
        make,
        (error) => error instanceof ArgumentError && error.message.startsWith(`${name}: expected `),
        `${name}(${String(args)})`,
      );
      assert.deepEqual(Object.keys(optimizer.paramGroups[0] ?? {}).includes("initialLr"), false);
      assert.deepEqual(rates(optimizer), [1]);
    }
    assert.throws(() => Reflect.construct(Reflect.get(optim, name) as new () => unknown, [{}]), ArgumentError);
  });
}

test("LambdaLR: a factor that is no number at a later step is an error that changes nothing, and the step can be made again", () => {
  let factor: number = 0.5;
  const optimizer = sgd(2);
  const schedule = new optim.LambdaLR(optimizer, () => factor);
  factor = NaN;
  assert.throws(
    () => schedule.step(),
    /LambdaLR: expected the function of group 0 to return a finite number at step 1\. Received: NaN/,
  );
  assert.deepEqual([rates(optimizer), schedule.lastEpoch], [[1], 0]);
  factor = 0.25;
  schedule.step();
  assert.deepEqual([rates(optimizer), schedule.lastEpoch], [[0.5], 1]);
});

test("a custom schedule that does not return a number is an error", () => {
  class Odd extends optim.LRScheduler {
    constructor(o: optim.Optimizer) {
      super(o);
      this.start();
    }
    protected override next(g: optim.ParamGroup): number {
      return this.lastEpoch < 2 ? g.lr : g.lr / 0;
    }
  }
  const optimizer = sgd();
  const schedule = new Odd(optimizer);
  schedule.step();
  assert.throws(
    () => schedule.step(),
    /Odd: expected a finite learning rate for group 0 at step 2\. Received: Infinity/,
  );
  assert.deepEqual(rates(optimizer), [1]);
});

test("a group that is added later keeps its rate under LambdaLR, and is scheduled from its own rate by the others", () => {
  const after = (make: (o: optim.Optimizer) => Scheduler): number[] => {
    const optimizer = sgd();
    const schedule = make(optimizer);
    schedule.step();
    optimizer.addParamGroup({ params: [new nn.Parameter(ones([1]))], lr: 8 });
    schedule.step();
    // What was saved now loads into an optimizer that has both groups from the beginning.
    const again = new optim.SGD(
      [{ params: [new nn.Parameter(ones([1]))] }, { params: [new nn.Parameter(ones([1]))], lr: 8 }],
      { lr: 1 },
    );
    make(again).loadStateDict(schedule.stateDict());
    assert.deepEqual(rates(again), rates(optimizer));
    return rates(optimizer);
  };
  assert.deepEqual(
    after((o) => new optim.LambdaLR(o, (step) => 0.5 ** step)),
    [0.25, 8],
  );
  assert.deepEqual(
    after((o) => new optim.StepLR(o, 1, 0.5)),
    [0.25, 4],
  );
  assert.deepEqual(
    after((o) => new optim.ExponentialLR(o, 0.5)),
    [0.25, 4],
  );
  const [first, second] = after((o) => new optim.CosineAnnealingLR(o, 4));
  assert.ok(Math.abs((first as number) - 0.5) < 1e-12 && (second as number) < 8 && (second as number) > 0);
});

test("a state that is not one of a schedule is refused before anything changes", () => {
  const optimizer = sgd();
  const schedule = new optim.StepLR(optimizer, 1, 0.5);
  schedule.step();
  const good = schedule.stateDict();
  const bad: unknown[] = [
    null,
    3,
    [],
    {},
    { ...good, lastEpoch: "1" },
    { ...good, lastEpoch: NaN },
    { ...good, lastEpoch: -1 },
    { ...good, lastEpoch: 1.5 },
    { ...good, baseLrs: 1 },
    { ...good, baseLrs: [] },
    { ...good, baseLrs: [1, 1] },
    { ...good, baseLrs: ["1"] },
    { ...good, baseLrs: [NaN] },
    { ...good, baseLrs: [-1] },
    { ...good, lrs: [1, 2] },
    { ...good, lrs: [] },
    { ...good, lrs: ["x"] },
    { ...good, lrs: [Infinity] },
    { ...good, lrs: "x" },
  ];
  for (const state of bad)
    assert.throws(() => schedule.loadStateDict(state as Record<string, unknown>), ArgumentError, JSON.stringify(state));
  assert.deepEqual([schedule.stateDict(), rates(optimizer)], [good, [0.5]]);

  const plateau = new optim.ReduceLROnPlateau(optimizer, { patience: 0, factor: 0.5 });
  plateau.step(1);
  plateau.step(2);
  const saved = plateau.stateDict();
  const odd: unknown[] = [
    null,
    {},
    { ...saved, best: "1" },
    { ...saved, best: NaN },
    { ...saved, numBadEpochs: -1 },
    { ...saved, cooldownCounter: 0.5 },
    { ...saved, lastEpoch: NaN },
    { ...saved, lrs: [] },
    { ...saved, lrs: [NaN] },
    { ...saved, lrs: [-1] },
    { ...saved, lrs: 3 },
  ];
  for (const state of odd)
    assert.throws(() => plateau.loadStateDict(state as Record<string, unknown>), ArgumentError, JSON.stringify(state));
  assert.deepEqual([plateau.stateDict(), rates(optimizer)], [saved, [0.25]]);
  plateau.loadStateDict({ ...saved, best: Infinity });
  assert.equal(plateau.best, Infinity);
});

test("by position, by name, mixed, and all by name", () => {
  const after = (make: (o: optim.Optimizer) => Scheduler): number => {
    const optimizer = sgd();
    const schedule = make(optimizer);
    for (let i = 0; i < 4; i++) schedule.step(1);
    return optimizer.paramGroups[0]?.lr as number;
  };
  const same: readonly (readonly ((o: optim.Optimizer) => Scheduler)[])[] = [
    [
      (o) => new optim.StepLR(o, 2, 0.5),
      (o) => new optim.StepLR(o, 2, { gamma: 0.5 }),
      (o) => new optim.StepLR(o, { stepSize: 2, gamma: 0.5 }),
      (o) => new optim.lrScheduler.StepLR({ optimizer: o, stepSize: 2, gamma: 0.5 }),
    ],
    [
      (o) => new optim.CosineAnnealingLR(o, 10),
      (o) => new optim.CosineAnnealingLR(o, { TMax: 10 }),
      (o) => new optim.CosineAnnealingLR(o, { tMax: 10 }),
    ],
    [
      (o) => new optim.ReduceLROnPlateau(o, "max", 0.5, 0),
      (o) => new optim.ReduceLROnPlateau(o, "max", { factor: 0.5, patience: 0 }),
      (o) => new optim.ReduceLROnPlateau(o, { mode: "max", factor: 0.5, patience: 0 }),
    ],
  ];
  for (const [first, ...rest] of same)
    for (const make of rest) assert.equal(after(make), after(first as (o: optim.Optimizer) => Scheduler));
});

test("a schedule of one's own overrides getLr; its first rate is there at the first step of the optimizer", () => {
  class Halving extends optim.LRScheduler {
    readonly factor: number;
    constructor(o: optim.Optimizer, factor: number) {
      super(o);
      this.factor = factor;
    }
    override getLr(): number[] {
      return this.baseLrs.map((lr) => lr * this.factor ** (this.lastEpoch + 1));
    }
  }
  const optimizer = sgd();
  const schedule = new Halving(optimizer, 0.5);
  optimizer.step();
  assert.deepEqual([rates(optimizer), schedule.lastEpoch], [[0.5], 0]);
  schedule.step();
  assert.deepEqual([rates(optimizer), schedule.getLastLr(), schedule.lastEpoch], [[0.25], [0.25], 1]);
  assert.throws(() => new (class extends optim.LRScheduler {})(sgd()).step(), { code: "SCHEDULER_RATES" });
});

test("schedules made of others: states, in our names and in PyTorch's, and wrong ones", () => {
  const make = (o: optim.Optimizer): optim.SequentialLR =>
    new optim.SequentialLR(
      o,
      [
        new optim.LinearLR(o, 0.1, { totalIters: 3 }),
        new optim.ChainedScheduler([new optim.ExponentialLR(o, 0.9), new optim.StepLR(o, 2)]),
      ],
      [4],
    );
  const optimizer = sgd();
  const schedule = make(optimizer);
  for (let i = 0; i < 3; i++) schedule.step();
  const saved = schedule.stateDict();
  const [resumed, other] = [sgd(), sgd()];
  const again = make(resumed);
  again.loadStateDict(saved);
  for (let i = 0; i < 3; i++) {
    // A chain has no formula of the step alone to begin anew by: PyTorch refuses that, too, unless rates stay.
    again.step();
    schedule.step();
    assert.deepEqual(rates(resumed), rates(optimizer));
  }
  const before = make(other).stateDict();
  const wrong = make(other);
  assert.throws(() => wrong.loadStateDict({ ...saved, schedulers: [] }), ArgumentError);
  assert.throws(
    () =>
      wrong.loadStateDict({ ...saved, schedulers: [(saved["schedulers"] as unknown[])[0], { schedulers: [1, 2] }] }),
    ArgumentError,
  );
  assert.deepEqual(wrong.stateDict()["lrs"], before["lrs"]);
  const o = sgd();
  const step = new optim.StepLR(o, 1);
  assert.throws(() => new optim.SequentialLR(o, [step], [1]), ArgumentError);
  assert.throws(() => new optim.SequentialLR(sgd(), [step], []), ArgumentError);
  assert.throws(() => new optim.SequentialLR(o, [new optim.ReduceLROnPlateau(o)] as never, []), ArgumentError);
  assert.throws(() => new optim.ChainedScheduler([]), ArgumentError);
});

test("cycled momentum wants an optimizer that has one; more steps than a cycle has are refused", () => {
  const plain = new optim.Adagrad([new nn.Parameter(ones([1]))]);
  assert.throws(() => new optim.OneCycleLR(plain, 0.1, 10), /OneCycleLR: expected an optimizer with momentum or betas/);
  assert.throws(() => new optim.CyclicLR(plain, 0.1, 1), /CyclicLR: expected an optimizer with momentum or betas/);
  assert.throws(() => new optim.OneCycleLR(sgd(), 0.1), /expected totalSteps, or epochs and stepsPerEpoch/);
  assert.throws(() => new optim.CyclicLR(sgd(), 0.1, 1, { mode: "round" as never }), ArgumentError);
  assert.throws(() => new optim.CyclicLR(sgd(), [0.1, 0.2], 1), ArgumentError);
  const optimizer = sgd();
  const cycle = new optim.OneCycleLR(optimizer, { maxLr: 1, totalSteps: 3 });
  for (let i = 0; i < 3; i++) cycle.step();
  const last = rates(optimizer);
  assert.throws(() => cycle.step(), /at most totalSteps \(3\) steps/);
  assert.deepEqual([rates(optimizer), cycle.lastEpoch], [last, 3]);
});

test("a rate a rounding below 0, as PyTorch's line to 0 ends with, is stepped with", () => {
  const optimizer = new optim.SGD([new nn.Parameter(ones([1]))], 0.1);
  (optimizer.paramGroups[0] as optim.ParamGroup).lr = -1e-18;
  optimizer.step();
  optimizer.loadStateDict(optimizer.stateDict());
});
