import assert from "node:assert/strict";
import { test } from "node:test";
import {
  ArgumentError,
  autocast,
  grad,
  nn,
  randn,
  scope,
  seedEverything,
  zeros,
  type DType,
  type Tensor,
} from "../index.js";

const { batchNormRelu, batchNormReluForBranches } = nn.functional;
const apart = (a: Tensor, b: Tensor): number =>
  a.detach().to("float64").sub(b.detach().to("float64")).abs().max().item();
const channelsLast = (t: Tensor): Tensor => t.contiguous({ memoryFormat: "channelsLast" });

for (const dtype of ["float64", "float32", "bfloat16", "float16"] satisfies DType[])
  for (const [residual, relu, affine] of [
    [true, true, true],
    [false, true, true],
    [true, false, true],
    [false, false, false],
    [true, true, false],
  ] as const)
    test(`the fused operator equals batchNorm, add and relu, forward and backward: ${dtype}${residual ? " + residual" : ""}${relu ? ", relu" : ""}${affine ? "" : ", no weights"}`, () =>
      scope(() => {
        seedEverything(5);
        const wide: DType = dtype === "float64" ? "float64" : "float32";
        // A mean far from 0: the statistics must not cancel.
        const x = channelsLast(randn([4, 16, 3, 5]).add(20).to(dtype)).requiresGrad_();
        const other = residual ? channelsLast(randn([4, 16, 3, 5]).to(dtype)).requiresGrad_() : null;
        const weight = affine ? randn([16]).add(1).to(wide).requiresGrad_() : null;
        const bias = affine ? randn([16]).to(wide).requiresGrad_() : null;
        const along = randn([4, 16, 3, 5]).to(wide); // the gradient arrives in another order of memory
        const run = (path: "kernel" | "reference"): readonly Tensor[] => {
          const [mean, variance] = [zeros([16], { dtype: wide }), zeros([16], { dtype: wide })];
          const y = batchNormRelu(x, mean, variance, weight, bias, { residual: other, relu, momentum: 0.25, path });
          const inputs = [x, other, weight, bias].filter((t): t is Tensor => t !== null);
          return [y, mean, variance, ...(grad(y.to(wide).mul(along).sum(), inputs) as Tensor[])];
        };
        const [fused, plain] = [run("kernel"), run("reference")];
        // 16 bits: the plain operators round between batchNorm and the addition, and with it decide some elements at
        // ReLU's edge otherwise.
        const tolerance = dtype === "float64" ? 1e-10 : dtype === "float32" ? 2e-4 : 8e-2;
        fused.forEach((t, i) => {
          const of = plain[i] as Tensor;
          assert.equal(t.dtype, of.dtype);
          assert.deepEqual(t.shape, of.shape);
          const scale = Math.max(1, of.detach().to("float64").abs().max().item());
          assert.ok(apart(t, of) <= tolerance * scale, `${i}: ${apart(t, of)} of ${scale}`);
        });
        assert.ok((fused[0] as Tensor).movedim(1, -1).isContiguous());
      }));

test("second gradients are those of the plain operators, through the mask of bits too", () =>
  scope(() => {
    seedEverything(6);
    const x = channelsLast(randn([3, 8, 2, 2], { dtype: "float64" })).requiresGrad_();
    const residual = channelsLast(randn([3, 8, 2, 2], { dtype: "float64" })).requiresGrad_();
    const weight = randn([8], { dtype: "float64" }).requiresGrad_();
    const along = randn([3, 8, 2, 2], { dtype: "float64" });
    const second = (path: "kernel" | "reference", other: Tensor | null): readonly Tensor[] => {
      const y = batchNormRelu(x, null, null, weight, null, { residual: other, path });
      const inputs = other === null ? [x, weight] : [x, other, weight];
      const first = grad(y.mul(along).square().sum(), inputs, { createGraph: true }) as Tensor[];
      return grad(
        first.map((g) => g.square().sum()).reduce((a, b) => a.add(b)),
        inputs,
      ) as Tensor[];
    };
    for (const other of [residual, null])
      second("kernel", other).forEach((g, i) =>
        assert.ok(apart(g, second("reference", other)[i] as Tensor) < 1e-8, String(i)),
      );
  }));

test("layers: thenRelu counts, updates statistics, reads them in evaluation, and keeps 16 bits under autocast", () =>
  scope(() => {
    seedEverything(7);
    const [fused, plain] = [new nn.BatchNorm2d(8), new nn.BatchNorm2d(8)];
    const x = channelsLast(randn([4, 8, 3, 3]));
    for (let i = 0; i < 3; i++) {
      const a = fused.thenRelu(x, x, { path: "kernel" });
      const b = plain.forward(x).add(x).relu();
      assert.ok(apart(a, b) < 1e-5);
    }
    assert.equal(fused.numBatchesTracked?.item(), 3);
    assert.ok(
      apart(fused.runningMean as Tensor, plain.runningMean as Tensor) < 1e-6 &&
        apart(fused.runningVar as Tensor, plain.runningVar as Tensor) < 1e-6,
    );
    fused.eval();
    plain.eval();
    for (const name of ["runningMean", "runningVar"] as const) plain[name]?.copy_(fused[name] as Tensor);
    assert.equal(apart(fused.thenRelu(x, x, { path: "kernel" }), plain.forward(x).add(x).relu()), 0); // evaluation runs as plain operators
    fused.train();
    const half = autocast({ deviceType: "cpu", dtype: "bfloat16" }, () =>
      fused.thenRelu(x.bfloat16(), null, { path: "kernel" }),
    );
    assert.equal(half.dtype, "bfloat16");
    assert.equal(
      new nn.BatchNorm1d(8)
        .thenRelu(randn([6, 8]), null, { path: "kernel" })
        .min()
        .item(),
      0,
    );
  }));

test("what the kernel does not take runs as plain operators, and bad input is an error that names the argument", () =>
  scope(() => {
    seedEverything(8);
    const rows = randn([2, 8, 4, 4]); // not channels-last
    assert.equal(
      apart(
        batchNormRelu(rows, null, null, null, null, { path: "kernel" }),
        batchNormRelu(rows, null, null, null, null, { path: "reference" }),
      ),
      0,
    );
    const odd = channelsLast(randn([2, 6, 4, 4]));
    assert.equal(
      apart(
        batchNormRelu(odd, null, null, null, null, { path: "kernel" }),
        batchNormRelu(odd, null, null, null, null, { path: "reference" }),
      ),
      0,
    );
    assert.throws(
      () => batchNormRelu(rows, null, null, randn([4])),
      (e) => e instanceof ArgumentError && /^batchNormRelu: expected weight of shape \[8\]\. Received:/.test(e.message),
    );
    assert.throws(
      () => batchNormRelu(rows, null, null, null, null, { residual: randn([8, 4, 4]) }),
      /expected residual of x's shape \[2,8,4,4\]/,
    );
    assert.throws(() => batchNormRelu(randn([8]), null, null), /expected x to be floating point, \[N, C, …\]/);
    assert.throws(
      () => new nn.BatchNorm2d(8).thenRelu(randn([2, 8])),
      /BatchNorm2d: expected an input of 4 dimensions/,
    );
    assert.throws(
      () => batchNormRelu(randn([1, 8]), null, null),
      /^ArgumentError: batchNormRelu: expected more than one value per channel in training\. Received: /,
    );
    assert.throws(
      () => new nn.BatchNorm1d(8).forward(randn([1, 8])),
      /^ArgumentError: BatchNorm1d: expected more than one value per channel in training/,
    );
    new nn.BatchNorm1d(8).eval().forward(randn([1, 8]));
  }));

for (const dtype of ["float32", "bfloat16"] satisfies DType[])
  test(`for two branches: the gradients of both, as autograd adds them: ${dtype}`, () =>
    scope(() => {
      seedEverything(15);
      const leaf = (): Tensor => channelsLast(randn([4, 16, 3, 5]).to(dtype)).requiresGrad_();
      const [x, residual] = [leaf(), leaf()];
      const weight = randn([16]).add(1).requiresGrad_();
      const along = [randn([4, 16, 3, 5]), randn([4, 16, 3, 5])] as const;
      for (const [other, relu] of [
        [residual, true],
        [residual, false],
        [null, true],
      ] as const)
        for (const used of [
          [true, true],
          [true, false],
          [false, true],
        ] as const) {
          const inputs = [x, other, weight].filter((t): t is Tensor => t !== null);
          const run = (pair: readonly [Tensor, Tensor]): readonly Tensor[] =>
            grad(
              pair
                .filter((_, i) => used[i] === true)
                .map((y, i) => y.mul(along[i] as Tensor).sum())
                .reduce((a, b) => a.add(b)),
              inputs,
            ) as Tensor[];
          const options = { residual: other, relu, path: "kernel" } as const;
          const whole = batchNormRelu(x, null, null, weight, null, options);
          const pair = batchNormReluForBranches(x, null, null, weight, null, options);
          assert.equal(apart(pair[0], whole), 0);
          assert.equal(apart(pair[1], whole), 0);
          const expected = run([whole, whole]);
          run(pair).forEach((g, i) => assert.equal(apart(g, expected[i] as Tensor), 0, `${i}`));
        }
      const [a, b] = batchNormReluForBranches(x, null, null, weight, null, { path: "reference" });
      assert.equal(a, b);
    }));

test("for two branches: second gradients, and the layer's own method", () =>
  scope(() => {
    seedEverything(16);
    const bn = new nn.BatchNorm2d(8);
    const x = channelsLast(randn([3, 8, 2, 2])).requiresGrad_();
    const second = (path: "kernel" | "reference"): Tensor => {
      const [inner, around] = bn.thenReluForBranches(x, x, { path });
      const [g] = grad(inner.square().sum().add(around.pow(3).sum()), [x], { createGraph: true }) as [Tensor];
      return grad(g.square().sum(), [x])[0] as Tensor;
    };
    const expected = second("reference");
    assert.ok(apart(second("kernel"), expected) < 1e-4 * expected.abs().max().item());
    assert.throws(() => bn.thenReluForBranches(x, randn([3, 8, 2, 3])), {
      code: "ERR_ARGUMENT",
      message: /batchNormReluForBranches: expected residual of x's shape/,
    });
  }));
