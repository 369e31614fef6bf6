import assert from "node:assert/strict";
import { test } from "node:test";
import { Complex, full, nn, NbitError, ones, optim, tensor, zeros, type Tensor } from "../index.js";

type Make = (params: readonly Tensor[]) => optim.Optimizer;
const OPTIMIZERS: readonly (readonly [name: string, make: Make, states: readonly string[]])[] = [
  ["SGD with momentum", (p) => new optim.SGD(p, { lr: 0.5, momentum: 0.5 }), ["momentumBuffer"]],
  ["fused SGD with momentum", (p) => new optim.SGD(p, { lr: 0.5, momentum: 0.5, fused: true }), ["momentumBuffer"]],
  ["Adam", (p) => new optim.Adam(p, { lr: 0.5 }), ["step", "expAvg", "expAvgSq"]],
  [
    "fused Adam with amsgrad",
    (p) => new optim.Adam(p, { lr: 0.5, amsgrad: true, fused: true }),
    ["step", "expAvg", "expAvgSq", "maxExpAvgSq"],
  ],
  ["AdamW", (p) => new optim.AdamW(p, { lr: 0.5 }), ["step", "expAvg", "expAvgSq"]],
  ["fused AdamW", (p) => new optim.AdamW(p, { lr: 0.5, fused: true }), ["step", "expAvg", "expAvgSq"]],
];
const stepped = (make: Make): { params: Tensor[]; optimizer: optim.Optimizer } => {
  const params = [new nn.Parameter(ones([2, 3])), new nn.Parameter(ones([4]))];
  const optimizer = make(params);
  params.forEach((p) => (p.grad = full([...p.shape], 0.5)));
  optimizer.step();
  return { params, optimizer };
};
/** All that an optimizer holds, as text. */
const held = (o: optim.Optimizer): string => JSON.stringify(o.stateDict());
type Dict = Record<string, unknown> & {
  state: Record<string, Record<string, unknown>>;
  paramGroups: Record<string, unknown>[];
};
const copyOf = (o: optim.Optimizer): Dict => {
  const { state, paramGroups, ...rest } = o.stateDict();
  return {
    ...rest,
    state: Object.fromEntries(Object.entries(state).map(([k, s]) => [k, { ...s }])),
    paramGroups: paramGroups.map((g) => ({ ...g })),
  };
};

for (const [name, make, states] of OPTIMIZERS) {
  test(`${name}: a state dict that is not one of this optimizer is refused by name, and nothing changes`, () => {
    const { optimizer } = stepped(make);
    const tensors = states.filter((s) => s !== "step");
    const first = tensors[0] as string;
    const wrong: [why: string, change: (d: Dict) => unknown, message: RegExp][] = [
      ["nothing", () => null, /a state dict/],
      ["a list", () => [], /a state dict/],
      ["a tensor", () => ones([1]), /a state dict/],
      ["empty", () => ({}), /no paramGroups/],
      ["no state", (d) => ({ ...d, state: null }), /state to be an object/],
      ["state as a list", (d) => ({ ...d, state: [] }), /state to be an object/],
      [
        "another algorithm",
        (d) => ({ ...d, algorithm: "Lion" }),
        /the state of (SGD|Adam|AdamW)\. Received: one of "Lion"/,
      ],
      ["a group less", (d) => ({ ...d, paramGroups: [] }), /groups of 2 parameters/],
      ["a group more", (d) => ({ ...d, paramGroups: [...d.paramGroups, d.paramGroups[0]] }), /groups of 2 parameters/],
      [
        "a parameter less",
        (d) => ({ ...d, paramGroups: [{ ...d.paramGroups[0], params: [0] }] }),
        /groups of 2 parameters\. Received: 1/,
      ],
      ["a group that is none", (d) => ({ ...d, paramGroups: [7] }), /paramGroups\[0\] to be an object/],
      ["a group without parameters", (d) => ({ ...d, paramGroups: [{}] }), /params to be the positions/],
      [
        "a position twice",
        (d) => ({ ...d, paramGroups: [{ ...d.paramGroups[0], params: [0, 0] }] }),
        /every parameter once/,
      ],
      [
        "a position that is none",
        (d) => ({ ...d, paramGroups: [{ ...d.paramGroups[0], params: [0, {}] }] }),
        /every parameter once/,
      ],
      [
        "state of nobody",
        (d) => ({ ...d, state: { ...d.state, 9: d.state["0"] } }),
        /state of parameters that paramGroups list/,
      ],
      ["state that is none", (d) => ({ ...d, state: { 0: 3 } }), /state of parameter 0 to be an object/],
      ...(
        [
          ["lr", NaN],
          ["lr", -1],
          ["lr", "1"],
          ["lr", Infinity],
          ["lr", tensor(1)],
          ["initialLr", "x"],
          ["weightDecay", -1],
          ["weightDecay", "0"],
          ["maximize", 1],
          ["fused", "yes"],
          ["rounding", "up"],
          ["roundingSeed", -1],
          ["roundingStep", 0.5],
        ] as const
      ).map(([option, value]): [string, (d: Dict) => unknown, RegExp] => [
        `${option} ${String(value)}`,
        (d) => ({ ...d, paramGroups: [{ ...d.paramGroups[0], [option]: value }] }),
        new RegExp(option),
      ]),
      [
        "state under another name",
        (d) => ({ ...d, state: { ...d.state, 1: { ...d.state["1"], velocity: ones([4]) } } }),
        /for parameter 1\. Received: velocity/,
      ],
      ...tensors.flatMap((s): [string, (d: Dict) => unknown, RegExp][] => {
        const changed =
          (value: unknown) =>
          (d: Dict): unknown => ({ ...d, state: { ...d.state, 1: { ...d.state["1"], [s]: value } } });
        const disposed = ones([4]);
        disposed.dispose();
        return [
          [
            `${s} of another size`,
            changed(ones([3])),
            new RegExp(`${s} of parameter 1 to have the parameter's shape \\[4\\]\\. Received: shape \\[3\\]`),
          ],
          [`${s} of another form`, changed(ones([2, 2])), /shape \[4\]\. Received: shape \[2, 2\]/],
          [`${s} without elements`, changed(zeros([0])), /shape/],
          [`${s} as a number`, changed(1), /to be a tensor/],
          [`${s} as a list`, changed([1, 2, 3, 4]), /to be a tensor/],
          [`${s} in integers`, changed(ones([4], { dtype: "int64" })), /floating point/],
          [`${s} complex`, changed(tensor([1, 2, 3, 4].map((v) => new Complex(v, 0)))), /floating point/],
          [`${s} sparse`, changed(ones([4]).toSparse()), /dense/],
          [`${s} disposed`, changed(disposed), /disposed/],
        ];
      }),
      ...tensors
        .filter((s) => s.endsWith("Sq"))
        .map((s): [string, (d: Dict) => unknown, RegExp] => [
          `${s} below zero`,
          (d) => ({ ...d, state: { ...d.state, 1: { ...d.state["1"], [s]: tensor([1, NaN, -1e-30, Infinity]) } } }),
          new RegExp(
            `${s} of parameter 1 to be an average of squares, nowhere below zero\\. Received: one with negative values`,
          ),
        ]),
      ...(states.includes("step")
        ? [
            NaN,
            -1,
            1.5,
            Infinity,
            "1",
            null,
            true,
            tensor(NaN),
            tensor(-1),
            tensor(0.5),
            tensor([1, 2]),
            ones([4]),
            tensor([]),
            tensor(1).toSparse(),
            tensor(true),
            tensor([new Complex(1, 0)]),
          ].map((value, i): [string, (d: Dict) => unknown, RegExp] => [
            `step, case ${i}`,
            (d) => ({ ...d, state: { ...d.state, 0: { ...d.state["0"], step: value } } }),
            /step of parameter 0 to be/,
          ])
        : []),
      ...(states.includes("step")
        ? states.map((s): [string, (d: Dict) => unknown, RegExp] => [
            `no ${s}`,
            (d) => ({
              ...d,
              state: { ...d.state, 0: Object.fromEntries(Object.entries(d.state["0"] ?? {}).filter(([k]) => k !== s)) },
            }),
            new RegExp(s),
          ])
        : []),
    ];
    const before = held(optimizer);
    for (const [why, change, message] of wrong) {
      const dict = copyOf(optimizer);
      // What comes before the fault would show if it were applied.
      (dict.paramGroups[0] as Record<string, unknown>)["lr"] = 7;
      for (const s of Object.values(dict.state)) s[first] = (s[first] as Tensor).mul(3);
      assert.throws(
        () => optimizer.loadStateDict(change(dict) as Dict),
        (error) =>
          error instanceof NbitError &&
          (error.code === "OPTIMIZER_STATE" || error.code === "ERR_ARGUMENT") &&
          message.test(error.message),
        why,
      );
      assert.equal(held(optimizer), before, why);
    }
  });

  test(`${name}: a state dict of another optimizer is refused`, () => {
    for (const [other, makeOther] of OPTIMIZERS) {
      const [mine, theirs] = [stepped(make).optimizer, stepped(makeOther).optimizer];
      if (mine.constructor === theirs.constructor) continue;
      assert.throws(
        () => mine.loadStateDict(theirs.stateDict()),
        {
          code: "OPTIMIZER_STATE",
          message: new RegExp(`the state of ${mine.constructor.name}\\. Received: one of "${theirs.constructor.name}"`),
        },
        other,
      );
    }
  });

  test(`${name}: its own state dict loads into a new one, which holds the same, with tensors of its own and where its kernels want them`, () => {
    const { optimizer } = stepped(make);
    const fresh = make([new nn.Parameter(ones([2, 3])), new nn.Parameter(ones([4]))]);
    fresh.loadStateDict(optimizer.stateDict());
    assert.equal(held(fresh), held(optimizer));
    const [a, b] = [fresh.stateDict(), optimizer.stateDict()];
    for (const key of states) assert.notEqual(a.state["0"]?.[key], b.state["0"]?.[key]);
    // Counters as other systems keep them.
    if (!states.includes("step")) return;
    for (const step of [
      3,
      tensor(3),
      tensor([3], { dtype: "int64" }),
      tensor(3, { dtype: "float64" }),
      tensor([[3]]),
    ]) {
      fresh.loadStateDict({ ...b, state: { 0: { ...b.state["0"], step } } });
      const kept = fresh.state.get(fresh.paramGroups[0]?.params[0] as Tensor)?.["step"] as Tensor;
      assert.deepEqual([kept.dtype, [...kept.shape], kept.item()], ["float32", [], 3]);
      assert.equal(fresh.state.size, 1, "a parameter without state starts over");
    }
  });

  test(`${name}: PyTorch's names are read, and written by toTorch`, () => {
    const { optimizer } = stepped(make);
    const theirs = optim.toTorch(optimizer.stateDict());
    const snake: Record<string, string> = {
      momentumBuffer: "momentum_buffer",
      step: "step",
      expAvg: "exp_avg",
      expAvgSq: "exp_avg_sq",
      maxExpAvgSq: "max_exp_avg_sq",
    };
    assert.deepEqual(
      Object.keys((theirs.state as Record<string, object>)["0"] ?? {}),
      states.map((s) => snake[s]),
    );
    const group = theirs.param_groups[0] as Record<string, unknown>;
    assert.ok("weight_decay" in group && !("weightDecay" in group));
    const fresh = make([new nn.Parameter(ones([2, 3])), new nn.Parameter(ones([4]))]);
    fresh.loadStateDict({
      state: theirs.state,
      param_groups: [{ ...group, foreach: null, differentiable: false, capturable: false }],
    });
    assert.equal(held(fresh), held(optimizer));
  });
}

test("a state dict of PyTorch's AdamW is not one of Adam, nor the other way round", () => {
  const group = {
    lr: 1e-3,
    betas: [0.9, 0.999],
    eps: 1e-8,
    weight_decay: 0.01,
    amsgrad: false,
    maximize: false,
    foreach: null,
    capturable: false,
    differentiable: false,
    fused: null,
    params: [0],
  };
  const dict = (decoupled_weight_decay: boolean): Record<string, unknown> => ({
    state: { 0: { step: tensor(2), exp_avg: ones([2]), exp_avg_sq: ones([2]) } },
    param_groups: [{ ...group, decoupled_weight_decay }],
  });
  const [adam, adamw] = [new optim.Adam([new nn.Parameter(ones([2]))]), new optim.AdamW([new nn.Parameter(ones([2]))])];
  adam.loadStateDict(dict(false));
  adamw.loadStateDict(dict(true));
  assert.equal(adam.paramGroups[0]?.["weightDecay"], 0.01);
  assert.throws(() => adam.loadStateDict(dict(true)), {
    code: "OPTIMIZER_STATE",
    message: /Adam\. Received: one of "AdamW"/,
  });
  assert.throws(() => adamw.loadStateDict(dict(false)), { code: "OPTIMIZER_STATE" });
  for (const fn of [optim.toTorch, optim.fromTorch]) assert.throws(() => fn({ state: {} }), { code: "ERR_ARGUMENT" });
});

test("a hostile state dict is read once, and sets no prototype", () => {
  const { optimizer } = stepped((p) => new optim.Adam(p));
  const dict = copyOf(optimizer);
  let reads = 0;
  Object.defineProperty(dict.state["0"], "expAvg", {
    enumerable: true,
    get: () => (reads++ === 0 ? ones([2, 3]) : ones([99])),
  });
  optimizer.loadStateDict(dict);
  assert.deepEqual(
    [...(optimizer.state.get(optimizer.paramGroups[0]?.params[0] as Tensor)?.["expAvg"] as Tensor).shape],
    [2, 3],
  );
  const polluted = { ...dict, paramGroups: [JSON.parse('{"params":[0,1],"__proto__":{"lr":9}}')] } as Record<
    string,
    unknown
  >;
  assert.throws(() => optimizer.loadStateDict({ ...polluted, state: {} }), { code: "OPTIMIZER_STATE" });
});

test("a custom optimizer takes any plain state", () => {
  class Sign extends optim.Optimizer {
    protected override validate(): void {}
    protected override stepGroup(): void {}
  }
  const p = new nn.Parameter(ones([2]).bfloat16());
  const optimizer = new Sign([p], { lr: 1 });
  optimizer.state.set(p, { mean: ones([2]), history: [ones([1]), ones([3])], count: 3, none: null });
  const fresh = new Sign([p], { lr: 2 });
  fresh.loadStateDict(optimizer.stateDict());
  const kept = fresh.state.get(p) ?? {};
  assert.deepEqual(
    [
      (kept["mean"] as Tensor).dtype,
      (kept["history"] as Tensor[]).length,
      kept["count"],
      kept["none"],
      fresh.paramGroups[0]?.lr,
    ],
    ["bfloat16", 2, 3, null, 1],
  );
  assert.throws(() => fresh.loadStateDict({ ...optimizer.stateDict(), state: { 0: { mean: "x" } } }), {
    code: "OPTIMIZER_STATE",
  });
});

test("state that is not finite loads with one warning, which names it; -0 and state without elements are no cause", async () => {
  const { optimizer } = stepped((p) => new optim.AdamW(p, { amsgrad: true }));
  const load = async (change: (state: Record<string, Record<string, unknown>>) => void): Promise<string[]> => {
    const heard: string[] = [];
    const listen = (w: Error & { code?: string }): void =>
      void (w.code === "WARN_OPTIMIZER_STATE" && heard.push(w.message));
    process.on("warning", listen);
    const dict = copyOf(optimizer);
    change(dict.state);
    optimizer.loadStateDict(dict);
    await new Promise((done) => setImmediate(done));
    process.off("warning", listen);
    return heard;
  };
  assert.deepEqual(
    await load((s) =>
      Object.assign(s["1"] ?? {}, { expAvg: tensor([-0, 1, -2, 3]), expAvgSq: tensor([-0, 0, 1e30, 1e-45]) }),
    ),
    [],
  );
  assert.deepEqual(await load((s) => Object.assign(s["1"] ?? {}, { expAvgSq: tensor([1, Infinity, 0, 0]) })), [
    "AdamW.loadStateDict: NaN or infinity in expAvgSq of parameter 1. The run that saved them diverged, or its squares overflowed in 16 bits: parameters become NaN, or stay as they are. Go on from an earlier checkpoint, or leave their state out.",
  ]);
  const all = (
    await load((s) =>
      Object.values(s).forEach((one) =>
        Object.assign(one, {
          expAvg: (one["expAvg"] as Tensor).mul(NaN),
          expAvgSq: (one["expAvgSq"] as Tensor).mul(NaN),
        }),
      ),
    )
  ).join();
  assert.match(
    all,
    /^AdamW\.loadStateDict: NaN or infinity in expAvg of parameter 0, expAvgSq of parameter 0, expAvg of parameter 1 and 1 more\. /,
  );
  // float32 squares that float16 does not hold.
  const half = new optim.AdamW([
    new nn.Parameter(ones([2, 3], { dtype: "float16" })),
    new nn.Parameter(zeros([0], { dtype: "float16" })),
  ]);
  const heard: string[] = [];
  process.once("warning", (w) => heard.push(w.message));
  half.loadStateDict({
    state: {
      0: { step: 1, expAvg: zeros([2, 3]), expAvgSq: full([2, 3], 1e6) },
      1: { step: 1, expAvg: zeros([0]), expAvgSq: zeros([0]) },
    },
    paramGroups: [{ params: [0, 1] }],
  });
  await new Promise((done) => setImmediate(done));
  assert.match(heard.join(), /NaN or infinity in expAvgSq of parameter 0\. /);
});

test("squares of complex parameters are looked at part by part; messages name parameters that have a name", () => {
  const p = new nn.Parameter(tensor([new Complex(1, 2)]));
  optim.setParameterName(p, "rotation.weight");
  const optimizer = new optim.Adam([p]);
  const state = (expAvgSq: Tensor): Record<string, unknown> => ({
    state: { 0: { step: 1, expAvg: tensor([new Complex(-1, -1)]), expAvgSq } },
    paramGroups: [{ params: [0] }],
  });
  optimizer.loadStateDict(state(tensor([new Complex(1, 0)])));
  for (const bad of [new Complex(-1, 1), new Complex(1, -1)])
    assert.throws(() => optimizer.loadStateDict(state(tensor([bad]))), {
      code: "OPTIMIZER_STATE",
      message:
        "Adam.loadStateDict: expected expAvgSq of parameter 0 (rotation.weight) to be an average of squares, nowhere below zero. Received: one with negative values. The state is damaged, or of another optimizer.",
    });
  assert.throws(() => optimizer.loadStateDict(state(tensor([1]))), {
    message: /expAvgSq of parameter 0 \(rotation\.weight\) to be complex/,
  });
});
