import assert from "node:assert/strict";
import { test } from "node:test";
import { autocast, grad, memory, nn, randn, scope, seedEverything, type DType, type Tensor } from "../index.js";

const { biasGelu, gelu } = nn.functional;
const apart = (a: Tensor, b: Tensor): number =>
  a.detach().to("float64").sub(b.detach().to("float64")).abs().max().item();

for (const dtype of ["float32", "bfloat16", "float16", "float64"] satisfies DType[])
  for (const approximate of ["none", "tanh"] as const)
    for (const hasBias of [true, false])
      test(`biasGelu: the operator equals its reference, forward and backward: ${dtype}, ${approximate}${hasBias ? "" : ", no bias"}`, () =>
        scope(() => {
          seedEverything(8);
          const wide: DType = dtype === "float64" ? "float64" : "float32";
          const x = randn([3, 5, 12]).to(dtype).requiresGrad_();
          const bias = hasBias ? randn([12]).to(wide).requiresGrad_() : null;
          const along = randn([3, 5, 12]).to(wide);
          const run = (path: "kernel" | "reference"): Tensor[] => {
            const y = biasGelu(x, bias, { path, approximate });
            return [y, ...grad(y.to(wide).mul(along).sum(), bias === null ? [x] : [x, bias])];
          };
          const [fused, plain] = [run("kernel"), run("reference")];
          const limit = { float64: 1e-14, float32: 2e-6, bfloat16: 0.1, float16: 1e-2 }[dtype];
          fused.forEach((t, i) => {
            assert.equal(t.dtype, (plain[i] as Tensor).dtype);
            assert.ok(apart(t, plain[i] as Tensor) <= limit, `${i}: ${apart(t, plain[i] as Tensor)}`);
          });
          assert.equal(apart(fused[0] as Tensor, plain[0] as Tensor), 0);
        }));

test("biasGelu: gradients agree with finite differences, and so do second ones", () =>
  scope(() => {
    seedEverything(9);
    const x = randn([2, 5], { dtype: "float64" }).requiresGrad_();
    const bias = randn([5], { dtype: "float64" }).requiresGrad_();
    const c = randn([2, 5], { dtype: "float64" });
    const loss = (): Tensor => biasGelu(x, bias, { path: "kernel" }).pow(2).sum();
    const directional = (): Tensor => (grad(loss(), [x], { createGraph: true })[0] as Tensor).mul(c).sum();
    for (const of of [loss, directional]) {
      const found = grad(of(), [x, bias]);
      [x, bias].forEach((t, k) => {
        const values = (found[k] as Tensor).view([-1]).tolist() as number[];
        values.forEach((g, i) => {
          const at = t.detach().view([-1]).select(0, i);
          const before = at.item();
          const value = (v: number): number => {
            at.fill_(v);
            return of().item();
          };
          const slope = (value(before + 1e-5) - value(before - 1e-5)) / 2e-5;
          at.fill_(before);
          assert.ok(Math.abs(g - slope) < 1e-4 * Math.max(1, Math.abs(g)), `${k}[${i}]: ${g} ${slope}`);
        });
      });
    }
  }));

test("biasGelu: a linear layer and GELU in two pieces, under autocast too", () => {
  seedEverything(10);
  const fc = new nn.Linear(16, 32);
  const x = randn([4, 16]);
  const two = (): Tensor => biasGelu(nn.functional.linear(x, fc.weight), fc.bias);
  scope(() => {
    assert.ok(apart(two(), gelu(fc.forward(x))) < 1e-6);
    const low = autocast({ dtype: "bfloat16" }, two);
    assert.equal(low.dtype, "bfloat16");
    assert.ok(apart(low, two()) < 2e-2);
  });
  const step = (): void =>
    scope(() => biasGelu(nn.functional.linear(x, fc.weight), fc.bias, { path: "kernel" }).sum().backward());
  step();
  const before = memory().unreleased;
  step();
  assert.equal(memory().unreleased, before);
});

test("biasGelu: errors name the argument", () => {
  assert.throws(() => biasGelu(randn([2, 8]), randn([7])), {
    code: "ERR_ARGUMENT",
    message: /biasGelu: expected bias of shape \[8\]\. Received: Tensor/,
  });
  assert.throws(() => biasGelu(randn([2, 8]), null, { approximate: "sigmoid" as "tanh" }), { code: "ERR_ARGUMENT" });
});
