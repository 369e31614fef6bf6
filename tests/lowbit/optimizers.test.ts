/** What low-bit optimizers compute: against their 32-bit forms, PyTorch, and the plain reference. */
import assert from "node:assert/strict";
import { test } from "node:test";
import * as lowbit from "@nbit/lowbit";
import { dequantizeBlockwise, FAMILIES, LowBitOptimizer, type FormatName } from "@nbit/lowbit";
import { nn, optim, randn, scope, seedEverything, tensor, type Tensor } from "@nbit/torch";
import { type Make, parameter } from "./parameters.js";

/** Mean difference of parameters after some steps from the same start over the same gradients. */
function compare(
  a: Make,
  b: Make,
  shape: readonly number[],
  steps: number,
  dtype: "float32" | "bfloat16" | "float16" = "float32",
): { absolute: number; relative: number } {
  return scope(() => {
    seedEverything(0);
    const p1 = new nn.Parameter(
      randn([...shape])
        .mul(0.1)
        .to(dtype),
    );
    const p2 = new nn.Parameter(p1.detach().clone());
    const [o1, o2] = [a([p1]), b([p2])];
    for (let i = 0; i < steps; i++)
      scope(() => {
        const g = randn([...shape])
          .mul(0.01)
          .to(dtype);
        p1.grad = g.clone();
        p2.grad = g.clone();
        o1.step();
        o2.step();
      });
    const d = p1.detach().float().sub(p2.detach().float()).abs();
    return { absolute: d.mean().item(), relative: d.div(p2.detach().float().abs().add(1e-9)).mean().item() };
  });
}

test("the 32-bit forms are PyTorch's where it has them", () => {
  const close = (a: Make, b: Make): void => {
    const { absolute } = compare(a, b, [64, 70], 20);
    assert.ok(absolute < 1e-6, `${absolute}`);
  };
  close(
    (p) => new lowbit.Adam32bit(p, { lr: 2e-3, weightDecay: 0.1, betas: [0.8, 0.95] }),
    (p) => new optim.Adam(p, { lr: 2e-3, weightDecay: 0.1, betas: [0.8, 0.95] }),
  );
  close(
    (p) => new lowbit.AdamW32bit(p, { lr: 2e-3, weightDecay: 0.1 }),
    (p) => new optim.AdamW(p, { lr: 2e-3, weightDecay: 0.1 }),
  );
  close(
    (p) => new lowbit.SGD32bit(p, { lr: 0.1, momentum: 0.8, weightDecay: 0.1, nesterov: true }),
    (p) => new optim.SGD(p, { lr: 0.1, momentum: 0.8, weightDecay: 0.1, nesterov: true }),
  );
});

const PAIRS: readonly (readonly [string, Make, Make, number])[] = [
  [
    "AdamW",
    (p) => new lowbit.AdamW8bit(p, { weightDecay: 0.1 }),
    (p) => new lowbit.AdamW32bit(p, { weightDecay: 0.1 }),
    1e-4,
  ],
  [
    "Lion",
    (p) => new lowbit.Lion8bit(p, { weightDecay: 0.1 }),
    (p) => new lowbit.Lion32bit(p, { weightDecay: 0.1 }),
    6e-4,
  ],
  [
    "SGD",
    (p) => new lowbit.SGD8bit(p, { weightDecay: 0.1, nesterov: true }),
    (p) => new lowbit.SGD32bit(p, { weightDecay: 0.1, nesterov: true }),
    1e-3,
  ],
  [
    "RMSprop",
    (p) => new lowbit.RMSprop8bit(p, { lr: 1e-3, weightDecay: 0.1 }),
    (p) => new lowbit.RMSprop32bit(p, { lr: 1e-3, weightDecay: 0.1 }),
    1e-3,
  ],
  [
    "Adagrad",
    (p) => new lowbit.Adagrad8bit(p, { lr: 1e-3, weightDecay: 0.1 }),
    (p) => new lowbit.Adagrad32bit(p, { lr: 1e-3, weightDecay: 0.1 }),
    1e-3,
  ],
  [
    "LAMB",
    (p) => new lowbit.LAMB8bit(p, { weightDecay: 0.1 }),
    (p) => new lowbit.LAMB32bit(p, { weightDecay: 0.1 }),
    1e-4,
  ],
  [
    "LARS",
    (p) => new lowbit.LARS8bit(p, { weightDecay: 0.1 }),
    (p) => new lowbit.LARS32bit(p, { weightDecay: 0.1 }),
    1e-4,
  ],
  [
    "AdEMAMix",
    (p) => new lowbit.AdEMAMix8bit(p, { weightDecay: 0.1 }),
    (p) => new lowbit.AdEMAMix32bit(p, { weightDecay: 0.1 }),
    3e-4,
  ],
];
for (const [name, low, full, limit] of PAIRS)
  test(`${name}8bit follows ${name}32bit at a decay that is not zero, with a ragged block`, () => {
    const { absolute } = compare(low, full, [17, 301], 30);
    assert.ok(absolute < limit, `mean |Δp| ${absolute}`);
    assert.ok(compare(low, full, [17, 301], 20, "bfloat16").absolute < 4 * limit + 1e-3);
  });

const families = Object.keys(FAMILIES) as (keyof typeof FAMILIES)[];
test("the fused step equals the reference step: every family, every format, every dtype", () => {
  const own: Partial<Record<keyof typeof FAMILIES, object>> = {
    momentum: { nesterov: true },
    lars: { nesterov: true },
    lamb: { maxUnorm: 5 },
  };
  const make =
    (family: keyof typeof FAMILIES, format: FormatName | null, fused: boolean): Make =>
    (p) => {
      const made = new LowBitOptimizer(p, family, format, { weightDecay: 0.05, ...own[family] });
      if (!fused) Object.defineProperty(made, "family", { value: { ...made.family, fused: null } });
      return made;
    };
  for (const family of families)
    for (const format of ["dynamic8", "linear8", "moments4", "float8", null] as const)
      for (const dtype of ["float32", "bfloat16", "float16"] as const) {
        const { absolute, relative } = compare(
          make(family, format, true),
          make(family, format, false),
          [50, 201],
          3,
          dtype,
        );
        // A rounding that falls the other way moves one 4-bit code; in 16 bits, the last bit of a parameter. Lion's
        // step is a sign.
        const limit = (format === "moments4" || format === "float8" ? 1e-5 : 1e-6) + (dtype === "float32" ? 0 : 2e-5);
        assert.ok(absolute < limit && relative < 1e-2, `${family} ${String(format)} ${dtype}: ${absolute} ${relative}`);
      }
});

test("optimizers with 4-bit and float8 state reduce the loss", () => {
  for (const make of [
    (p: Iterable<Tensor>) => new lowbit.Adam4bit(p),
    (p: Iterable<Tensor>) => new lowbit.AdamFp8(p),
  ]) {
    const { absolute } = compare(make, (p) => new lowbit.Adam32bit(p), [64, 128], 20);
    assert.ok(absolute < 3e-3, `${absolute}`);
  }
});

test("elements whose gradient is not finite keep parameter and state, in every family and format, fused and plain; their neighbours move", () => {
  for (const family of families)
    for (const format of ["dynamic8", "linear8", "moments4", "float8", null] as const)
      for (const fused of [true, false])
        scope(() => {
          seedEverything(6);
          const p = parameter(7, 90);
          const optimizer = new LowBitOptimizer([p], family, format, { min8bitSize: 1, weightDecay: 0.1 });
          if (!fused) Object.defineProperty(optimizer, "family", { value: { ...optimizer.family, fused: null } });
          const step = (bad: readonly number[]): void => {
            const g = randn([7, 90]).mul(0.01);
            bad.forEach(
              (value, i) =>
                void g
                  .select(0, 3)
                  .select(0, 10 + i)
                  .fill_(value),
            );
            p.grad = g;
            optimizer.step();
          };
          const states = (): Tensor[] => {
            const s = optimizer.state.get(p) ?? {};
            return optimizer.family.states.map((signed, i) => {
              const codes = s[`state${i + 1}`] as Tensor;
              if (format === null) return codes.clone();
              return dequantizeBlockwise(
                {
                  codes,
                  absmax: s[`absmax${i + 1}`] as Tensor,
                  shape: p.shape,
                  blockSize: format === "moments4" ? 128 : 256,
                },
                { format, signed },
              );
            });
          };
          step([]);
          step([]);
          const [weights, kept] = [p.detach().clone(), states()];
          step([NaN, Infinity, -Infinity]);
          const what = `${family} ${String(format)} ${fused ? "fused" : "plain"}`;
          const bad = (t: Tensor): Tensor => t.detach().select(0, 3).narrow(0, 10, 3);
          assert.ok(bad(p).equal(bad(weights)), `${what}: parameters`);
          assert.ok(
            p.detach().isfinite().all().item() && p.detach().ne(weights).sum().item() > 0.9 * 627,
            `${what}: the others move`,
          );
          states().forEach((state, i) => {
            const before = kept[i] as Tensor;
            const error = bad(state).sub(bad(before)).abs().max().item();
            // Codes of a block whose largest value has changed are made anew: to the nearest one.
            const most = format === null ? 0 : format === "moments4" ? 0.11 : format === "float8" ? 0.04 : 0.01;
            assert.ok(
              error <= most * Math.max(state.abs().max().item(), before.abs().max().item()),
              `${what}: state ${i + 1} off by ${error}`,
            );
            assert.ok(state.isfinite().all().item(), what);
          });
        });
});

test("a second moment that is not zero does not round to zero", () => {
  const step = (keepPositive: boolean): number => {
    const p = new nn.Parameter(tensor(new Float32Array(256)));
    const o = new lowbit.Adam8bit([p], { min8bitSize: 1, keepPositive, lr: 1e-3 });
    const g = new Float32Array(256).fill(1e-3);
    g[0] = 100;
    for (let i = 0; i < 3; i++) {
      p.grad = tensor(g);
      o.step();
      // From now on the small ones are zero: their first moment is still there, their second is what its code says.
      g.fill(0, 1);
    }
    return p.abs().max().item();
  };
  assert.ok(step(true) < 0.2, `${step(true)}`);
  assert.ok(step(false) > 2, `${step(false)}`);
});
