/** Products and convolutions in 16 bits on the CPU: every way to compute them, against float64 and against libtorch's. */
import assert from "node:assert/strict";
import { afterEach, test } from "node:test";
import {
  ArgumentError,
  addmm,
  autocast,
  baddbmm,
  convolution,
  empty,
  full,
  getCpuKernels,
  getNumThreads,
  isMkldnnFp16Supported,
  manualSeed,
  mm,
  nn,
  randn,
  scope,
  setCpuKernels,
  setNumThreads,
  tensor,
  zeros,
} from "./index.js";
import type { CpuKernels, DType, Tensor } from "./index.js";
import { native } from "./native.js";

const WAYS = native.cpuProducts().split(" ");
const SIXTEEN = ["float16", "bfloat16"] as const;
/** Half the distance of neighbours, relative to a number. */
const UNIT = { float16: 2 ** -11, bfloat16: 2 ** -8 };

afterEach(() => {
  native.chooseCpuProducts("");
  setCpuKernels("fast");
});

function under<T>(kernels: CpuKernels, fn: () => T): T {
  setCpuKernels(kernels);
  try {
    return fn();
  } finally {
    setCpuKernels("fast");
  }
}
const bytes = (t: Tensor): Uint8Array => {
  const array = t.contiguous().toTypedArray();
  return new Uint8Array(array.buffer, array.byteOffset, array.byteLength);
};
const meanError = (t: Tensor, exact: Tensor): number => t.double().sub(exact).abs().mean().item() as number;

/**
 * One rounding to 16 bits, after sums in float32 of products whose magnitudes sum to `magnitude`; and not further from
 * the exact values than libtorch's kernel, but for what the order of a float32 sum may move.
 */
function isNear(result: Tensor, exact: Tensor, magnitude: Tensor, dtype: "float16" | "bfloat16", what: string): void {
  assert.equal(result.dtype, dtype, what);
  assert.deepEqual(result.shape, exact.shape, what);
  if (exact.numel() === 0) return;
  // The spacing of float16 does not shrink below 2^-24, nor that of what a bfloat16 unit flushes below 2^-126.
  const allowed = exact
    .abs()
    .mul(UNIT[dtype])
    .add(magnitude.mul(2 ** -20))
    .add(dtype === "float16" ? 2 ** -25 : 1e-37);
  const excess = result.double().sub(exact).abs().sub(allowed).max().item() as number;
  assert.ok(excess <= 0, `${what}: ${excess} more than one rounding`);
}

/** The layouts that a matrix can have. */
const LAYOUTS: Readonly<Record<string, (rows: number, columns: number, dtype: DType) => Tensor>> = {
  rows: (r, c, dtype) => randn([r, c]).to(dtype),
  columns: (r, c, dtype) => randn([c, r]).to(dtype).t(),
  "part of rows": (r, c, dtype) =>
    randn([r + 1, c + 3])
      .to(dtype)
      .narrow(0, 1, r)
      .narrow(1, 3, c),
  "every other": (r, c, dtype) =>
    randn([2 * r, 3 * c])
      .to(dtype)
      .slice(0, 0, 2 * r, 2)
      .slice(1, 0, 3 * c, 3),
  "one row for all": (r, c, dtype) => randn([1, c]).to(dtype).expand([r, c]),
  "one column for all": (r, c, dtype) => randn([r, 1]).to(dtype).expand([r, c]),
};
const SIZES: readonly (readonly [m: number, k: number, n: number])[] = [
  [1, 1, 1],
  [1, 7, 1],
  [5, 1, 3],
  [1, 64, 33],
  [3, 2, 17],
  [13, 31, 16],
  [12, 48, 32],
  [25, 33, 65],
  [130, 50, 40],
];

for (const way of WAYS)
  for (const dtype of SIXTEEN) {
    test(`${way}, ${dtype}: products of all layouts and sizes are rounded once`, () => {
      native.chooseCpuProducts(way);
      manualSeed(1);
      for (const [m, k, n] of SIZES)
        for (const [left, ofLeft] of Object.entries(LAYOUTS))
          for (const [right, ofRight] of Object.entries(LAYOUTS))
            scope(() => {
              const a = ofLeft(m, k, dtype);
              const b = ofRight(k, n, dtype);
              const exact = a.double().mm(b.double());
              const magnitude = a.double().abs().mm(b.double().abs());
              isNear(a.mm(b), exact, magnitude, dtype, `[${m}, ${k}] ${left} times [${k}, ${n}] ${right}`);
            });
    });

    test(`${way}, ${dtype}: what a product adds, of every shape`, () => {
      native.chooseCpuProducts(way);
      manualSeed(2);
      for (const [m, k, n] of SIZES)
        for (const shape of [[m, n], [n], [1, n], [m, 1], [1]])
          for (const [beta, alpha] of [
            [1, 1],
            [0.5, -2],
            [1, 0],
          ] as const)
            scope(() => {
              const self = randn(shape).to(dtype);
              const [a, b] = [randn([m, k]).to(dtype), randn([k, n]).to(dtype)];
              const exact = addmm(self.double(), a.double(), b.double(), { beta, alpha });
              const magnitude = addmm(self.double().abs(), a.double().abs(), b.double().abs(), { alpha: 2 });
              const what = `[${shape.join(", ")}] + [${m}, ${k}, ${n}], ${beta}, ${alpha}`;
              isNear(addmm(self, a, b, { beta, alpha }), exact, magnitude, dtype, what);
              if (shape.length === 2 && shape[0] === m && shape[1] === n)
                isNear(self.clone().addmm_(a, b, { beta, alpha }), exact, magnitude, dtype, `${what}, in place`);
            });
    });

    test(`${way}, ${dtype}: batches`, () => {
      native.chooseCpuProducts(way);
      manualSeed(3);
      for (const batch of [1, 2, 5])
        scope(() => {
          const a = randn([batch, 9, 20]).to(dtype);
          const b = randn([batch, 7, 20]).to(dtype).transpose(1, 2);
          const exact = a.double().bmm(b.double());
          const magnitude = a.double().abs().bmm(b.double().abs());
          isNear(a.bmm(b), exact, magnitude, dtype, "bmm");
          isNear(a.narrow(2, 0, 19).bmm(b.narrow(1, 1, 19)), a.double().narrow(2, 0, 19).bmm(b.double().narrow(1, 1, 19)), magnitude, dtype, "part"); // prettier-ignore
          const self = randn([9, 7]).to(dtype);
          isNear(baddbmm(self, a, b), baddbmm(self.double(), a.double(), b.double()), magnitude.add(3), dtype, "baddbmm"); // prettier-ignore
          const sum = randn([batch, 9, 7]).to(dtype);
          const exactSum = baddbmm(sum.double(), a.double(), b.double());
          isNear(sum.baddbmm_(a, b), exactSum, magnitude.add(3), dtype, "baddbmm_");
        });
    });

    test(`${way}, ${dtype}: NaN and infinity pass, numbers out of range become infinite, and 0 · self reads no NaN`, () => {
      native.chooseCpuProducts(way);
      const big = dtype === "float16" ? 60_000 : 3e38;
      const rows = [[1, Number.NaN], [Number.POSITIVE_INFINITY, 1], [big, big]]; // prettier-ignore
      const [a, b] = [tensor(rows).to(dtype), tensor([[1, 0], [1, 1]]).to(dtype)]; // prettier-ignore
      const [nans, infinite, large] = a.mm(b).tolist() as number[][];
      assert.deepEqual(nans, [Number.NaN, Number.NaN]);
      assert.deepEqual(infinite, [Number.POSITIVE_INFINITY, Number.NaN]);
      assert.deepEqual(large, [Number.POSITIVE_INFINITY, a.at(2, 1).item()]);
      const self = full([3, 2], Number.NaN).to(dtype);
      assert.deepEqual((addmm(self, a, b, { beta: 0 }).at(2).tolist() as number[])[0], Number.POSITIVE_INFINITY);
    });

    test(`${way}, ${dtype}: a result that is given, also where it is not dense or an operand`, () => {
      native.chooseCpuProducts(way);
      manualSeed(4);
      const [a, b] = [randn([6, 6]).to(dtype), randn([6, 6]).to(dtype)];
      const expected = bytes(a.mm(b));
      const [dense, turned, other] = [zeros([6, 6], { dtype }), zeros([6, 6], { dtype }).t(), empty([0], { dtype })];
      for (const out of [dense, turned, other]) {
        mm(a, b, { out });
        assert.deepEqual(bytes(out), expected);
      }
      const itself = a.clone();
      mm(itself, b, { out: itself });
      assert.deepEqual(bytes(itself), expected);
    });
  }

test("matrices without rows, columns or depth", () => {
  for (const dtype of SIXTEEN)
    for (const [m, k, n] of [
      [0, 3, 2],
      [2, 3, 0],
      [2, 0, 3],
    ] as const) {
      const product = zeros([m, k], { dtype }).mm(zeros([k, n], { dtype }));
      assert.deepEqual([product.shape, product.abs().sum().item()], [[m, n], 0]);
    }
});

test("shapes that do not fit have libtorch's error", () => {
  const a = zeros([2, 3], { dtype: "float16" });
  assert.throws(() => a.mm(a), /mat1 and mat2 shapes cannot be multiplied \(2x3 and 2x3\)/);
  assert.throws(() => a.mm(zeros([3, 2])), /Half/);
});

test("fast is not further from float64 than libtorch, in products, convolutions and their gradients", () => {
  manualSeed(5);
  for (const dtype of SIXTEEN) {
    const operands = [randn([24, 96]), randn([96, 40]), randn([4, 6, 9, 9]), randn([8, 6, 3, 3]), randn([8])];
    const [a, b, images, filters, bias] = operands.map((t) => t.to(dtype)) as [Tensor, Tensor, Tensor, Tensor, Tensor];
    const layer = { stride: [2, 1], padding: [1, 0], dilation: [1, 1] } as const;
    const all = (kind: DType): Tensor[] => {
      const leaf = (t: Tensor): Tensor => t.to(kind).requiresGrad_();
      const inputs = [a, b, images, filters, bias].map(leaf) as [Tensor, Tensor, Tensor, Tensor, Tensor];
      const product = inputs[0].mm(inputs[1]);
      const maps = convolution(inputs[2], inputs[3], inputs[4], layer.stride, layer.padding, layer.dilation, false, [0, 0], 1); // prettier-ignore
      product.sum().add(maps.mul(maps.detach()).sum()).backward();
      return [product, maps, ...inputs.map((t) => t.grad ?? assert.fail("no gradient"))];
    };
    const exact = all("float64");
    const [fast, libtorch] = (["fast", "libtorch"] as const).map((kernels) => under(kernels, () => all(dtype)));
    for (const [i, truth] of exact.entries()) {
      const [near, other] = [meanError(fast?.[i] as Tensor, truth), meanError(libtorch?.[i] as Tensor, truth)];
      assert.ok(near <= other * 1.02 + 1e-9, `${dtype}, result ${i}: ${near} > ${other}`);
    }
  }
});

test("libtorch's own kernels sum in another order: some bits differ", { skip: isMkldnnFp16Supported() }, () => {
  manualSeed(6);
  const [a, b] = [randn([64, 8000]).half(), randn([8000, 64]).half()];
  const product = (): Uint8Array => bytes(a.mm(b));
  assert.notDeepEqual(under("libtorch", product), product());
});

test("as many threads as one like: the same bits", () => {
  manualSeed(7);
  const threads = getNumThreads();
  const [a, b] = [randn([300, 500]).bfloat16(), randn([500, 290]).bfloat16()];
  const products = [1, 2, 3].map((n) => {
    setNumThreads(n);
    return bytes(a.mm(b));
  });
  setNumThreads(threads);
  assert.deepEqual(products[1], products[0]);
  assert.deepEqual(products[2], products[0]);
});

test("float32 and float64 have the same bits under both kernels", () => {
  manualSeed(8);
  for (const dtype of ["float32", "float64"] as const) {
    const [a, b] = [randn([33, 70]).to(dtype), randn([70, 21]).to(dtype)];
    const images = randn([2, 3, 8, 8]).to(dtype);
    const layer = new nn.Conv2d(3, 4, 3).to(dtype);
    const run = (): Uint8Array[] => [a.mm(b), layer.forward(images).detach()].map(bytes);
    assert.deepEqual(under("libtorch", run), run());
  }
});

test("a layer under autocast: gradients near those of float32, whichever kernels", () => {
  manualSeed(9);
  const layer = new nn.Linear(64, 48);
  const x = randn([32, 64]);
  const gradients = (): Tensor[] => layer.parameters().map((p) => (p.grad as Tensor).clone());
  const step = (fn: () => Tensor): Tensor[] => {
    layer.zeroGrad();
    fn().float().square().mean().backward();
    return gradients();
  };
  const exact = step(() => layer.forward(x));
  for (const dtype of SIXTEEN)
    for (const kernels of ["fast", "libtorch"] as const) {
      const found = under(kernels, () => step(() => autocast({ dtype }, () => layer.forward(x))));
      for (const [i, g] of found.entries()) {
        const off = g
          .sub(exact[i] as Tensor)
          .norm()
          .div((exact[i] as Tensor).norm())
          .item() as number;
        assert.ok(off < 4 * UNIT[dtype], `${dtype}, ${kernels}: ${off}`);
      }
    }
});

test("the switch is checked, and says what is on", () => {
  assert.equal(getCpuKernels(), "fast");
  setCpuKernels("libtorch");
  assert.equal(getCpuKernels(), "libtorch");
  assert.throws(
    () => setCpuKernels("own" as CpuKernels),
    (error) =>
      error instanceof ArgumentError &&
      error.message.startsWith('setCpuKernels: expected kernels to be one of "fast", "libtorch". Received: "own".'),
  );
  assert.equal(getCpuKernels(), "libtorch");
});
