/** Attention in 16 bits on the CPU: every way to compute it, against float64 and against libtorch's. */
import assert from "node:assert/strict";
import { afterEach, test } from "node:test";
import { getNumThreads, manualSeed, nn, randn, setCpuKernels, setNumThreads, zeros } from "./index.js";
import type { DType, Tensor } from "./index.js";
import { native } from "./native.js";

afterEach(() => {
  native.chooseCpuProducts("");
  setCpuKernels("fast");
});

const WAYS = native.cpuProducts().split(" ").filter((way) => way !== "widened"); // prettier-ignore
const SIXTEEN = ["float16", "bfloat16"] as const;

interface Case {
  readonly sizes: readonly [batch: number, heads: number, queries: number, keys: number, width: number];
  readonly causal: boolean;
  readonly scale?: number;
}
const CASES: readonly Case[] = [
  { sizes: [2, 3, 64, 64, 32], causal: true },
  { sizes: [1, 2, 13, 13, 64], causal: false, scale: 0.3 },
  { sizes: [2, 1, 37, 70, 33], causal: true },
  { sizes: [1, 2, 70, 37, 5], causal: true },
  { sizes: [1, 1, 100, 1, 8], causal: false },
  { sizes: [1, 1, 1, 90, 8], causal: true },
  // Several blocks of keys, whose ends are within tiles.
  { sizes: [1, 1, 600, 1301, 16], causal: true },
  { sizes: [1, 2, 1101, 530, 24], causal: true },
  { sizes: [1, 1, 90, 1100, 40], causal: false },
];

/** [batch, head, position, width] out of one tensor with queries, keys and values beside each other, as models have it. */
function beside({ sizes: [batch, heads, queries, keys, width] }: Case): readonly Tensor[] {
  const all = randn([batch, Math.max(queries, keys), heads * width * 3]);
  return [queries, keys, keys].map((n, i) =>
    all
      .narrow(1, 0, n)
      .narrow(2, i * heads * width, heads * width)
      .view([batch, n, heads, width])
      .transpose(1, 2),
  );
}

/** Output and the gradients of queries, keys and values, in a dtype, of the same 16-bit numbers. */
function attend(inputs: readonly Tensor[], gradient: Tensor, dtype: DType, { causal, scale }: Case): Tensor[] {
  const leaves = inputs.map((t) => t.to(dtype).detach().requiresGrad_());
  const [q, k, v] = leaves as [Tensor, Tensor, Tensor];
  const out = nn.functional.scaledDotProductAttention(q, k, v, {
    isCausal: causal,
    ...(scale === undefined ? {} : { scale }),
  });
  out.backward({ gradient: gradient.to(dtype) });
  return [out.detach(), ...leaves.map((t) => t.grad ?? assert.fail("no gradient"))];
}
const errors = (found: readonly Tensor[], exact: readonly Tensor[]): number[] =>
  found.map((t, i) => {
    const truth = exact[i] as Tensor;
    assert.deepEqual(t.shape, truth.shape);
    return t.double().sub(truth).norm().item() as number;
  });

for (const way of WAYS)
  for (const dtype of SIXTEEN)
    for (const one of CASES)
      test(`${way}, ${dtype}: [${one.sizes.join(", ")}]${one.causal ? ", causal" : ""} is as near to float64 as libtorch`, () => {
        manualSeed(1);
        const inputs = beside(one).map((t) => t.to(dtype));
        const gradient = randn((inputs[0] as Tensor).shape).to(dtype);
        const exact = attend(inputs, gradient, "float64", one);
        setCpuKernels("libtorch");
        const theirs = errors(attend(inputs, gradient, dtype, one), exact);
        setCpuKernels("fast");
        native.chooseCpuProducts(way);
        const found = attend(inputs, gradient, dtype, one);
        for (const [i, ours] of errors(found, exact).entries()) {
          // Of few numbers the luck of single roundings shows.
          const unit = (dtype === "float16" ? 2 ** -11 : 2 ** -8) * ((exact[i] as Tensor).norm().item() as number);
          assert.ok(ours <= (theirs[i] as number) * 1.02 + 0.02 * unit, `result ${i}: ${ours} > ${theirs[i]}`);
        }
        assert.ok((found[0] as Tensor).transpose(1, 2).isContiguous(), "heads beside each other");
      });

test("keys that no query sees have no gradient", () => {
  for (const way of WAYS) {
    native.chooseCpuProducts(way);
    const one: Case = { sizes: [1, 1, 30, 900, 16], causal: true };
    const inputs = beside(one).map((t) => t.bfloat16());
    const [, , keys, values] = attend(inputs, randn([1, 1, 30, 16]).bfloat16(), "bfloat16", one) as [Tensor, Tensor, Tensor, Tensor]; // prettier-ignore
    for (const t of [keys, values]) {
      assert.equal(t.narrow(2, 30, 870).abs().sum().item(), 0);
      assert.notEqual(t.narrow(2, 29, 1).abs().sum().item(), 0);
    }
  }
});

test("NaN reaches the rows that see it, and no others", () => {
  for (const way of WAYS) {
    native.chooseCpuProducts(way);
    const [q, k, v] = [1, 2, 3].map(() => randn([1, 1, 40, 16]).half()) as [Tensor, Tensor, Tensor];
    q.narrow(2, 7, 1).fill_(Number.NaN);
    k.narrow(2, 20, 1).fill_(Number.NaN);
    const nan = nn.functional.scaledDotProductAttention(q, k, v, { isCausal: true }).isnan().any(3).tolist();
    assert.deepEqual(nan, [[Array.from({ length: 40 }, (_, i) => i === 7 || i >= 20)]]);
  }
});

test("large scores do not overflow", () => {
  for (const way of WAYS) {
    native.chooseCpuProducts(way);
    const q = zeros([1, 1, 3, 16], { dtype: "bfloat16" }).add(1000);
    const out = nn.functional.scaledDotProductAttention(q, q, q);
    assert.deepEqual(out.sub(q).abs().max().item(), 0);
  }
});

test("as many threads as one likes: the same bits", { skip: WAYS.length === 0 }, () => {
  manualSeed(2);
  const threads = getNumThreads();
  const one: Case = { sizes: [1, 1, 700, 700, 32], causal: true };
  const inputs = beside(one).map((t) => t.bfloat16());
  const gradient = randn([1, 1, 700, 32]).bfloat16();
  const runs = [1, 2, 3].map((n) => {
    setNumThreads(n);
    return attend(inputs, gradient, "bfloat16", one);
  });
  setNumThreads(threads);
  for (const run of runs.slice(1))
    for (const [i, t] of run.entries()) assert.ok(t.equal((runs[0] as Tensor[])[i] as Tensor));
});
