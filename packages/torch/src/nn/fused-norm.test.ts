import assert from "node:assert/strict";
import { test } from "node:test";
import { autocast, grad, memory, nn, randn, scope, seedEverything, type DType, type Tensor } from "../index.js";

const { addLayerNorm, addRmsNorm } = nn.functional;

/** The largest |a - b|, in float64. */
const apart = (a: Tensor, b: Tensor): number =>
  a.detach().to("float64").sub(b.detach().to("float64")).abs().max().item();

interface Case {
  readonly x: DType;
  readonly residual: DType | null;
  readonly rms: boolean;
  readonly weights: boolean;
}
const CASES: readonly Case[] = [
  { x: "float32", residual: "bfloat16", rms: false, weights: true },
  { x: "float32", residual: "float32", rms: true, weights: true },
  { x: "bfloat16", residual: "float32", rms: false, weights: true },
  { x: "float16", residual: "float16", rms: true, weights: true },
  { x: "float64", residual: "float64", rms: false, weights: true },
  { x: "float64", residual: null, rms: true, weights: true },
  { x: "float32", residual: null, rms: false, weights: false },
];

for (const c of CASES)
  test(`the fused operator equals its reference, forward and backward: ${c.x} + ${c.residual ?? "nothing"}${c.rms ? ", RMS" : ""}${c.weights ? "" : ", no weights"}`, () =>
    scope(() => {
      seedEverything(5);
      const wide: DType = c.x === "float64" ? "float64" : "float32";
      const leaf = (shape: number[], dtype: DType): Tensor => randn(shape).to(dtype).requiresGrad_();
      const x = leaf([3, 5, 12], c.x);
      const residual = c.residual === null ? null : leaf([3, 5, 12], c.residual);
      const weight = c.weights ? leaf([12], wide) : null;
      const bias = c.weights && !c.rms ? leaf([12], wide) : null;
      const along = [randn([3, 5, 12]), randn([3, 5, 12])] as const;
      const run = (path: "kernel" | "reference"): Tensor[] => {
        const [sum, normed] = c.rms
          ? addRmsNorm(x, residual, [12], weight, { path })
          : addLayerNorm(x, residual, [12], weight, bias, { path });
        const inputs = [x, residual, weight, bias].filter((t): t is Tensor => t !== null);
        const loss = sum
          .to(wide)
          .mul(along[0].to(wide))
          .sum()
          .add(normed.to(wide).mul(along[1].to(wide)).sum());
        return [sum, normed, ...grad(loss, inputs).map((g) => g as Tensor)];
      };
      const [fused, plain] = [run("kernel"), run("reference")];
      assert.equal(fused.length, plain.length);
      const tolerance = wide === "float64" ? 1e-12 : c.x === "float32" && c.residual !== "bfloat16" ? 1e-5 : 6e-2;
      fused.forEach((t, i) => {
        const other = plain[i] as Tensor;
        assert.equal(t.dtype, other.dtype);
        assert.deepEqual(t.shape, other.shape);
        assert.ok(apart(t, other) <= tolerance, `${i}: ${apart(t, other)}`);
      });
      // What 16 bits hide above is exact where nothing is rounded: the outputs themselves.
      assert.equal(apart(fused[0] as Tensor, plain[0] as Tensor), 0);
    }));

test("gradients agree with finite differences, and so do second ones", () =>
  scope(() => {
    seedEverything(6);
    const x = randn([2, 7], { dtype: "float64" }).requiresGrad_();
    const residual = randn([2, 7], { dtype: "float64" }).requiresGrad_();
    const weight = randn([7], { dtype: "float64" }).requiresGrad_();
    const bias = randn([7], { dtype: "float64" }).requiresGrad_();
    const inputs = [x, residual, weight, bias];
    const a = randn([2, 7], { dtype: "float64" });
    const loss = (): Tensor => {
      const [sum, normed] = addLayerNorm(x, residual, [7], weight, bias, { path: "kernel" });
      return normed.mul(a).pow(2).sum().add(sum.pow(3).sum());
    };
    const slope = (of: () => Tensor, t: Tensor, i: number): number => {
      const at = t.detach().view([-1]).select(0, i);
      const h = 1e-5;
      const before = at.item();
      const value = (v: number): number => {
        at.fill_(v);
        return of().item();
      };
      const result = (value(before + h) - value(before - h)) / (2 * h);
      at.fill_(before);
      return result;
    };
    const first = grad(loss(), inputs).map((g) => (g as Tensor).view([-1]).tolist() as number[]);
    inputs.forEach((t, k) =>
      first[k]?.forEach((g, i) =>
        assert.ok(Math.abs(g - slope(loss, t, i)) < 1e-5 * Math.max(1, Math.abs(g)), `input ${k}[${i}]: ${g}`),
      ),
    );
    // d/dt of Σ (dL/dx · c)
    const c = randn([2, 7], { dtype: "float64" });
    const directional = (): Tensor => (grad(loss(), [x], { createGraph: true })[0] as Tensor).mul(c).sum();
    const second = grad(directional(), inputs, { allowUnused: true });
    inputs.forEach((t, k) => {
      const values = (second[k] ?? t.detach().mul(0)).view([-1]).tolist() as number[];
      values.forEach((g, i) =>
        assert.ok(
          Math.abs(g - slope(directional, t, i)) < 1e-4 * Math.max(1, Math.abs(g)),
          `second, input ${k}[${i}]: ${g}`,
        ),
      );
    });
  }));

test("under autocast the stream stays float32 and the normalised output is what the next matrix product would round to", () =>
  scope(() => {
    seedEverything(7);
    const x = randn([4, 16]);
    const branch = randn([4, 16]).to("bfloat16");
    const norm = new nn.LayerNorm(16);
    const next = new nn.Linear(16, 8);
    autocast({ dtype: "bfloat16" }, () => {
      for (const path of ["kernel", "reference"] as const) {
        const [sum, normed] = norm.addTo(x, branch, { path });
        assert.equal(sum.dtype, "float32");
        assert.equal(normed.dtype, "bfloat16");
        assert.ok(apart(next.forward(normed), next.forward(norm.forward(x.add(branch)))) <= 2 ** -7);
      }
      assert.equal(norm.addTo(x, branch, { dtype: "float32" })[1].dtype, "float32");
    });
    assert.equal(norm.addTo(x, null)[0], x);
    const rms = new nn.RMSNorm(16);
    assert.ok(apart(rms.addTo(x, x)[1], rms.forward(x.add(x))) < 1e-6);
  }));

test("an unused output gives no gradient; two equal steps leave equally many tensors", () => {
  const norm = new nn.LayerNorm(8);
  const x = randn([2, 8]).requiresGrad_();
  const r = randn([2, 8]).requiresGrad_();
  const step = (): void =>
    scope(() => {
      const [sum] = norm.addTo(x, r, { path: "kernel" });
      sum.sum().backward();
      norm.addTo(x, r, { path: "kernel" })[1].sum().backward();
    });
  step();
  const before = memory().unreleased;
  step();
  assert.equal(memory().unreleased, before);
  assert.ok(apart(x.grad as Tensor, r.grad as Tensor) === 0);
  assert.equal((r.grad as Tensor).size(0), 2);
});

test("errors name the argument", () => {
  const x = randn([2, 8]);
  assert.throws(() => addLayerNorm(x, randn([8]), [8]), {
    code: "ERR_ARGUMENT",
    message: /addLayerNorm: expected residual of x's shape \[2,8\]\. Received: Tensor/,
  });
  assert.throws(() => addLayerNorm(x, null, [7]), {
    code: "ERR_ARGUMENT",
    message: /expected normalizedShape to be the last dimensions of x/,
  });
  assert.throws(() => addRmsNorm(x, null, [8], randn([4])), {
    code: "ERR_ARGUMENT",
    message: /expected weight of shape \[8\]/,
  });
  assert.throws(() => addLayerNorm(x, null, [8], null, randn([8])), {
    code: "ERR_ARGUMENT",
    message: /a weight where there is a bias/,
  });
  assert.throws(() => addLayerNorm(x, null, [8], null, null, { eps: -1 }), { code: "ERR_ARGUMENT" });
});
