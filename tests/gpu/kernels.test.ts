import assert from "node:assert/strict";
import { test } from "node:test";
import { autocast, cuda, grad, nn, randn, scope, seedEverything, type DType, type Tensor } from "@nbit/torch";

const options = { skip: !cuda.isAvailable() && "needs a CUDA device" };
const { addLayerNorm, addRmsNorm, batchNormRelu, biasGelu } = nn.functional;

/** ‖a - b‖ / ‖b‖ in float64, on the host. */
function relative(a: Tensor, b: Tensor): number {
  const [x, y] = [a.detach().cpu().to("float64"), b.detach().cpu().to("float64")];
  return x.sub(y).norm().item() / Math.max(1e-30, y.norm().item());
}

interface Case {
  readonly rows: number;
  readonly columns: number;
  readonly x: DType;
  readonly residual: DType | null;
  readonly weight: DType;
  readonly dtype: DType;
}
const CASES: readonly Case[] = [
  { rows: 512, columns: 768, x: "float32", residual: "bfloat16", weight: "float32", dtype: "bfloat16" },
  { rows: 512, columns: 768, x: "float32", residual: "float16", weight: "float32", dtype: "float16" },
  { rows: 300, columns: 768, x: "bfloat16", residual: "bfloat16", weight: "bfloat16", dtype: "bfloat16" },
  { rows: 77, columns: 64, x: "bfloat16", residual: null, weight: "float32", dtype: "float32" },
  { rows: 33, columns: 1001, x: "float32", residual: "float32", weight: "float32", dtype: "float32" },
  { rows: 65, columns: 1600, x: "float16", residual: "float32", weight: "float32", dtype: "float16" },
  { rows: 19, columns: 4096, x: "float32", residual: "bfloat16", weight: "float32", dtype: "bfloat16" },
  { rows: 3, columns: 16384, x: "float32", residual: "float16", weight: "float32", dtype: "float16" },
  { rows: 1, columns: 3, x: "float32", residual: "bfloat16", weight: "float32", dtype: "bfloat16" },
];
for (const c of CASES)
  for (const rms of [false, true])
    test(
      `the norm kernel equals its reference: ${c.rows} × ${c.columns}, ${c.x} + ${c.residual ?? "nothing"} → ${c.dtype}${rms ? ", RMS" : ""}`,
      options,
      () =>
        scope(() => {
          seedEverything(11);
          const leaf = (shape: number[], dtype: DType, shift = 0): Tensor =>
            randn(shape).add(shift).to({ device: "cuda", dtype }).requiresGrad_();
          const x = leaf([c.rows, c.columns], c.x, 0.5);
          const residual = c.residual === null ? null : leaf([c.rows, c.columns], c.residual);
          const weight = leaf([c.columns], c.weight, 1);
          const bias = rms ? null : leaf([c.columns], c.weight);
          const along = [leaf([c.rows, c.columns], "float32"), leaf([c.rows, c.columns], "float32")] as const;
          const inputs = [x, residual, weight, bias].filter((t): t is Tensor => t !== null);
          const run = (path: "kernel" | "reference", useSum: boolean): Tensor[] => {
            const [sum, normed] = rms
              ? addRmsNorm(x, residual, [c.columns], weight, { path, dtype: c.dtype })
              : addLayerNorm(x, residual, [c.columns], weight, bias, { path, dtype: c.dtype });
            const forNormed = normed.mul(along[1]).sum();
            const loss = useSum ? forNormed.add(sum.mul(along[0]).sum()) : forNormed;
            return [sum, normed, ...grad(loss, inputs)];
          };
          for (const useSum of [true, false]) {
            const [fused, plain] = [run("kernel", useSum), run("reference", useSum)];
            assert.equal(relative(fused[0] as Tensor, plain[0] as Tensor), 0, "the sum is the same to the bit");
            fused.forEach((t, i) => {
              const other = plain[i] as Tensor;
              assert.equal(t.dtype, other.dtype);
              assert.deepEqual(t.shape, other.shape);
              const limit = [c.x, c.residual, c.dtype, c.weight].some((d) => d === "bfloat16")
                ? 6e-3
                : [c.x, c.residual, c.dtype].some((d) => d === "float16")
                  ? 1e-3
                  : 2e-6;
              assert.ok(relative(t, other) < limit, `useSum ${String(useSum)}, ${i}: ${relative(t, other)}`);
            });
          }
          // Sums in a fixed order: twice the same bits.
          run("kernel", true).forEach((t, i) => assert.equal(relative(t, run("kernel", true)[i] as Tensor), 0));
        }),
    );

for (const dtype of ["bfloat16", "float16"] as const)
  test(
    `the bias of a layer before a norm gets its gradient from the norm's kernel, before it is rounded: ${dtype}`,
    options,
    () =>
      scope(() => {
        seedEverything(41);
        const [rows, width] = [2048, 96];
        const layer = new nn.Linear(64, width).to("cuda");
        const norm = new nn.LayerNorm(width).to("cuda");
        const input = randn([2, rows / 2, 64]).to("cuda");
        const stream = randn([2, rows / 2, width])
          .to("cuda")
          .requiresGrad_();
        const along = randn([2, rows / 2, width]).to({ device: "cuda", dtype });
        const region = { deviceType: "cuda", dtype, cacheEnabled: false } as const;
        const run = (change: (branch: Tensor) => void): readonly [bias: Tensor, branch: Tensor, sums: Tensor] => {
          const branch = autocast(region, () => layer.forward(input));
          change(branch);
          const [, normed] = autocast(region, () => norm.addTo(stream, branch));
          const [bias, stream_, weights] = grad(normed, [layer.bias as Tensor, stream, branch], {
            gradOutputs: along,
          }) as [Tensor, Tensor, Tensor];
          // The gradient of the stream is the same in float32.
          return [bias, weights, stream_.view([-1, width]).to("float64").sum([0])];
        };
        const [bias, branch, exact] = run(() => undefined);
        assert.equal(bias.dtype, "float32");
        assert.equal(branch.dtype, dtype);
        const rounded = branch.view([-1, width]).to("float64").sum([0]);
        assert.ok(relative(bias, exact) < 2e-6, `${relative(bias, exact)}`);
        assert.ok(relative(rounded, exact) > 2e-5, `${relative(rounded, exact)}`);
        // What a hook makes of the gradient is summed instead.
        const [doubled] = run((b) => b.registerHook((g) => g.mul(2)));
        assert.ok(relative(doubled, exact.mul(2)) < 1e-2);
        const [inPlace] = run((b) => b.registerHook((g) => void g.mul_(4)));
        assert.ok(relative(inPlace, exact.mul(4)) < 1e-2);
        // A second use of the branch adds to it.
        const y = autocast(region, () => layer.forward(input));
        const [sum, normed] = autocast(region, () => norm.addTo(stream, y));
        const twice = grad(normed.mul(along).sum().add(sum.sum()).add(y.float().sum()), [layer.bias as Tensor]) as [
          Tensor,
        ];
        assert.ok(relative(twice[0], exact.add(2 * rows)) < 1e-2, `${relative(twice[0], exact.add(2 * rows))}`);
      }),
  );

test("rows that are not 16-byte aligned, and none at all", options, () =>
  scope(() => {
    seedEverything(12);
    const wide = randn([5 * 24 + 1]).to("cuda");
    const x = wide.slice(0, 1).view([5, 24]);
    const norm = new nn.LayerNorm(24).to("cuda");
    assert.ok(relative(norm.addTo(x, x, { path: "kernel" })[1], norm.addTo(x, x, { path: "reference" })[1]) < 1e-6);
    const none = x.slice(0, 0, 0).requiresGrad_();
    const [sum, normed] = norm.addTo(none, none, { path: "kernel" });
    assert.deepEqual(
      [sum.shape, normed.shape],
      [
        [0, 24],
        [0, 24],
      ],
    );
    normed.sum().backward();
    assert.equal(norm.weight?.grad?.abs().sum().item(), 0);
  }),
);

test(
  "nn.LayerNorm on 16-bit input under autocast: float32 as PyTorch's, without a float32 copy of the input",
  options,
  () =>
    scope(() => {
      seedEverything(13);
      const norm = new nn.LayerNorm(256).to("cuda");
      const x = randn([64, 256]).to({ device: "cuda", dtype: "bfloat16" }).requiresGrad_();
      const fused = autocast({ deviceType: "cuda", dtype: "bfloat16" }, () => norm.forward(x));
      const plain = nn.functional.layerNorm(x.float(), [256], norm.weight, norm.bias, norm.eps);
      assert.equal(fused.dtype, "float32");
      assert.ok(relative(fused, plain) < 1e-6);
      const along = randn([64, 256]).to("cuda");
      const [a] = grad(fused.mul(along).sum(), [x]);
      const [b] = grad(plain.mul(along).sum(), [x]);
      assert.equal(a?.dtype, "bfloat16");
      assert.ok(relative(a as Tensor, b as Tensor) < 6e-3);
    }),
);

test("the norm is captured in a CUDA graph and replayed on new values", options, () => {
  seedEverything(14);
  const norm = new nn.LayerNorm(96).to("cuda");
  const x = randn([40, 96]).to("cuda").requiresGrad_();
  const r = randn([40, 96]).to({ device: "cuda", dtype: "bfloat16" }).requiresGrad_();
  const step = (): void =>
    scope(() => {
      const [sum, normed] = autocast({ deviceType: "cuda", dtype: "bfloat16" }, () => norm.addTo(x, r));
      sum.float().pow(2).sum().add(normed.float().pow(3).sum()).backward();
    });
  const gradients = (): Tensor[] =>
    [x, r, norm.weight as Tensor, norm.bias as Tensor].map((t) => (t.grad as Tensor).clone());
  const clear = (): void => [x, r, norm.weight as Tensor, norm.bias as Tensor].forEach((t) => t.grad?.zero_());
  const graph = new cuda.CudaGraph();
  graph.warmUp(() => {
    step();
    step();
  });
  clear();
  graph.capture(step);
  x.detach().mul_(-2);
  clear();
  graph.replay();
  const replayed = gradients();
  clear();
  step();
  gradients().forEach((g, i) => assert.ok(relative(replayed[i] as Tensor, g) < 1e-6, `${i}`));
});

for (const [rows, columns, dtype, weight] of [
  [512, 3072, "bfloat16", "float32"],
  [512, 3072, "float16", "float32"],
  [33, 1001, "float32", "float32"],
  [7, 64, "bfloat16", "bfloat16"],
  [1, 5, "float16", "float32"],
  [5000, 256, "float32", "float32"],
] as const)
  for (const approximate of ["none", "tanh"] as const)
    test(`the bias and GELU kernel equals its reference: ${rows} × ${columns} ${dtype}, ${approximate}`, options, () =>
      scope(() => {
        seedEverything(15);
        const x = randn([rows, columns]).mul(2).to({ device: "cuda", dtype }).requiresGrad_();
        const bias = randn([columns]).to({ device: "cuda", dtype: weight }).requiresGrad_();
        const along = randn([rows, columns]).to("cuda");
        const run = (path: "kernel" | "reference", withBias: boolean): Tensor[] => {
          const y = biasGelu(x, withBias ? bias : null, { path, approximate });
          return [y, ...grad(y.mul(along).sum(), withBias ? [x, bias] : [x])];
        };
        for (const withBias of [true, false]) {
          const [fused, plain] = [run("kernel", withBias), run("reference", withBias)];
          fused.forEach((t, i) => {
            const other = plain[i] as Tensor;
            assert.equal(t.dtype, other.dtype);
            const limit = dtype === "bfloat16" ? 6e-3 : dtype === "float16" ? 1e-3 : 3e-6;
            assert.ok(relative(t, other) < limit, `${i}: ${relative(t, other)}`);
          });
        }
      }),
    );

const last = (t: Tensor): Tensor => t.contiguous({ memoryFormat: "channelsLast" });
for (const [shape, dtype, weights] of [
  [[16, 64, 14, 14], "bfloat16", "float32"],
  [[16, 64, 14, 14], "float16", "float32"],
  [[5, 8, 3, 7], "float32", "float32"],
  [[3, 2048, 7, 7], "bfloat16", "bfloat16"],
  [[33, 328], "float32", "float32"],
  [[700, 24], "float16", "float32"],
] as const)
  for (const [residual, relu] of [
    [true, true],
    [false, true],
    [true, false],
    [false, false],
  ] as const)
    test(
      `the batch norm kernel equals float32's plain operators: [${shape.join(", ")}] ${dtype}${residual ? " + residual" : ""}${relu ? ", relu" : ""}`,
      options,
      () =>
        scope(() => {
          seedEverything(18);
          const make = (shift: number): Tensor => {
            const t = randn([...shape])
              .add(shift)
              .to({ device: "cuda", dtype });
            return (shape.length === 4 ? last(t) : t).requiresGrad_();
          };
          // A mean of 30: sums of squares would cancel.
          const x = make(30);
          const other = residual ? make(0) : null;
          const channel = (shift: number): Tensor =>
            randn([shape[1]]).add(shift).to({ device: "cuda", dtype: weights }).requiresGrad_();
          const [weight, bias] = [channel(1), channel(0)];
          const along = randn([...shape]).to("cuda");
          const run = (path: "kernel" | "reference", wide: boolean): Tensor[] => {
            const of = (t: Tensor): Tensor => (wide ? t.float() : t);
            const statistics = [0, 1].map((v) =>
              of(randn([shape[1]]).mul(0).add(v).to({ device: "cuda", dtype: weights })),
            ) as [Tensor, Tensor];
            const y = batchNormRelu(of(x), ...statistics, of(weight), of(bias), {
              residual: other === null ? null : of(other),
              relu,
              path,
            });
            return [
              y,
              ...statistics,
              ...grad(
                y.float().mul(along).sum(),
                [x, other, weight, bias].filter((t): t is Tensor => t !== null),
              ),
            ];
          };
          const [fused, plain] = [run("kernel", false), run("reference", true)];
          const dtypes: readonly DType[] = [dtype, weights];
          const limit = dtypes.includes("bfloat16") ? 6e-3 : dtypes.includes("float16") ? 2e-3 : 2e-5;
          fused.forEach((t, i) => {
            const of = plain[i] as Tensor;
            assert.deepEqual(t.shape, of.shape);
            assert.ok(relative(t, of) < limit, `${i}: ${relative(t, of)}`);
          });
          assert.equal(fused[0]?.dtype, dtype);
          // Sums in a fixed order: twice the same bits.
          run("kernel", false).forEach((t, i) => assert.equal(relative(t, fused[i] as Tensor), 0));
        }),
    );

test("the batch norm kernel lets NaN through, and is captured in a CUDA graph", options, () => {
  seedEverything(19);
  const bn = new nn.BatchNorm2d(16).to("cuda");
  const x = last(randn([8, 16, 5, 5]).to({ device: "cuda", dtype: "bfloat16" })).requiresGrad_();
  const leaves = [x, bn.weight as Tensor, bn.bias as Tensor];
  const clear = (): void => leaves.forEach((t) => t.grad?.zero_());
  const step = (): void => scope(() => bn.thenRelu(x, x).float().pow(2).sum().backward());
  const graph = new cuda.CudaGraph();
  graph.warmUp(() => {
    step();
    step();
  });
  clear();
  graph.capture(step);
  x.detach().mul_(-3).add_(1);
  clear();
  graph.replay();
  const replayed = leaves.map((t) => (t.grad as Tensor).clone());
  clear();
  step();
  leaves.forEach((t, i) => assert.equal(relative(replayed[i] as Tensor, t.grad as Tensor), 0));
  x.detach().select(0, 0).fill_(NaN);
  assert.ok(Number.isNaN(bn.thenRelu(x).sum().item()));
});

test("nn.BatchNorm2d takes the kernel for bfloat16 with channels last, and nothing else changes", options, () =>
  scope(() => {
    seedEverything(20);
    for (const [dtype, order, fused] of [
      ["bfloat16", last, true],
      ["float16", last, false],
      ["bfloat16", (t: Tensor): Tensor => t.contiguous(), false],
    ] as const) {
      const bn = new nn.BatchNorm2d(16).to("cuda");
      const x = order(randn([8, 16, 5, 5]).to({ device: "cuda", dtype })).requiresGrad_();
      const y = bn.forward(x);
      assert.equal(y.dtype, dtype);
      assert.equal(y.gradFn === "BatchNormReluBackward", fused);
      assert.ok(
        relative(y, batchNormRelu(x.float(), null, null, bn.weight, bn.bias, { relu: false, path: "reference" })) <
          6e-3,
      );
      bn.eval();
      assert.notEqual(bn.forward(x).gradFn, "BatchNormReluBackward");
    }
  }),
);
