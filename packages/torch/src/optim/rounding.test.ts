import assert from "node:assert/strict";
import { test } from "node:test";
import * as torch from "../index.js";
import { optim } from "../index.js";
import type { DType, Tensor } from "../index.js";
import { roundStochastically } from "./rounding.js";

const { arange, full, manualSeed, memory, nn, randn, scope, tensor } = torch;

type Rounding = optim.Rounding;
type Made = [name: string, make: (params: Tensor[], rounding: Rounding) => optim.Optimizer];
const OPTIMIZERS: readonly Made[] = [
  ["SGD", (p, rounding) => new optim.SGD(p, { lr: 1e-3, rounding })],
  [
    "SGD with momentum, weight decay and nesterov",
    (p, rounding) => new optim.SGD(p, { lr: 1e-3, momentum: 0.9, nesterov: true, weightDecay: 1e-2, rounding }),
  ],
  ["fused SGD with momentum", (p, rounding) => new optim.SGD(p, { lr: 1e-3, momentum: 0.9, fused: true, rounding })],
  ["Adam with amsgrad", (p, rounding) => new optim.Adam(p, { lr: 1e-3, betas: [0.8, 0.95], amsgrad: true, rounding })],
  ["AdamW", (p, rounding) => new optim.AdamW(p, { lr: 1e-3, weightDecay: 0.1, rounding })],
  ["fused AdamW", (p, rounding) => new optim.AdamW(p, { lr: 1e-3, fused: true, rounding })],
];
const near1 = (dtype: DType, n = 4096): Tensor => new nn.Parameter(full([n], 1, { dtype }));

for (const [name, make] of OPTIMIZERS) {
  test(`${name}: bfloat16 weights near 1 stall on updates of 1e-3; Kahan and stochastic rounding do not`, () => {
    manualSeed(1);
    const run = (rounding: Rounding, dtype: DType): Tensor => {
      const p = near1(dtype);
      const optimizer = make([p], rounding);
      for (let i = 0; i < 50; i++) {
        p.grad = full([4096], 1, { dtype });
        optimizer.step();
      }
      return p.detach().float();
    };
    const exact = run("nearest", "float32").mean().item();
    assert.ok(exact < 0.98, `${exact}`);
    if (!name.includes("momentum"))
      assert.equal(run("nearest", "bfloat16").min().item(), 1, "plain bfloat16 does not move");
    const kahan = run("kahan", "bfloat16");
    assert.ok(Math.abs(kahan.mean().item() - exact) < 2 ** -8, `kahan ${kahan.mean().item()}, exact ${exact}`);
    const stochastic = run("stochastic", "bfloat16");
    assert.ok(
      Math.abs(stochastic.mean().item() - exact) < 0.1 * (1 - exact),
      `stochastic ${stochastic.mean().item()}, exact ${exact}`,
    );
    assert.ok(stochastic.std().item() > 1e-4, "weights take different ways");
  });

  for (const rounding of ["kahan", "stochastic"] as const) {
    test(`${name}, ${rounding}: goes on from a state dict bit for bit, state in 16 bits`, () => {
      const make2 = (): { params: Tensor[]; optimizer: optim.Optimizer } => {
        manualSeed(2);
        const params = [
          new nn.Parameter(randn([33]).bfloat16()),
          new nn.Parameter(randn([4, 5]).bfloat16()),
          new nn.Parameter(randn([7]).half()),
          new nn.Parameter(randn([3])),
        ];
        return { params, optimizer: make(params, rounding) };
      };
      const step = ({ params, optimizer }: ReturnType<typeof make2>, i: number): void =>
        scope(() => {
          manualSeed(100 + i);
          params.forEach((p, k) => (p.grad = i === 1 && k === 1 ? null : randn([...p.shape]).to(p.dtype)));
          optimizer.step();
        });
      const through = make2();
      for (let i = 0; i < 6; i++) step(through, i);
      const first = make2();
      for (let i = 0; i < 3; i++) step(first, i);
      const second = make2();
      // Options of groups survive JSON.
      second.optimizer.loadStateDict(
        JSON.parse(JSON.stringify({ ...first.optimizer.stateDict(), state: {} })) as Record<string, unknown>,
      );
      second.optimizer.loadStateDict(first.optimizer.stateDict());
      second.params.forEach((p, k) => p.detach().copy_(first.params[k]?.detach() as Tensor));
      for (let i = 3; i < 6; i++) step(second, i);
      through.params.forEach((p, k) => assert.ok(p.equal(second.params[k] as Tensor), `parameter ${k}`));
      for (const [p, state] of through.optimizer.state) {
        for (const [key, value] of Object.entries(state))
          if (torch.isTensor(value) && key !== "step") assert.equal(value.dtype, p.dtype, key);
        assert.equal("compensation" in state, rounding === "kahan" && p.dtype !== "float32");
      }
    });

    test(`${name}, ${rounding}: float32 parameters step as ever`, () => {
      manualSeed(3);
      const start = randn([16]);
      const [a, b] = [new nn.Parameter(start.clone()), new nn.Parameter(start.clone())];
      const optimizers = [make([a], "nearest"), make([b], rounding)];
      for (let i = 0; i < 3; i++) {
        a.grad = b.grad = randn([16]);
        for (const o of optimizers) o.step();
      }
      assert.ok(a.equal(b));
    });

    test(`${name}, ${rounding}: steps leave no tensors behind`, () => {
      const p = near1("bfloat16", 64);
      const optimizer = make([p], rounding);
      const step = (): void =>
        scope(() => {
          p.grad = full([64], 1, { dtype: "bfloat16" });
          optimizer.step();
        });
      step();
      step();
      const before = memory().unreleased;
      for (let i = 0; i < 3; i++) step();
      assert.ok(memory().unreleased <= before, `${memory().unreleased} tensors, ${before} before`); // fewer: what earlier tests left outside scopes was collected
    });
  }
}

test("Kahan equals its plain reference: parameter and compensation together are the sum in float32", () => {
  manualSeed(4);
  const p = new nn.Parameter(randn([257]).bfloat16());
  const optimizer = new optim.SGD([p], { lr: 0.01, rounding: "kahan" });
  let [value, residual] = [p.detach().clone(), full([257], 0, { dtype: "bfloat16" })];
  for (let i = 0; i < 20; i++) {
    const grad = randn([257]).bfloat16();
    p.grad = grad;
    optimizer.step();
    const sum = value.float().add(residual.float()).sub(grad.float().mul(0.01));
    value = sum.bfloat16();
    residual = sum.sub(value.float()).bfloat16();
    assert.ok(p.equal(value), `step ${i}`);
  }
});

test("parameters beyond one chunk are stepped in several, with the same result", () => {
  manualSeed(5);
  const make = (n: number): Tensor => new nn.Parameter(full([n], 1, { dtype: "bfloat16" }));
  const params = [make(3_000_000), make(2_000_000), make(10)];
  const optimizer = new optim.SGD(params, { lr: 1e-3, rounding: "kahan" });
  for (const p of params) p.grad = full([...p.shape], 1, { dtype: "bfloat16" });
  for (let i = 0; i < 3; i++) optimizer.step();
  for (const p of params) {
    assert.deepEqual([p.min().item(), p.max().item()], [0.99609375, 0.99609375]);
    const residual = optimizer.state.get(p)?.["compensation"];
    assert.ok(torch.isTensor(residual) && Math.abs(residual.float().max().item() - (0.997 - 0.99609375)) < 1e-5);
  }
});

test("stochastic rounding: the mean over all random bits is the number itself", () => {
  const bits = arange(0, 65536, { dtype: "int32" });
  const mean = (x: number, dtype: DType): number =>
    scope(() =>
      roundStochastically(full([65536], x, { dtype: "float32" }), dtype, bits)
        .double()
        .mean()
        .item(),
    );
  for (const x of [1.001, -1.001, 3.14159, 1e-3, -123.456, 6.5e4]) {
    const value = Math.fround(x);
    assert.equal(mean(x, "bfloat16"), value, `bfloat16 ${x}`);
    assert.ok(Math.abs(mean(x, "float16") - value) <= 2 ** -24 * Math.abs(value), `float16 ${x}`);
  }
  for (const x of [1e-6, -3e-7, 2e-8, 6e-5])
    assert.ok(Math.abs(mean(x, "float16") - Math.fround(x)) < 2 ** -24 / 8192, `float16 ${x}`);
  const exact = tensor([0, 1, -2.5, 0.0078125, Infinity, -Infinity, NaN]);
  for (const dtype of ["bfloat16", "float16"] as const)
    for (const b of [0, 1, 40000, 65535])
      assert.deepEqual(
        roundStochastically(exact, dtype, full([7], b, { dtype: "int32" }))
          .float()
          .tolist(),
        exact.tolist(),
      );
});

test("stochastic rounding has a random stream of its own, repeatable by seed, group and step", () => {
  const run = (options: { roundingSeed?: number }, seed: number): unknown => {
    manualSeed(seed);
    const [p, q] = [near1("bfloat16", 256), near1("bfloat16", 256)];
    const optimizer = new optim.SGD([{ params: [p] }, { params: [q] }], {
      lr: 1e-3,
      rounding: "stochastic",
      ...options,
    });
    const before = torch.defaultGenerator.getState();
    p.grad = q.grad = full([256], 1, { dtype: "bfloat16" });
    optimizer.step();
    assert.ok(torch.defaultGenerator.getState().equal(before), "no other stream is disturbed");
    assert.notDeepEqual(p.tolist(), q.tolist());
    const first = p.tolist();
    p.detach().fill_(1);
    optimizer.step();
    assert.notDeepEqual(p.tolist(), first);
    return first;
  };
  assert.deepEqual(run({}, 6), run({}, 6));
  assert.notDeepEqual(run({}, 6), run({}, 7));
  assert.deepEqual(run({ roundingSeed: 9 }, 6), run({ roundingSeed: 9 }, 7));
});

test("wrong options are refused", () => {
  const p = near1("bfloat16", 4);
  const Any = optim.SGD as new (params: Tensor[], options: object) => optim.SGD;
  assert.throws(
    () => new Any([p], { rounding: "up" }),
    /^ArgumentError: SGD: expected rounding to be "nearest", "kahan" or "stochastic"\. Received: "up"\.$/,
  );
  assert.throws(
    () => new optim.AdamW([p], { rounding: "stochastic", roundingSeed: -1 }),
    /AdamW: expected roundingSeed to be a whole number ≥ 0\. Received: -1/,
  );
  assert.equal(new optim.AdamW([p], { fused: true }).supportsAmpScaling, true);
  assert.equal(new optim.AdamW([p], { fused: true, rounding: "kahan" }).supportsAmpScaling, false);
  assert.ok(
    !("rounding" in (new optim.AdamW([p]).stateDict().paramGroups[0] ?? {})),
    "off by default, and not in state dicts then",
  );
});
