/** Queries, keys and values out of one product, with their gradients back into one. */
import assert from "node:assert/strict";
import { test } from "node:test";
import {
  autocast,
  cat,
  grad,
  nn,
  randn,
  scaledDotProductAttention,
  scope,
  seedEverything,
  type Tensor,
} from "@nbit/torch";
import { options } from "./support.js";

const { splitHeads } = nn.functional;
const relative = (a: Tensor, b: Tensor): number => {
  const [x, y] = [a.detach().cpu().to("float64"), b.detach().cpu().to("float64")];
  return x.sub(y).norm().item() / Math.max(1e-30, y.norm().item());
};

for (const [batch, heads, time, depth] of [
  [4, 12, 128, 64],
  [2, 3, 7, 5],
  [1, 1, 1, 8],
  [3, 5, 100, 16],
] as const)
  for (const dtype of ["bfloat16", "float16", "float32"] as const)
    test(`gradients lie as the product's: ${batch} × ${heads} × ${time} × ${depth}, ${dtype}`, options, () =>
      scope(() => {
        seedEverything(3);
        const packed = randn([batch, time, 3 * heads * depth])
          .to({ device: "cuda", dtype })
          .requiresGrad_();
        // In the order of the views, of a dense tensor, and expanded from one row.
        const along = [
          randn([batch, time, heads, depth]).to({ device: "cuda", dtype }).transpose(1, 2),
          randn([batch, heads, time, depth]).to({ device: "cuda", dtype }),
          randn([batch, heads, 1, depth]).to({ device: "cuda", dtype }).expand([batch, heads, time, depth]),
        ];
        const gradientOf = (path: "kernel" | "reference"): Tensor => {
          const parts = splitHeads(packed, heads, { path });
          assert.deepEqual(parts[0].shape, [batch, heads, time, depth]);
          return grad([...parts], [packed], { gradOutputs: along })[0] as Tensor;
        };
        assert.equal(relative(gradientOf("kernel"), gradientOf("reference")), 0);
        const rows = cat(
          along.map((g) => g.transpose(1, 2).reshape([batch, time, heads * depth])),
          2,
        );
        assert.equal(relative(gradientOf("kernel"), rows), 0);
      }),
    );

for (const dtype of ["bfloat16", "float16"] as const)
  test(`the bias before attention gets its gradient from the same pass: ${dtype}`, options, () =>
    scope(() => {
      seedEverything(4);
      const layer = new nn.Linear(96, 3 * 96).to("cuda");
      const x = randn([4, 128, 96]).to("cuda");
      const along = randn([4, 6, 128, 16]).to({ device: "cuda", dtype });
      const run = (path: "kernel" | "reference"): Tensor[] =>
        grad(
          autocast({ deviceType: "cuda", dtype, cacheEnabled: false }, () => {
            const [q, k, v] = splitHeads(layer.forward(x), 6, { path });
            return scaledDotProductAttention(q, k, v, null, 0, true);
          }),
          [layer.weight, layer.bias as Tensor],
          { gradOutputs: along },
        ) as Tensor[];
      const [ours, theirs] = [run("kernel"), run("reference")];
      assert.equal(relative(ours[0] as Tensor, theirs[0] as Tensor), 0);
      assert.ok(relative(ours[1] as Tensor, theirs[1] as Tensor) < 1e-5);
    }),
  );
