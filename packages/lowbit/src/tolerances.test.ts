/**
 * How far a step with 8-bit state lies from one with float32 state, at p = 0.1 · randn and g = 0.01 · randn, over 50
 * steps.
 *
 * As bitsandbytes tests it: parameters and state of the float32 form are set to the 8-bit form's after every step;
 * means over all elements. And harder: the float32 form keeps a state of its own all the way, so that what quantization
 * does to the state adds up.
 */
import assert from "node:assert/strict";
import { test } from "node:test";
import {
  empty,
  keep,
  nn,
  randn,
  scope,
  seedEverything,
  setNumThreads,
  zeros,
  type DType,
  type Tensor,
} from "@nbit/torch";
import * as lowbit from "./index.js";
import type { LowBitOptimizer } from "./index.js";

setNumThreads(1); // the same work on any machine
type Make = (p: Tensor) => LowBitOptimizer;
interface Limits {
  readonly absolute: number;
  readonly relative: number;
}
/** bitsandbytes' limits. */
const LIMITS: Readonly<Record<"float32" | "bfloat16" | "float16", Limits>> = {
  float32: { absolute: 6e-5, relative: 6e-4 },
  float16: { absolute: 6e-5, relative: 6e-4 },
  bfloat16: { absolute: 1.7e-4, relative: 1.6e-3 },
};

/** Every family with its default options; RMSprop with those that bitsandbytes tests it with. */
const FAMILIES: readonly (readonly [name: string, low: Make, full: Make])[] = [
  ["Adam", (p) => new lowbit.Adam8bit([p]), (p) => new lowbit.Adam32bit([p])],
  ["AdamW", (p) => new lowbit.AdamW8bit([p]), (p) => new lowbit.AdamW32bit([p])],
  ["Lion", (p) => new lowbit.Lion8bit([p]), (p) => new lowbit.Lion32bit([p])],
  ["SGD", (p) => new lowbit.SGD8bit([p]), (p) => new lowbit.SGD32bit([p])],
  [
    "RMSprop",
    (p) => new lowbit.RMSprop8bit([p], { lr: 1e-2, betas: [0.9, 0] }),
    (p) => new lowbit.RMSprop32bit([p], { lr: 1e-2, betas: [0.9, 0] }),
  ],
  ["Adagrad", (p) => new lowbit.Adagrad8bit([p]), (p) => new lowbit.Adagrad32bit([p])],
  ["LAMB", (p) => new lowbit.LAMB8bit([p]), (p) => new lowbit.LAMB32bit([p])],
  ["LARS", (p) => new lowbit.LARS8bit([p]), (p) => new lowbit.LARS32bit([p])],
  ["AdEMAMix", (p) => new lowbit.AdEMAMix8bit([p]), (p) => new lowbit.AdEMAMix32bit([p])],
];
const STEPS = 50;
const STRIDE = 61;
seedEverything(0);
/**
 * Parameters and gradients are windows of one stretch of random numbers: drawing four million for each step would take
 * longer than all else.
 */
const NUMBERS = keep(randn([1024 * 4097 + STEPS * STRIDE]));
const GRADIENTS = keep(NUMBERS.mul(0.01));
const start = (width: number, dtype: DType): Tensor =>
  NUMBERS.narrow(0, 0, 1024 * width)
    .view([1024, width])
    .mul(0.1)
    .to(dtype);

interface Difference {
  absolute: number;
  relative: number;
  /** Mean |Δp| of a step of the float32 form. */
  moved: number;
}
/** `from`: relative errors count elements of at least this magnitude. */
function difference(low: Tensor, full: Tensor, before: Tensor, from: number): Difference {
  const error = low.detach().float().sub(full.detach()).abs();
  const size = full.detach().abs();
  const counted = size.ge(from);
  const relative = error.div(size.add(1e-9)).where(counted, zeros([])).sum().item() / counted.sum().item();
  return { absolute: error.mean().item(), relative, moved: full.detach().sub(before).abs().mean().item() };
}
function steps(count: number, width: number, dtype: DType, run: (step: number, g: Tensor) => void): void {
  for (let step = 1; step <= count; step++)
    scope(() =>
      run(
        step,
        GRADIENTS.narrow(0, step * STRIDE, 1024 * width)
          .view([1024, width])
          .to(dtype),
      ),
    );
}

interface LikeUpstream {
  /** The worst of the steps compared. */
  readonly worst: Difference;
  /** The largest error of a state, in largest values of its blocks. */
  readonly state: number;
}
/**
 * bitsandbytes' way. As both sides are equal before every step, the float32 form only has to make the steps that are
 * compared.
 */
function likeUpstream(
  low: Make,
  full: Make,
  width: number,
  dtype: DType,
  count: number,
  compared: (step: number) => boolean,
): LikeUpstream {
  return scope(() => {
    const p = new nn.Parameter(start(width, dtype));
    const q = new nn.Parameter(p.detach().float().clone());
    const [a, b] = [low(p), full(q)];
    const worst: Difference = { absolute: 0, relative: 0, moved: 0 };
    let state = 0;
    steps(count, width, dtype, (step, g) => {
      p.grad = g;
      if (!compared(step)) return void a.step();
      const before = p.detach().clone().float();
      q.detach().copy_(before);
      q.grad = g.float();
      if (step > 1) b.loadStateDict({ ...a.stateDict(), paramGroups: b.stateDict().paramGroups });
      a.step();
      b.step();
      const found = difference(p, q, before, 0);
      for (const key of ["absolute", "relative", "moved"] as const) worst[key] = Math.max(worst[key], found[key]);
      const [kept, exact] = [a.state.get(p) ?? {}, b.state.get(q) ?? {}];
      a.family.states.forEach((signed, i) => {
        const absmax = kept[`absmax${i + 1}`] as Tensor;
        const value = lowbit.dequantizeBlockwise(
          { codes: kept[`state${i + 1}`] as Tensor, absmax, shape: p.shape, blockSize: 256 },
          { signed },
        );
        state = Math.max(
          state,
          value
            .sub(exact[`state${i + 1}`] as Tensor)
            .abs()
            .max()
            .item() / absmax.max().item(),
        );
      });
    });
    return { worst, state };
  });
}

/**
 * Parameters set equal after every step, states never. Relative errors count elements from 1e-3 on (99 in 100): the
 * mean of 1 / |p| over normal numbers does not exist, a sample of it is what the smallest number makes it.
 */
function apart(low: Make, full: Make): Difference {
  return scope(() => {
    const p = new nn.Parameter(start(32, "float32"));
    const q = new nn.Parameter(p.detach().clone());
    const [a, b] = [low(p), full(q)];
    const mean: Difference = { absolute: 0, relative: 0, moved: 0 };
    steps(STEPS, 32, "float32", (_, g) => {
      p.grad = q.grad = g;
      const before = q.detach().clone();
      a.step();
      b.step();
      const found = difference(p, q, before, 1e-3);
      for (const key of ["absolute", "relative", "moved"] as const) mean[key] += found[key] / STEPS;
      q.detach().copy_(p.detach());
    });
    return mean;
  });
}

function within({ absolute, relative, moved }: Difference, limits: Limits, what: string): void {
  assert.ok(moved > 0 && absolute < limits.absolute, `${what}: mean |Δp| ${absolute} after a step of ${moved}`);
  assert.ok(relative < limits.relative, `${what}: mean relative ${relative}`);
}
/** Half of the widest gap between neighbouring values of a dynamic map, which is signed and in its uppermost decade. */
const HALF_GAP = 0.9 / 64 / 2;

for (const [name, low, full] of FAMILIES) {
  for (const dtype of ["float32", "bfloat16", "float16"] as const)
    test(`${name}8bit, ${dtype}: 1024 × 32, 1024, 4097, as bitsandbytes tests it`, () => {
      // Both sides are equal before every step, so that a wide run compared now and then, or cut short, for time,
      // leaves nothing out that the narrow one does not see.
      const wide = dtype === "float32" ? STEPS : 8;
      const widest = dtype === "float32" ? STEPS : 2;
      const runs: readonly (readonly [width: number, count: number, compared: (step: number) => boolean])[] = [
        [32, STEPS, () => true],
        [1024, wide, (step) => step === 2 || step === 25 || step === wide],
        [4097, widest, (step) => step === widest],
      ];
      for (const [width, count, compared] of runs) {
        const what = `${dtype}, 1024 × ${width}`;
        const { worst, state } = likeUpstream(low, full, width, dtype, count, compared);
        within(worst, LIMITS[dtype], what);
        // The step is made from state before it is quantized, so that nothing of the quantization is in it yet.
        if (dtype === "float32") assert.ok(worst.absolute < 1e-7, `${what}: ${worst.absolute}`);
        assert.ok(
          state < 1.01 * HALF_GAP && state > 0.1 * HALF_GAP,
          `${what}: a state off by ${state} of its block's largest`,
        );
      }
    });
  test(`${name}8bit and ${name}32bit with states of their own for 50 steps: 1024 × 32 in float32`, () => {
    const found = apart(low, full);
    // g / √v without a mean of g at lr 1e-2 moves by 1e-2 in a step, forty times as far as Adam. Of such a step the
    // error is the smallest share of all, but of a parameter of 0.1 it is larger.
    within(found, name === "RMSprop" ? { ...LIMITS.float32, relative: 1.3e-3 } : LIMITS.float32, "apart");
    const share = found.absolute / found.moved;
    const most = name === "RMSprop" || name === "Adagrad" ? 0.006 : 0.025;
    assert.ok(share > 0.001 && share < most, `an error of ${share} of a step: 8 bits leave a trace, but a small one`);
  });
  test(`${name}8bit: rows without gradient stay as they are to the bit, beside rows in the same block that move`, () => {
    scope(() => {
      seedEverything(1);
      const start = randn([40, 300]).mul(0.1);
      const p = new nn.Parameter(start.clone());
      const optimizer = low(p);
      for (const group of optimizer.paramGroups) group["weightDecay"] = 0;
      for (let i = 0; i < 5; i++)
        scope(() => {
          const g = randn([40, 300]).mul(0.01);
          g.slice(0, 10, 20).zero_();
          g.slice(0, 39, 40).zero_();
          p.grad = g;
          optimizer.step();
        });
      const moved = p.detach().ne(start).sum([1]).tolist() as number[];
      moved.forEach((count, row) =>
        assert.ok((row >= 10 && row < 20) || row === 39 ? count === 0 : count > 200, `row ${row}: ${count} moved`),
      );
    });
  });
}

test("sizes beyond 2³¹ elements are counted exactly", () => {
  const n = 2 ** 31 + 300;
  const p = new nn.Parameter(empty([n], { dtype: "bfloat16", device: "meta" }));
  const blocks = 2 ** 23 + 2;
  const optimizer = new lowbit.AdamW8bit([p]);
  assert.ok(optimizer.isLowBit(p));
  assert.equal(optimizer.expectedStateBytes(p), 2 * (n + 4 * blocks));
  assert.equal(new lowbit.Adam4bit([p]).expectedStateBytes(p), 2 * (n / 2 + 4 * Math.ceil(n / 128)));
  assert.equal(new lowbit.AdEMAMix32bit([p]).expectedStateBytes(p), 12 * n);
});
