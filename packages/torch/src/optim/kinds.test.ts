import assert from "node:assert/strict";
import { test } from "node:test";
import { Complex, manualSeed, nn, ones, optim, randn, tensor, type Tensor } from "../index.js";

const flat = (t: Tensor): number[] =>
  t.isComplex() ? (t.tolist() as Complex[]).flatMap((z) => [z.re, z.im]) : (t.tolist() as number[]);
function near(received: readonly number[], expected: readonly number[], tolerance = 1e-6): void {
  assert.equal(received.length, expected.length);
  received.forEach((v, i) =>
    assert.ok(
      Math.abs(v - (expected[i] as number)) <= tolerance * Math.max(1, Math.abs(v)),
      `${String(received)} for ${String(expected)}`,
    ),
  );
}

/** Parameters of torch.optim's classes of PyTorch 2.13 after four steps, the complex ones' parts first. */
const COMPLEX: readonly (readonly [
  name: string,
  make: (p: Tensor[], fused: boolean) => optim.Optimizer,
  after: readonly number[],
])[] = [
  [
    "SGD with nesterov and weight decay",
    (p, fused) => new optim.SGD(p, { lr: 0.1, momentum: 0.9, nesterov: true, weightDecay: 0.1, fused }),
    [
      -1.2209458351135254, -3.9898924827575684, -1.031202793121338, 1.6589393615722656, -1.7369459867477417,
      1.4789460897445679,
    ],
  ],
  [
    "SGD with dampening",
    (p, fused) => new optim.SGD(p, { lr: 0.1, momentum: 0.5, dampening: 0.25, fused }),
    [
      0.062499962747097015, -0.32499992847442627, -0.753125011920929, 0.8312499523162842, -0.08750003576278687,
      0.012499998323619366,
    ],
  ],
  [
    "Adam with amsgrad",
    (p, fused) => new optim.Adam(p, { lr: 0.1, amsgrad: true, weightDecay: 0.1, fused }),
    [
      0.638274073600769, 1.6503726243972778, -0.8994286060333252, 0.39174798130989075, 0.6101008653640747,
      -0.6001105904579163,
    ],
  ],
  [
    "AdamW that maximizes",
    (p, fused) => new optim.AdamW(p, { lr: 0.1, weightDecay: 0.1, maximize: true, fused }),
    [
      1.3143985271453857, 2.1633031368255615, -0.08625813573598862, -0.001961842179298401, 1.3431066274642944,
      -1.3546360731124878,
    ],
  ],
];
for (const [name, make, after] of COMPLEX) {
  for (const fused of [false, true]) {
    test(`${fused ? "fused " : ""}${name}: a complex parameter is stepped as two real ones, as PyTorch's, also from a state dict on`, () => {
      const start = (): Tensor[] => [
        new nn.Parameter(tensor([new Complex(1, 2), new Complex(-0.5, 0.25)])),
        new nn.Parameter(tensor([1, -1])),
      ];
      const step = ([z, r]: Tensor[], optimizer: optim.Optimizer, i: number): void => {
        (z as Tensor).grad = tensor([new Complex(3 - i, 4 * i), new Complex(0.5, -i)]);
        (r as Tensor).grad = tensor([1 + i, -2]);
        optimizer.step();
      };
      const first = start();
      const one = make(first, fused);
      for (let i = 0; i < 2; i++) step(first, one, i);
      const second = first.map((p) => new nn.Parameter(p.detach().clone()));
      const two = make(second, fused);
      two.loadStateDict(one.stateDict());
      for (const [params, optimizer] of [
        [first, one],
        [second, two],
      ] as const) {
        for (let i = 2; i < 4; i++) step(params, optimizer, i);
        near(params.flatMap(flat), after);
        for (const [p, state] of optimizer.state)
          for (const [key, value] of Object.entries(state))
            if (key !== "step") assert.equal((value as Tensor).dtype, p.dtype, key);
      }
    });
  }
}

test("a parameter of a complex tensor requires a gradient, one of integers does not", () => {
  assert.equal(new nn.Parameter(tensor([new Complex(1, 2)])).requiresGrad, true);
  assert.equal(new nn.Parameter(tensor([new Complex(1, 2)]), { requiresGrad: false }).requiresGrad, false);
  assert.equal(new nn.Parameter(tensor([1], { dtype: "int64" })).requiresGrad, false);
});

test("gradients of real and complex parameters are clipped together: the norm counts both parts, a value bounds each", () => {
  const made = (): Tensor[] => {
    const [z, r] = [new nn.Parameter(tensor([new Complex(1, 2)])), new nn.Parameter(tensor([1], { dtype: "float64" }))];
    z.grad = tensor([new Complex(3, -4)]);
    r.grad = tensor([12], { dtype: "float64" });
    return [z, r];
  };
  const grads = (params: readonly Tensor[]): number[] => params.flatMap((p) => flat(p.grad as Tensor));
  const byNorm = made();
  near([optim.clipGradNorm(byNorm, 6.5).item(), ...grads(byNorm)], [13, 1.5, -2, 6]);
  for (const [normType, expected] of [
    [1, 17],
    [Infinity, 12],
  ] as const)
    near([optim.clipGradNorm(made(), 1e9, { normType }).item()], [expected]);
  const byValue = made();
  optim.clipGradValue(byValue, 3.5);
  near(grads(byValue), [3, -3.5, 3.5]);
});

/** After five steps of which the second parameter has a gradient in the third and the fifth only. */
const LATE: readonly (readonly [
  name: string,
  make: (p: Tensor[], fused: boolean) => optim.Optimizer,
  after: readonly number[],
])[] = [
  [
    "SGD with dampening",
    (p, fused) => new optim.SGD(p, { lr: 0.1, momentum: 0.9, dampening: 0.5, weightDecay: 0.1, fused }),
    [-0.8580192923545837, 2.679975986480713, 0.8562999963760376, 1.37309992313385],
  ],
  [
    "SGD with nesterov",
    (p, fused) => new optim.SGD(p, { lr: 0.1, momentum: 0.9, nesterov: true, fused }),
    [-3.353278875350952, 3.682968854904175, 0.7694999575614929, 0.6979999542236328],
  ],
  [
    "Adam with amsgrad",
    (p, fused) => new optim.Adam(p, { lr: 0.1, amsgrad: true, fused }),
    [0.5149169564247131, 2.499999523162842, 0.800000011920929, 1.8034818172454834],
  ],
  [
    "AdamW",
    (p, fused) => new optim.AdamW(p, { lr: 0.1, fused }),
    [0.5109032392501831, 2.489020824432373, 0.798101007938385, 1.799583911895752],
  ],
];
for (const [name, make, after] of LATE) {
  for (const fused of [false, true]) {
    test(`${fused ? "fused " : ""}${name}: a gradient that comes late leaves the state of the others alone, as PyTorch does`, () => {
      const [a, b] = [new nn.Parameter(tensor([1, 2])), new nn.Parameter(tensor([1, 2]))];
      const optimizer = make([a, b], fused);
      for (let i = 0; i < 5; i++) {
        a.grad = tensor([1 + i, -1]);
        b.grad = i < 2 || i === 3 ? null : tensor([0.5, i]);
        optimizer.step();
      }
      near([...flat(a), ...flat(b)], after);
    });
  }
}

test("fused SGD with dampening: a skipped step is not the first", () => {
  const p = new nn.Parameter(tensor([1]));
  const optimizer = new optim.SGD([p], { lr: 1, momentum: 0.5, dampening: 0.5, fused: true });
  const step = (found: number): number => {
    p.grad = tensor([2]);
    optimizer.foundInf = tensor(found);
    optimizer.gradScale = tensor(1);
    optimizer.step();
    return p.item();
  };
  assert.deepEqual([step(1), optimizer.state.get(p), step(0), step(1), step(0)], [1, undefined, -1, -1, -3]);
});

for (const dtype of ["bfloat16", "float16"] as const)
  test(`fused SGD of ${dtype} parameters on the CPU steps as the plain formulas do, whatever lies in memory`, () => {
    const run = (fused: boolean): unknown => {
      manualSeed(3);
      const p = new nn.Parameter(randn([67]).to(dtype));
      const optimizer = new optim.SGD([p], { lr: 0.01, momentum: 0.9, weightDecay: 0.1, fused });
      for (let i = 0; i < 6; i++) {
        p.grad = randn([67]).to(dtype);
        optimizer.step();
      }
      assert.equal(optimizer.supportsAmpScaling, false); // a loss scaler divides and skips by itself
      return [p.tolist(), (optimizer.state.get(p)?.["momentumBuffer"] as Tensor).tolist()];
    };
    const plain = run(false);
    for (let i = 0; i < 3; i++) assert.deepEqual(run(true), plain);
  });

const HOLDERS: readonly (readonly [string, (p: Tensor[]) => optim.Optimizer])[] = [
  ["SGD", (p) => new optim.SGD(p, { lr: 0.5 })],
  ["SGD with momentum", (p) => new optim.SGD(p, { lr: 0.5, momentum: 0.5 })],
  ["fused SGD with momentum", (p) => new optim.SGD(p, { lr: 0.5, momentum: 0.5, fused: true })],
  ["Adam", (p) => new optim.Adam(p, { lr: 0.5 })],
  ["fused AdamW", (p) => new optim.AdamW(p, { lr: 0.5, weightDecay: 0, fused: true })],
  ["SGD with stochastic rounding", (p) => new optim.SGD(p, { lr: 0.5, rounding: "stochastic" })],
];
for (const [name, make] of HOLDERS) {
  test(`${name}: a parameter put in another's place is the one that is stepped, from a state of its own`, () => {
    const parameters = Array.from({ length: 4 }, () => new nn.Parameter(ones([2])));
    const [a, b, c, d] = parameters as [Tensor, Tensor, Tensor, Tensor];
    const optimizer = make([a, b]);
    const group = optimizer.paramGroups[0] as optim.ParamGroup;
    const step = (): number[] => {
      for (const p of parameters) p.grad = ones([2]);
      optimizer.step();
      return parameters.map((p) => flat(p)[0] as number);
    };
    const once = step()[0] as number;
    assert.ok(once < 1);
    group.params[1] = c;
    near(step().slice(1), [once, once, 1], 1e-5);
    const twice = flat(a)[0] as number;
    group.params = [d];
    const after = step();
    near(after, [twice, once, once, once], 1e-5);
    group.params.push(b);
    assert.ok((step()[1] as number) < once);
  });
  test(`${name}: what cannot be stepped in a group is an error before anything is stepped`, () => {
    const [a, b] = [new nn.Parameter(ones([2])), new nn.Parameter(ones([2]))];
    const optimizer = make([a]);
    optimizer.addParamGroup({ params: b });
    const second = optimizer.paramGroups[1] as optim.ParamGroup;
    const step = (): void => {
      a.grad = ones([2]);
      optimizer.step();
    };
    const wrong: readonly [unknown, RegExp][] = [
      [[a], /every parameter in one place only/],
      [[b, b], /every parameter in one place only/],
      [[b.mul(2)], /leaf tensors/],
      [[3], /params to be tensors/],
      [[undefined], /params to be tensors/],
      [null, /an array of tensors/],
      ["b", /an array of tensors/],
    ];
    for (const [params, message] of wrong) {
      Object.assign(second, { params });
      assert.throws(step, { code: "ERR_ARGUMENT", message });
    }
    second.params = [b];
    for (const lr of [NaN, Infinity, -1, "0.1", undefined, null]) {
      Object.assign(second, { lr });
      assert.throws(step, { code: "ERR_ARGUMENT", message: /lr/ }, String(lr));
    }
    assert.deepEqual(flat(a), [1, 1]);
    second.lr = 0.25;
    step();
    assert.ok((flat(a)[0] as number) < 1);
  });
}

test("Adam: state that was removed or replaced by hand is used as it is", () => {
  const p = new nn.Parameter(ones([2]));
  const optimizer = new optim.Adam([p], { lr: 0.5 });
  const step = (): number => {
    p.grad = tensor([1, 1]);
    optimizer.step();
    return (optimizer.state.get(p)?.["step"] as Tensor).item();
  };
  step();
  assert.equal(step(), 2);
  optimizer.state.clear();
  assert.equal(step(), 1);
  Object.assign(optimizer.state.get(p) ?? {}, { step: tensor(6) });
  assert.equal(step(), 7);
  Object.assign(optimizer.state.get(p) ?? {}, { expAvg: ones([3]) });
  assert.throws(step, {
    code: "OPTIMIZER_STATE",
    message: /"expAvg" to have its parameter's shape \[2\]\. Received: shape \[3\]/,
  });
});
