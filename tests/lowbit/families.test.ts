/**
 * Every family against PyTorch, or its paper in float64, at options that are not the defaults and with weight decay:
 * two forms of ours that agree could both be wrong.
 */
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import { fileURLToPath } from "node:url";
import * as lowbit from "@nbit/lowbit";
import type { LowBitOptimizer } from "@nbit/lowbit";
import { nn, scope, tensor, type Tensor } from "@nbit/torch";

interface Fixture {
  readonly shape: readonly number[];
  readonly start: readonly number[];
  readonly gradients: readonly (readonly number[])[];
  readonly ends: Readonly<Record<string, readonly number[]>>;
}
const fixture = JSON.parse(
  readFileSync(fileURLToPath(new URL("../../lowbit/fixtures/families.json", import.meta.url)), "utf8"),
) as Fixture;

const adam = { lr: 0.02, betas: [0.8, 0.95], eps: 1e-3, weightDecay: 0.1 } as const;
const decayed = { lr: 0.02, weightDecay: 0.1 } as const;
/** With float32 state, and in 8 bits. */
const FAMILIES: Readonly<
  Record<string, readonly [full: (p: Tensor) => LowBitOptimizer, low: (p: Tensor) => LowBitOptimizer]>
> = {
  Adam: [(p) => new lowbit.Adam32bit([p], adam), (p) => new lowbit.Adam8bit([p], { ...adam, min8bitSize: 1 })],
  AdamW: [(p) => new lowbit.AdamW32bit([p], adam), (p) => new lowbit.AdamW8bit([p], { ...adam, min8bitSize: 1 })],
  SGD: [
    (p) => new lowbit.SGD32bit([p], { ...decayed, momentum: 0.8, nesterov: true }),
    (p) => new lowbit.SGD8bit([p], { ...decayed, momentum: 0.8, nesterov: true, min8bitSize: 1 }),
  ],
  RMSprop: [
    (p) => new lowbit.RMSprop32bit([p], { ...decayed, betas: [0.8, 0], eps: 1e-3 }),
    (p) => new lowbit.RMSprop8bit([p], { ...decayed, betas: [0.8, 0], eps: 1e-3, min8bitSize: 1 }),
  ],
  Adagrad: [
    (p) => new lowbit.Adagrad32bit([p], { lr: 0.1, eps: 1e-3, weightDecay: 0.1 }),
    (p) => new lowbit.Adagrad8bit([p], { lr: 0.1, eps: 1e-3, weightDecay: 0.1, min8bitSize: 1 }),
  ],
  Lion: [
    (p) => new lowbit.Lion32bit([p], { ...decayed, betas: [0.8, 0.95] }),
    (p) => new lowbit.Lion8bit([p], { ...decayed, betas: [0.8, 0.95], min8bitSize: 1 }),
  ],
  LAMB: [
    (p) => new lowbit.LAMB32bit([p], { ...adam, lr: 0.05 }),
    (p) => new lowbit.LAMB8bit([p], { ...adam, lr: 0.05, min8bitSize: 1 }),
  ],
  LARS: [
    (p) => new lowbit.LARS32bit([p], { lr: 0.5, momentum: 0.8, weightDecay: 0.1, trustCoefficient: 0.02 }),
    (p) =>
      new lowbit.LARS8bit([p], { lr: 0.5, momentum: 0.8, weightDecay: 0.1, trustCoefficient: 0.02, min8bitSize: 1 }),
  ],
  AdEMAMix: [
    (p) => new lowbit.AdEMAMix32bit([p], { ...adam, beta3: 0.99, alpha: 3 }),
    (p) => new lowbit.AdEMAMix8bit([p], { ...adam, beta3: 0.99, alpha: 3, min8bitSize: 1 }),
  ],
};

test("the fixture has every family", () =>
  assert.deepEqual(Object.keys(fixture.ends).sort(), Object.keys(FAMILIES).sort()));

for (const [name, [full, low]] of Object.entries(FAMILIES))
  test(`${name} ends where PyTorch or its paper does; in 8 bits near it`, () => {
    const { start, shape, gradients, ends } = fixture;
    const of = (values: readonly number[]): Tensor => tensor([...values], { dtype: "float32" }).view([...shape]);
    scope(() => {
      const end = of(ends[name] ?? []);
      const moved = end.sub(of(start)).abs().mean().item();
      for (const [make, limit] of [
        [full, 1e-5],
        [low, 0.1],
      ] as const) {
        const p = new nn.Parameter(of(start));
        const optimizer = make(p);
        for (const g of gradients) {
          p.grad = of(g);
          optimizer.step();
        }
        const error = p.detach().sub(end).abs().mean().item();
        assert.ok(error < limit * moved, `mean |Δp| ${error} of ${moved} moved`);
        assert.ok(make === full || error > 1e-6 * moved, "8 bits leave a trace");
      }
    });
  });
