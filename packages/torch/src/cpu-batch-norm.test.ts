/** Batch norm of 16-bit images on the CPU, as under autocast: against float64 and against libtorch's kernels. */
import assert from "node:assert/strict";
import { afterEach, test } from "node:test";
import {
  batchNorm,
  getNumThreads,
  manualSeed,
  ones,
  rand,
  randn,
  setCpuKernels,
  setNumThreads,
  zeros,
} from "./index.js";
import { native } from "./native.js";
import type { CpuKernels, DType, Tensor } from "./index.js";

afterEach(() => setCpuKernels("fast"));

const LAYOUTS: Readonly<Record<string, (x: Tensor) => Tensor>> = {
  "channels first": (x) => x,
  "channels last": (x) => x.contiguous({ memoryFormat: "channelsLast" }),
  "a part": (x) => x.repeat([1, 2, 1, 1]).narrow(1, 0, x.shape[1] as number),
};
const SHAPES: readonly (readonly number[])[] = [
  [4, 3, 7, 5],
  [16, 24, 4, 4],
  [2, 17, 1, 1],
  [3, 8, 20, 31],
  [1, 1, 40, 40],
];

interface Passed {
  readonly out: Tensor;
  /** Of the input, weight and bias. */
  readonly gradients: readonly Tensor[];
  readonly running: readonly Tensor[];
}
/** One pass in a dtype with parameters in another, of the same numbers. */
function pass(
  x: Tensor,
  gradient: Tensor,
  dtype: DType,
  parameters: DType,
  kernels: CpuKernels,
  affine = true,
): Passed {
  setCpuKernels(kernels);
  const channels = x.shape[1] as number;
  manualSeed(3);
  const leaf = x.to(dtype).detach().requiresGrad_();
  const weight = affine ? rand([channels]).add(0.5).to(parameters).requiresGrad_() : null;
  const bias = affine ? randn([channels]).to(parameters).requiresGrad_() : null;
  const running = [zeros([channels], { dtype: parameters }), ones([channels], { dtype: parameters })] as const;
  const out = batchNorm(leaf, weight, bias, running[0], running[1], true, 0.1, 1e-5, true);
  out.backward({ gradient: gradient.to(dtype) });
  setCpuKernels("fast");
  const gradients = [leaf, weight, bias].filter((t) => t !== null).map((t) => t.grad ?? assert.fail("no gradient"));
  return { out: out.detach(), gradients, running };
}
/** Those that mean something. */
const strides = (t: Tensor): number[] => t.stride().filter((_, d) => (t.shape[d] as number) > 1);
const all = ({ out, gradients, running }: Passed): Tensor[] => [out, ...gradients, ...running];

for (const dtype of ["float16", "bfloat16"] as const)
  for (const [name, layout] of Object.entries(LAYOUTS))
    for (const shape of SHAPES)
      for (const affine of [true, false])
        test(`${dtype}, ${name}, [${shape.join(", ")}]${affine ? "" : ", no weights"} is as near to float64 as libtorch`, () => {
          manualSeed(1);
          const x = layout(randn(shape).mul(2).add(3).to(dtype));
          const gradient = layout(randn(shape).to(dtype));
          const exact = all(pass(x, gradient, "float64", "float64", "libtorch", affine));
          const theirs = all(pass(x, gradient, dtype, "float32", "libtorch", affine));
          const ours = all(pass(x, gradient, dtype, "float32", "fast", affine));
          for (const [i, truth] of exact.entries()) {
            const [our, their] = [ours[i] as Tensor, theirs[i] as Tensor];
            assert.deepEqual([our.dtype, our.shape], [their.dtype, their.shape]);
            assert.deepEqual(strides(our), strides(their));
            const off = (t: Tensor): number => t.double().sub(truth).norm().item() as number;
            // What one rounding of every number may come to, and of float32 sums the order.
            const slack = (truth.norm().item() as number) * 2e-6 + 1e-6 * Math.sqrt(truth.numel());
            assert.ok(off(our) <= off(their) * 1.02 + slack, `result ${i}: ${off(our)} > ${off(their)}`);
          }
        });

test("means far from zero keep their variance", () => {
  for (const layout of Object.values(LAYOUTS)) {
    manualSeed(2);
    const x = layout(randn([8, 4, 16, 16]).add(200).half());
    const { out } = pass(x, x, "float16", "float32", "fast", false);
    assert.ok(Math.abs((out.float().square().mean().item() as number) - 1) < 1e-3);
  }
});

// libtorch's sums do depend on threads.
const ours = native.cpuProducts() !== "widened";
test("two dimensions, and as many threads as one likes: the same bits", { skip: !ours }, () => {
  const threads = getNumThreads();
  for (const shape of [
    [700, 33],
    [20, 33, 9, 9],
  ]) {
    manualSeed(4);
    const x = randn(shape).bfloat16();
    const inputs = shape.length === 2 ? [x] : [x, x.contiguous({ memoryFormat: "channelsLast" })];
    for (const input of inputs) {
      const runs = [1, 2, 3].map((n) => {
        setNumThreads(n);
        return all(pass(input, x, "bfloat16", "float32", "fast"));
      });
      setNumThreads(threads);
      for (const run of runs.slice(1))
        for (const [i, t] of run.entries()) assert.ok(t.equal((runs[0] as Tensor[])[i] as Tensor));
    }
  }
});

test("float32 and float64, and 16-bit parameters: libtorch's bits under both kernels", () => {
  manualSeed(5);
  const x = randn([6, 5, 4, 4]);
  for (const dtype of ["float32", "float64", "bfloat16"] as const) {
    const [fast, libtorch] = (["fast", "libtorch"] as const).map((kernels) => all(pass(x, x, dtype, dtype, kernels)));
    for (const [i, t] of (fast as Tensor[]).entries()) assert.ok(t.equal((libtorch as Tensor[])[i] as Tensor));
  }
});
