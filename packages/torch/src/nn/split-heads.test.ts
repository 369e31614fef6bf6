import assert from "node:assert/strict";
import { test } from "node:test";
import { grad, nn, randn, scope, seedEverything, type DType, type Tensor } from "../index.js";

const { splitHeads } = nn.functional;
const apart = (a: Tensor, b: Tensor): number =>
  a.detach().to("float64").sub(b.detach().to("float64")).abs().max().item();

for (const dtype of ["float32", "bfloat16"] satisfies DType[])
  test(`queries, keys and values are views, and their gradients lie side by side: ${dtype}`, () =>
    scope(() => {
      seedEverything(1);
      const packed = randn([2, 5, 36]).to(dtype).requiresGrad_();
      const along = [
        randn([2, 3, 5, 4]),
        randn([2, 5, 3, 4]).transpose(1, 2),
        randn([1, 1, 5, 4]).expand([2, 3, 5, 4]),
      ];
      const run = (path: "kernel" | "reference"): readonly Tensor[] => {
        const parts = splitHeads(packed, 3, { path });
        parts.forEach((p) => assert.deepEqual([p.shape, p.dtype], [[2, 3, 5, 4], dtype]));
        const loss = parts
          .map((p, i) =>
            p
              .float()
              .mul(along[i] as Tensor)
              .sum(),
          )
          .reduce((a, b) => a.add(b));
        return [...parts, ...(grad(loss, [packed]) as Tensor[])];
      };
      const [fused, plain] = [run("kernel"), run("reference")];
      fused.forEach((t, i) => assert.equal(apart(t, plain[i] as Tensor), 0));
    }));

test("second gradients, and a part that is not used", () =>
  scope(() => {
    seedEverything(2);
    const packed = randn([2, 5, 12]).requiresGrad_();
    const second = (path: "kernel" | "reference"): Tensor => {
      const [q, k] = splitHeads(packed, 2, { path });
      const [g] = grad(q.mul(k).pow(2).sum(), [packed], { createGraph: true }) as [Tensor];
      return grad(g.square().sum(), [packed])[0] as Tensor;
    };
    assert.ok(apart(second("kernel"), second("reference")) < 1e-4);
  }));

test("errors name the argument", () => {
  assert.throws(() => splitHeads(randn([2, 5, 12]), 5), {
    code: "ERR_ARGUMENT",
    message: /splitHeads: expected packed to be \[B, T, C\] with C divisible by 15\. Received: Tensor/,
  });
  assert.throws(() => splitHeads(randn([5, 12]), 1), { code: "ERR_ARGUMENT" });
  assert.throws(() => splitHeads(randn([2, 5, 12]), 0), { code: "ERR_ARGUMENT" });
});
