import assert from "node:assert/strict";
import { test } from "node:test";
import * as torch from "../index.js";

test("numbers become float32, bigints int64, booleans bool, typed arrays their own", () => {
  assert.equal(torch.tensor([1, 2]).dtype, "float32");
  assert.equal(torch.tensor([1n, -2n]).dtype, "int64");
  assert.equal(torch.tensor([true]).dtype, "bool");
  assert.equal(torch.tensor(new Float64Array(2)).dtype, "float64");
  assert.equal(torch.tensor(new Uint8Array(2)).dtype, "uint8");
  assert.equal(torch.tensor(new BigInt64Array(2)).dtype, "int64");
  assert.equal(torch.tensor(3).ndim, 0);
  assert.deepEqual(torch.tensor([]).shape, [0]);
  assert.deepEqual(torch.tensor([[], []]).shape, [2, 0]);
});

for (const dtype of [
  "float32",
  "float64",
  "float16",
  "bfloat16",
  "int8",
  "int16",
  "int32",
  "int64",
  "uint8",
  "bool",
  "complex64",
  "complex128",
  "uint16",
  "uint32",
  "uint64",
  "float8_e4m3fn",
  "float8_e5m2",
] as const)
  test(`${dtype}: created, read back, and its bytes round-trip`, () => {
    const x = torch.tensor([0, 1, 1], { dtype });
    assert.equal(x.dtype, dtype);
    const list = x.tolist();
    if (dtype === "bool") assert.deepEqual(list, [false, true, true]);
    else if (dtype.startsWith("complex")) assert.equal(String(list), "(0+0j),(1+0j),(1+0j)");
    else assert.deepEqual(list, [0, 1, 1]);
    const again = torch.tensorFromBytes(x.toBytes(), dtype, x.shape);
    assert.deepEqual(String(again.tolist()), String(list));
  });

test("integers beyond 2^53 stay exact", () => {
  const big = 9223372036854775807n;
  const x = torch.tensor([big, -big]);
  assert.deepEqual(x.tolist(), [big, -big]);
  assert.equal(x.at(0).itemBigInt(), big);
  assert.throws(() => x.at(0).item(), { code: "ERR_ARGUMENT" });
  assert.deepEqual(x.sub(1n).at(0).itemBigInt(), big - 1n);
  assert.deepEqual(torch.full([1], big, { dtype: "int64" }).itemBigInt(), big);
});

test("ragged and mixed arrays are refused with the place", () => {
  assert.throws(() => torch.tensor([[1, 2], [3]]), /equal length at depth 1 \(2\)\. Received: length 1/);
  assert.throws(() => torch.tensor([[1], 2]), { code: "ERR_ARGUMENT" });
  assert.throws(() => torch.tensor([1, [2]]), { code: "ERR_ARGUMENT" });
  assert.throws(() => torch.tensor("3" as unknown as number), { code: "ERR_ARGUMENT" });
  const cyclic: unknown[] = [];
  cyclic.push(cyclic);
  assert.throws(() => torch.tensor(cyclic as number[]), { code: "ERR_ARGUMENT" });
  assert.throws(() => torch.tensor([NaN], { dtype: "int64" }), /finite values/);
  assert.throws(
    () => torch.tensor([1], { dtype: "float99" as torch.DType }),
    /expected dtype to be a dtype such as "float32"/,
  );
  assert.throws(() => torch.tensor([1], { device: "gpu" }), /expected device to be a device such as/);
  assert.throws(() => torch.tensorFromBytes(new Uint8Array(3), "float32", [1]), { code: "ERR_ARGUMENT" });
});

test("default dtype changes what numbers and factories become", () => {
  torch.setDefaultDtype("float64");
  try {
    assert.equal(torch.tensor([1]).dtype, "float64");
    assert.equal(torch.zeros([1]).dtype, "float64");
  } finally {
    torch.setDefaultDtype("float32");
  }
  assert.throws(() => torch.setDefaultDtype("int64"), /floating point dtype/);
});

test("to returns the tensor itself when nothing changes, else a new one", () => {
  const x = torch.ones([2]);
  assert.equal(x.to("float32"), x);
  assert.equal(x.to("cpu"), x);
  assert.notEqual(x.to({ copy: true }), x);
  assert.equal(x.half().dtype, "float16");
  assert.equal(x.to(torch.zeros([1], { dtype: "float64" })).dtype, "float64");
  assert.throws(() => x.to(3 as unknown as "cpu"), { code: "ERR_ARGUMENT" });
  const g = torch.ones([2], { requiresGrad: true });
  g.double().sum().backward();
  assert.deepEqual(g.grad?.tolist(), [1, 1]);
});

test("shape, strides, dtype and device are read from a tensor", () => {
  const x = torch.zeros([2, 3, 4]).transpose(0, 2);
  assert.deepEqual(x.shape, [4, 3, 2]);
  assert.deepEqual(x.stride(), [1, 4, 12]);
  assert.equal(x.isContiguous(), false);
  assert.equal(x.isView, true);
  assert.equal(x.size(-1), 2);
  assert.throws(() => x.size(3), /dim in \[-3, 2\]/);
  assert.equal(x.nbytes, 96);
  assert.equal(x.select(0, 1).storageOffset(), 1);
  assert.throws(() => `${(x as unknown as number) + 1}`, { code: "ERR_TENSOR_OPERATOR" });
});

test("full returns the default dtype to numbers, whole or not", () => {
  const dtypes = (): string[] =>
    [
      torch.full([2], 1),
      torch.full([2], 1.5),
      torch.full([2], -0),
      torch.full([2], NaN),
      torch.full([2], true),
      torch.full([2], 1n),
      torch.full([2], 1, { dtype: "int32" }),
      torch.full([2], 1, { dtype: null, requiresGrad: true }),
    ].map((t) => t.dtype);
  assert.deepEqual(dtypes(), ["float32", "float32", "float32", "float32", "bool", "int64", "int32", "float32"]);
  torch.setDefaultDtype("float64");
  try {
    assert.deepEqual(dtypes(), ["float64", "float64", "float64", "float64", "bool", "int64", "int32", "float64"]);
  } finally {
    torch.setDefaultDtype("float32");
  }
  assert.equal(torch.full([2], 1, { requiresGrad: true }).requiresGrad, true);
  assert.equal(torch.fullLike(torch.zeros([2], { dtype: "int32" }), 1).dtype, "int32");
  assert.equal(torch.zeros([2], { dtype: "bool" }).newFull([1], 1).dtype, "bool");
  assert.throws(() => Reflect.apply(torch.full, undefined, [[2], 1, { dtpe: "int32" }]), {
    code: "ERR_ARGUMENT",
    message: /the option dtype/,
  });
});

const Float16 = (globalThis as { readonly Float16Array?: { of(...values: number[]): torch.TypedArray } }).Float16Array;
test(
  "Float16Array is float16, in and out",
  { skip: Float16 === undefined ? "this JavaScript has none" : false },
  () => {
    const of = (...values: number[]): torch.TypedArray => (Float16 as NonNullable<typeof Float16>).of(...values);
    const half = torch.tensor(of(1.5, -2, 65504));
    assert.equal(half.dtype, "float16");
    assert.deepEqual(half.tolist(), [1.5, -2, 65504]);
    assert.deepEqual(torch.tensor(of(1.5, -2), { dtype: "float32" }).tolist(), [1.5, -2]);
    assert.deepEqual(torch.tensor([of(1.5, -2)]).tolist(), [[1.5, -2]]);
    assert.deepEqual(torch.tensorFromBytes(of(1, 2), "float16", [2]).tolist(), [1, 2]);
    const batch = torch.defaultCollate([of(1, 2), of(3, 4)]);
    assert.equal(batch.dtype, "float16");
    assert.deepEqual(batch.tolist(), [
      [1, 2],
      [3, 4],
    ]);
    assert.deepEqual(
      torch
        .tensor([0, 0, 0], { dtype: "float16" })
        .copyFromBytes(of(7, 8, 9))
        .tolist(),
      [7, 8, 9],
    );
    assert.equal(Object.prototype.toString.call(half.toTypedArray()), "[object Float16Array]");
    assert.deepEqual(Array.from(half.toTypedArray(), Number), [1.5, -2, 65504]);
  },
);
