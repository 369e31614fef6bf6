/** 16-bit parameters that do not lose small updates, stepped by optimizers whose state is in few bits. */
import assert from "node:assert/strict";
import { test } from "node:test";
import {
  full,
  isTensor,
  manualSeed,
  memory,
  nn,
  packState,
  randn,
  scope,
  unpackState,
  type optim,
  type DType,
  type Tensor,
} from "@nbit/torch";
import * as lowbit from "./index.js";
import type { LowBitOptimizer } from "./index.js";

type Make = (params: Tensor[], rounding: optim.Rounding) => LowBitOptimizer;
const OPTIMIZERS: readonly (readonly [string, Make])[] = [
  ["AdamW8bit", (p, rounding) => new lowbit.AdamW8bit(p, { lr: 1e-3, weightDecay: 0, rounding })],
  ["SGD8bit", (p, rounding) => new lowbit.SGD8bit(p, { lr: 1e-3, momentum: 0, rounding })],
  ["Lion8bit", (p, rounding) => new lowbit.Lion8bit(p, { lr: 1e-3, rounding })],
  ["AdEMAMix8bit", (p, rounding) => new lowbit.AdEMAMix8bit(p, { lr: 1e-3, alpha: 0, weightDecay: 0, rounding })],
  ["Adam4bit", (p, rounding) => new lowbit.Adam4bit(p, { lr: 1e-3, rounding })],
  ["AdamFp8", (p, rounding) => new lowbit.AdamFp8(p, { lr: 1e-3, rounding })],
  ["AdamW32bit", (p, rounding) => new lowbit.AdamW32bit(p, { lr: 1e-3, weightDecay: 0, rounding })],
];
const ROUNDINGS = ["kahan", "stochastic"] as const;

for (const [name, make] of OPTIMIZERS) {
  test(`${name}: bfloat16 weights near 1 stall on updates of 1e-3; Kahan and stochastic rounding do not`, () => {
    const run = (rounding: optim.Rounding, dtype: DType): Tensor => {
      manualSeed(1);
      const p = new nn.Parameter(full([5000], 1, { dtype }));
      const optimizer = make([p], rounding);
      for (let i = 0; i < 30; i++)
        scope(() => {
          p.grad = full([5000], 1, { dtype });
          optimizer.step();
        });
      assert.equal(optimizer.state.get(p)?.["compensation"] !== undefined, rounding === "kahan" && dtype !== "float32");
      return p.detach().float();
    };
    const exact = run("nearest", "float32").mean().item();
    assert.ok(exact < 0.98 && exact > 0.9, `${exact}`);
    assert.equal(run("nearest", "bfloat16").min().item(), 1, "plain bfloat16 does not move");
    const kahan = run("kahan", "bfloat16").mean().item();
    assert.ok(Math.abs(kahan - exact) < 2 ** -8, `kahan ${kahan}, exact ${exact}`);
    const stochastic = run("stochastic", "bfloat16");
    assert.ok(
      Math.abs(stochastic.mean().item() - exact) < 0.1 * (1 - exact),
      `stochastic ${stochastic.mean().item()}, exact ${exact}`,
    );
    assert.ok(stochastic.std().item() > 1e-4, "weights take different ways");
  });

  for (const rounding of ROUNDINGS)
    test(`${name}, ${rounding}: goes on from a saved state bit for bit; float32 parameters step as ever; bytes are as forecast`, () => {
      interface Run {
        readonly params: Tensor[];
        readonly optimizer: LowBitOptimizer;
      }
      const start = (how: optim.Rounding = rounding): Run => {
        manualSeed(2);
        const params = [[64, 80], [33], [70, 64]].map(
          (shape, k) => new nn.Parameter(randn(shape).to(k === 2 ? "float16" : "bfloat16")),
        );
        params.push(new nn.Parameter(randn([4100])));
        return { params, optimizer: make(params, how) };
      };
      const step = ({ params, optimizer }: Run, i: number): void =>
        scope(() => {
          manualSeed(100 + i);
          for (const p of params) p.grad = randn([...p.shape]).to(p.dtype);
          optimizer.step();
        });
      const through = start();
      const plain = start("nearest");
      for (let i = 0; i < 6; i++) step(through, i);
      for (let i = 0; i < 6; i++) step(plain, i);
      const first = start();
      for (let i = 0; i < 3; i++) step(first, i);
      const second = start();
      second.optimizer.loadStateDict(
        unpackState(packState({ ...first.optimizer.stateDict() })) as Record<string, unknown>,
      );
      second.params.forEach((p, k) => p.detach().copy_(first.params[k]?.detach() as Tensor));
      for (let i = 3; i < 6; i++) step(second, i);
      through.params.forEach((p, k) => assert.ok(p.equal(second.params[k] as Tensor), `parameter ${k}`));
      assert.ok((through.params[3] as Tensor).equal(plain.params[3] as Tensor), "float32 as ever");
      assert.ok(!(through.params[0] as Tensor).equal(plain.params[0] as Tensor));
      for (const p of through.params) {
        const a = through.optimizer.state.get(p) ?? {};
        const b = second.optimizer.state.get(second.params[through.params.indexOf(p)] as Tensor) ?? {};
        for (const [key, value] of Object.entries(a)) {
          if (isTensor(value))
            assert.ok(isTensor(b[key]) && value.dtype === b[key].dtype && value.float().equal(b[key].float()), key);
          else assert.equal(b[key], value, key);
        }
      }
      const expected = through.params.reduce((sum, p) => sum + through.optimizer.expectedStateBytes(p), 0);
      assert.equal(through.optimizer.stateBytes(), expected);
    });
}

test("overrides hold under rounding, and steps leave no tensors behind", async () => {
  for (const rounding of ROUNDINGS) {
    const [low, wide] = [0, 1].map(() => new nn.Parameter(full([80, 80], 1, { dtype: "bfloat16" }))) as [
      Tensor,
      Tensor,
    ];
    lowbit.keep32bit(wide);
    const optimizer = new lowbit.Adam8bit([low, wide], { rounding });
    const step = (): void =>
      scope(() => {
        for (const p of [low, wide]) p.grad = randn([80, 80]).bfloat16();
        optimizer.step();
        low.grad = wide.grad = null;
      });
    step();
    assert.deepEqual(
      [low, wide].map((p) => (optimizer.state.get(p)?.["state1"] as Tensor).dtype),
      ["uint8", "float32"],
    );
    const before = memory().unreleased;
    for (let i = 0; i < 3; i++) step();
    assert.equal(memory().unreleased, before, rounding);
  }
});

test("an unknown rounding is refused", () => {
  const p = [new nn.Parameter(full([4], 1))];
  assert.throws(
    () => new lowbit.Adam8bit(p, { rounding: "up" as optim.Rounding }),
    /Adam8bit: expected rounding to be "nearest", "kahan" or "stochastic"/,
  );
  assert.throws(
    () => new lowbit.Adam8bit(p, { rounding: "stochastic", roundingSeed: -1 }),
    /roundingSeed to be a whole number ≥ 0/,
  );
});
