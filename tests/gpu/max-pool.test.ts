/** Max pooling on the GPU, by a kernel of our own where channels are last, beside libtorch's. */
import assert from "node:assert/strict";
import { test } from "node:test";
import {
  cuda,
  grad,
  maxPool2d,
  maxPool2dWithIndices,
  noGrad,
  randn,
  scope,
  seedEverything,
  type DType,
  type Tensor,
} from "@nbit/torch";
import { on, options } from "./support.js";

const last = (t: Tensor): Tensor => t.contiguous({ memoryFormat: "channelsLast" });
const bits = (t: Tensor): string => Buffer.from(t.detach().cpu().contiguous().toBytes()).toString("base64");
function relative(a: Tensor, b: Tensor): number {
  const [x, y] = [a.detach().cpu().to("float64"), b.detach().cpu().to("float64")];
  return x.sub(y).norm().item() / Math.max(1e-30, y.norm().item());
}
type Window = readonly [kernel: number[], stride: number[], padding: number[], ceil: boolean];
const CASES: readonly (readonly [shape: number[], window: Window])[] = [
  [
    [4, 64, 28, 28],
    [[3, 3], [2, 2], [1, 1], false],
  ],
  [
    [3, 8, 7, 10],
    [[2, 2], [2, 2], [0, 0], true],
  ],
  [
    [2, 24, 9, 11],
    [[2, 5], [3, 1], [0, 2], false],
  ],
  [
    [1, 16, 5, 5],
    [[3], [1], [1], false],
  ],
  [
    [2, 8, 6, 6],
    [[2, 2], [4, 4], [0, 0], false],
  ],
];
for (const dtype of ["bfloat16", "float16", "float32"] satisfies DType[])
  test(`max pooling equals libtorch's to the bit, its gradient to the rounding of a sum: ${dtype}`, options, () => {
    seedEverything(31);
    for (const [shape, [kernel, stride, padding, ceil]] of CASES)
      scope(() => {
        // Whole numbers: many windows have the same largest value twice.
        const x = last(on(randn(shape).mul(2).round().to(dtype))).requiresGrad_();
        const own = maxPool2d(x, kernel, stride, padding, [1, 1], ceil);
        const [theirs] = maxPool2dWithIndices(x, kernel, stride, padding, [1, 1], ceil);
        assert.equal(bits(own), bits(theirs));
        assert.deepEqual(own.stride(), theirs.stride());
        const along = on(randn([...own.shape]).to(dtype));
        for (const g of [along, last(along)]) {
          const [a] = grad(own, [x], { gradOutputs: g, retainGraph: true }) as [Tensor];
          const [b] = grad(theirs, [x], { gradOutputs: g, retainGraph: true }) as [Tensor];
          assert.deepEqual([a.dtype, a.shape, a.stride()], [b.dtype, b.shape, b.stride()]);
          const limit = dtype === "float32" ? 1e-6 : dtype === "float16" ? 1e-3 : 6e-3;
          assert.ok(relative(a, b) < limit, `[${shape.join()}] ${kernel.join()}: ${relative(a, b)}`);
          const again = grad(own, [x], { gradOutputs: g, retainGraph: true }) as [Tensor];
          assert.equal(bits(again[0]), bits(a), "the same bits twice");
        }
        // Differentiated twice: a product with the first gradient, whose gradient pools it at the same places.
        const weight = on(randn([...own.shape]).to(dtype)).requiresGrad_();
        const second = (y: Tensor): Tensor => {
          const [first] = grad(y, [x], { gradOutputs: weight, createGraph: true }) as [Tensor];
          return (grad(first.mul(x.detach()).sum(), [weight]) as [Tensor])[0];
        };
        assert.equal(bits(second(own)), bits(second(theirs)));
        assert.equal(bits(noGrad(() => maxPool2d(x, kernel, stride, padding, [1, 1], ceil))), bits(theirs));
      });
  });

test("max pooling lets NaN and infinities through as libtorch does", options, () =>
  scope(() => {
    seedEverything(32);
    const x = last(on(randn([2, 8, 6, 6])));
    for (const [i, value] of [NaN, -Infinity, Infinity].entries()) x.select(2, 2 * i).fill_(value);
    x.select(0, 0).select(1, 5).fill_(NaN);
    x.requiresGrad_();
    const own = maxPool2d(x, [2, 2], [2, 2]);
    const [theirs] = maxPool2dWithIndices(x, [2, 2], [2, 2]);
    assert.deepEqual(own.cpu().tolist(), theirs.cpu().tolist());
    const gradients = [own, theirs].map((y) => grad(y.sum(), [x]) as [Tensor]);
    assert.equal(bits(gradients[0]?.[0] as Tensor), bits(gradients[1]?.[0] as Tensor));
  }),
);

test("max pooling by the kernel keeps one byte of a window, not the input; other layouts are libtorch's", options, () =>
  scope(() => {
    seedEverything(33);
    const [n, side] = [8, 64];
    const x = last(on(randn([n, 64, side, side]))).requiresGrad_();
    const before = cuda.memoryStats().allocated;
    const y = maxPool2d(x, [2, 2], [2, 2]);
    const outputs = n * 64 * (side / 2) ** 2;
    assert.equal(y.gradFn, "MaxPool2DWithIndicesBackward0");
    assert.equal(cuda.memoryStats().allocated - before, outputs * (4 + 1));
    const plain = maxPool2d(x.contiguous(), [2, 2], [2, 2]);
    assert.equal(bits(plain), bits(y.contiguous()));
    assert.ok(plain.isContiguous());
  }),
);

test("max pooling is captured in a CUDA graph and replayed on new values", options, () => {
  seedEverything(34);
  const x = last(on(randn([4, 16, 9, 9]).bfloat16())).requiresGrad_();
  const step = (): void => scope(() => maxPool2d(x, [3, 3], [2, 2], [1, 1]).float().square().sum().backward());
  const graph = new cuda.CudaGraph();
  graph.warmUp(() => {
    step();
    step();
  });
  x.grad?.zero_();
  graph.capture(step);
  x.detach().mul_(-2);
  x.grad?.zero_();
  graph.replay();
  const replayed = bits(x.grad as Tensor);
  x.grad?.zero_();
  step();
  assert.equal(bits(x.grad as Tensor), replayed);
});
