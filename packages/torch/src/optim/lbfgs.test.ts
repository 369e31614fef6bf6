import assert from "node:assert/strict";
import { test } from "node:test";
import { ArgumentError, Complex, full, memory, nn, ones, optim, scope, tensor, type Tensor } from "../index.js";

interface Made {
  readonly params: Tensor[];
  readonly optimizer: optim.LBFGS;
  step(): number;
}
/** Σ (p - 1)⁴ + Σ p² of all parameters. */
function made(options: optim.LBFGSOptions = {}, values: readonly (readonly number[])[] = [[3, -2], [0.5]]): Made {
  const params = values.map((v) => new nn.Parameter(tensor([...v])));
  const optimizer = new optim.LBFGS(params, { lr: 0.1, maxIter: 4, ...options });
  const closure = (): Tensor => {
    optimizer.zeroGrad();
    const loss = params.map((p) => p.sub(1).pow(4).sum().add(p.square().sum())).reduce((a, b) => a.add(b));
    loss.backward();
    return loss;
  };
  return { params, optimizer, step: () => scope(() => optimizer.step(closure).item()) };
}
const values = ({ params }: Made): unknown => params.map((p) => p.tolist());
const held = ({ optimizer }: Made): string => JSON.stringify(optimizer.stateDict());

test("options are checked when the optimizer is made", () => {
  const p = new nn.Parameter(ones([1]));
  const wrong: Record<string, unknown>[] = [
    { lr: -1 },
    { lr: NaN },
    { lr: "1" },
    { maxIter: 0 },
    { maxIter: 1.5 },
    { maxIter: "4" },
    { maxIter: NaN },
    { maxEval: 0 },
    { maxEval: "9" },
    { historySize: 0 },
    { historySize: Infinity },
    { toleranceGrad: -1 },
    { toleranceGrad: "x" },
    { toleranceChange: NaN },
    { lineSearchFn: "wolfe" },
    { lineSearchFn: true },
    { lineSearch: "strong_wolfe" },
  ];
  for (const options of wrong)
    assert.throws(
      () => new optim.LBFGS([p], options),
      (error) => error instanceof ArgumentError && error.message.startsWith("LBFGS: expected "),
      JSON.stringify(options),
    );
  assert.equal(new optim.LBFGS([p], { maxIter: 7 }).paramGroups[0]?.["maxEval"], 8);
  assert.equal(new optim.LBFGS([p], { maxEval: null }).paramGroups[0]?.["maxEval"], 25);
  assert.throws(
    () => new optim.LBFGS([{ params: [p] }, { params: [new nn.Parameter(ones([1]))] }]),
    /one group of parameters/,
  );
  assert.throws(
    () => new optim.LBFGS([p]).addParamGroup({ params: [new nn.Parameter(ones([1]))] }),
    /one group of parameters/,
  );
  assert.throws(() => new optim.LBFGS([new nn.Parameter(ones([1], { dtype: "int64" }))]), /floating point parameters/);
});

test("a step needs a closure that returns the loss", () => {
  const { optimizer } = made();
  for (const closure of [undefined, () => undefined, () => 3, () => ones([2]), () => tensor(new Complex(1, 0))])
    assert.throws(() => optimizer.step(closure as () => Tensor), { code: "OPTIMIZER_CLOSURE" });
  assert.throws(() => optimizer.step(3 as unknown as () => Tensor), ArgumentError);
  assert.equal(optimizer.state.size, 0);
});

for (const lineSearchFn of [null, "strong_wolfe"] as const) {
  test(`${String(lineSearchFn)}: a resumed run goes on to the last bit, and steps leave no tensors behind`, () => {
    const first = made({ lineSearchFn, historySize: 3 });
    for (let i = 0; i < 2; i++) first.step();
    const second = made(
      { lineSearchFn, historySize: 3 },
      first.params.map((p) => p.tolist() as number[]),
    );
    const saved = first.optimizer.stateDict();
    second.optimizer.loadStateDict(saved);
    assert.equal(held(second), held(first));
    const live = memory().unreleased;
    for (let i = 0; i < 3; i++) assert.equal(first.step(), second.step());
    assert.deepEqual(values(second), values(first));
    assert.equal(held(second), held(first));
    assert.equal(memory().unreleased, live);
  });

  test(`${String(lineSearchFn)}: a closure that throws leaves the history as it was`, () => {
    const run = made({ lineSearchFn });
    run.step();
    const before = held(run);
    let calls = 0;
    const failing = (): Tensor => {
      if (++calls === 3) throw new Error("stop");
      run.optimizer.zeroGrad();
      const loss = (run.params[0] as Tensor).sub(1).pow(4).sum();
      loss.backward();
      return loss;
    };
    const live = memory().unreleased;
    assert.throws(() => scope(() => run.optimizer.step(failing)), /stop/);
    assert.equal(held(run), before);
    assert.equal(memory().unreleased, live);
    run.step();
  });

  test(`${String(lineSearchFn)}: parameters of complex numbers take the steps of their parts`, () => {
    const z = new nn.Parameter(tensor([new Complex(2, -1), new Complex(0.5, 3)]));
    const parts = new nn.Parameter(
      tensor([
        [2, -1],
        [0.5, 3],
      ]),
    );
    const run = (p: Tensor, loss: () => Tensor): void => {
      const optimizer = new optim.LBFGS([p], { lineSearchFn, lr: 0.1, maxIter: 6 });
      for (let i = 0; i < 3; i++)
        optimizer.step(() => {
          optimizer.zeroGrad();
          const value = loss();
          value.backward();
          return value;
        });
    };
    run(z, () => z.abs().square().sub(1).square().sum());
    run(parts, () => parts.square().sum([1]).sub(1).square().sum());
    (z.tolist() as Complex[])
      .flatMap((c) => [c.re, c.im])
      .forEach((v, i) => assert.ok(Math.abs(v - ((parts.tolist() as number[][]).flat()[i] as number)) < 1e-5));
  });
}

test("a replaced parameter starts a new history", () => {
  const run = made();
  run.step();
  const other = new nn.Parameter(full([2], 2, { dtype: "float32" }));
  run.params[0] = other;
  (run.optimizer.paramGroups[0] as optim.ParamGroup).params[0] = other;
  const anew = made(
    {},
    run.params.map((p) => p.tolist() as number[]),
  );
  assert.equal(run.step(), anew.step());
  assert.deepEqual(values(run), values(anew));
  assert.equal(run.optimizer.state.size, 1);
  assert.equal(run.optimizer.state.get(other)?.["nIter"], 4);
});

test("hooks are called around a step", () => {
  const run = made();
  const seen: string[] = [];
  run.optimizer.registerStepPreHook(() => seen.push("before"));
  run.optimizer.registerStepPostHook(() => seen.push("after"));
  run.step();
  assert.deepEqual(seen, ["before", "after"]);
});

test("a history that does not fit is refused, and nothing changes", () => {
  const run = made({ historySize: 3 });
  run.step();
  const before = held(run);
  const good = run.optimizer.stateDict();
  const own = good.state["0"] as Record<string, unknown>;
  const list = own["oldDirs"] as readonly Tensor[];
  const with_ = (change: Record<string, unknown>): Record<string, unknown> => ({
    ...good,
    paramGroups: [{ ...good.paramGroups[0], lr: 7 }],
    state: { 0: { ...own, ...change } },
  });
  const wrong: readonly (readonly [Record<string, unknown>, RegExp])[] = [
    ...[NaN, -1, 0.5, "1", null, ones([2])].flatMap(
      (v) =>
        [
          [{ nIter: v }, /./],
          [{ funcEvals: v }, /./],
        ] as const,
    ),
    ...["x", null, NaN, Infinity, ones([2]), tensor(NaN)].flatMap(
      (v) =>
        [
          [{ t: v }, /t to be a finite number/],
          [{ hDiag: v }, /hDiag to be a finite number/],
        ] as const,
    ),
    [{ prevLoss: "x" }, /prevLoss/],
    [{ velocity: 1 }, /Received: velocity/],
    [{ d: ones([2]) }, /d to have shape \[3\].*Received: shape \[2\]/],
    [{ d: null }, /d to be a dense/],
    [{ d: ones([3], { dtype: "int64" }) }, /d to be a dense/],
    [{ prevFlatGrad: ones([3, 1]) }, /prevFlatGrad to have shape/],
    [{ prevFlatGrad: ones([3]).toSparse() }, /dense/],
    [{ oldDirs: 3 }, /oldDirs to be an array/],
    [{ oldDirs: list.slice(1) }, /as many/],
    [{ oldStps: list.map(() => ones([4])) }, /oldStps\[0\] to have shape/],
    [{ hDiag: -1 }, /hDiag to be a finite number ≥ 0/],
    [{ ro: list.map(() => -1) }, /ro\[0\] to be a finite number ≥ 0/],
    [{ ro: list.map(() => NaN) }, /ro\[0\]/],
    [{ ro: list.map(() => "1") }, /ro\[0\]/],
    [
      { oldDirs: [...list, ...list], oldStps: [...list, ...list], ro: [...list, ...list].map(() => 1) },
      /at most historySize \(3\)/,
    ],
  ];
  assert.ok(list.length > 1);
  for (const [change, message] of wrong) {
    assert.throws(
      () => run.optimizer.loadStateDict(with_(change)),
      { code: "OPTIMIZER_STATE", message },
      Object.keys(change).join(),
    );
    assert.equal(held(run), before);
  }
  assert.throws(() => run.optimizer.loadStateDict({ ...good, state: { 1: own } }), /under its first parameter/);
  assert.throws(() => run.optimizer.loadStateDict(new optim.Adam(run.params).stateDict()), { code: "OPTIMIZER_STATE" });
  for (const [option, value] of [
    ["maxIter", 0],
    ["lineSearchFn", "x"],
    ["historySize", -1],
    ["lr", NaN],
  ] as const)
    assert.throws(
      () => run.optimizer.loadStateDict({ ...good, paramGroups: [{ ...good.paramGroups[0], [option]: value }] }),
      new RegExp(option),
    );
  assert.equal(held(run), before);
});
