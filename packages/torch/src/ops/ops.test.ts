import assert from "node:assert/strict";
import { test } from "node:test";
import * as torch from "../index.js";
import { METHODS } from "../generated/methods.js";
import { native } from "../native.js";
import { schemasOf } from "./schema.js";

const { aten, tensor, ones, zeros } = torch;

test("overloads are chosen as PyTorch would", () => {
  const x = torch.arange(6, { dtype: "float32" }).view(2, 3);
  assert.equal(x.sum().item(), 15);
  assert.deepEqual(x.sum(0).tolist(), [3, 5, 7]);
  assert.deepEqual(x.sum([0, 1], { keepdim: true }).shape, [1, 1]);
  assert.deepEqual(x.sum([1], true).shape, [2, 1]);
  assert.equal(x.sum({ dtype: "float64" }).dtype, "float64");
  assert.equal(x.max().item(), 5);
  const { values, indices } = x.max(1);
  assert.deepEqual(values.tolist(), [2, 5]);
  assert.deepEqual(indices.tolist(), [2, 2]);
  assert.deepEqual(x.max(tensor([[3], [3]])).tolist(), [
    [3, 3, 3],
    [3, 4, 5],
  ]);
  assert.deepEqual(
    x.split(2, 1).map((t) => t.shape),
    [
      [2, 2],
      [2, 1],
    ],
  );
  assert.deepEqual(
    x.split([1, 2], 1).map((t) => t.shape),
    [
      [2, 1],
      [2, 2],
    ],
  );
  assert.deepEqual(torch.div(tensor([7]), tensor([2]), { roundingMode: "floor" }).tolist(), [3]);
  assert.deepEqual(x.clamp({ min: 2 }).tolist(), [
    [2, 2, 2],
    [3, 4, 5],
  ]);
  assert.deepEqual(x.clamp(1, 3).tolist(), [
    [1, 1, 2],
    [3, 3, 3],
  ]);
  assert.deepEqual(torch.where(x.gt(2), x, 0).tolist(), [
    [0, 0, 0],
    [3, 4, 5],
  ]);
  assert.deepEqual(torch.pow(2, tensor([3, 4])).tolist(), [8, 16]);
});

test("sizes are given as a list or as arguments, and one number fills a fixed-size list", () => {
  assert.deepEqual(zeros(2, 3).shape, [2, 3]);
  assert.deepEqual(zeros([2, 3]).shape, [2, 3]);
  assert.deepEqual(zeros(2, 3, { dtype: "int64" } as never).dtype, "int64");
  assert.deepEqual(zeros(4).view(2, -1).shape, [2, 2]);
  assert.deepEqual(zeros([2, 3, 4]).permute(2, 0, 1).shape, [4, 2, 3]);
  assert.deepEqual(torch.maxPool2d(zeros([1, 1, 4, 4]), 2).shape, [1, 1, 2, 2]);
  assert.deepEqual(torch.conv2d(zeros([1, 1, 4, 4]), zeros([2, 1, 3, 3]), null, 1, 1).shape, [1, 2, 4, 4]);
  assert.deepEqual(
    torch.conv2d(zeros([1, 1, 4, 4]), zeros([2, 1, 3, 3]), { padding: "same" } as never).shape,
    [1, 2, 4, 4],
  );
});

test("factories take requiresGrad and dtype by name", () => {
  const x = torch.randn([2], { requiresGrad: true, dtype: "float64" });
  assert.equal(x.requiresGrad, true);
  assert.equal(x.dtype, "float64");
  assert.equal(torch.randn([2], { requiresGrad: false }).requiresGrad, false);
});

test("in-place operators return their tensor; out writes where it is told", () => {
  const x = ones([2]);
  assert.equal(x.add_(1), x);
  assert.deepEqual(x.tolist(), [2, 2]);
  const out = zeros([2]);
  assert.equal(torch.add(x, x, { out }), out);
  assert.deepEqual(out.tolist(), [4, 4]);
});

test("aten has private operators and exact overloads", () => {
  const xs = [ones([2]), ones([3])];
  aten["_foreach_add_"]?.(torch.TensorList.of(xs), [ones([2]), ones([3])], { alpha: 3 });
  assert.deepEqual(
    xs.map((x) => x.tolist()),
    [
      [4, 4],
      [4, 4, 4],
    ],
  );
  const norms = aten["_foreach_norm"]?.(xs, 2);
  assert.equal(Array.isArray(norms) && norms.length, 2);
  assert.deepEqual(aten["add"]?.["Tensor"]?.(ones([1]), ones([1])).tolist(), [2]);
  assert.equal(aten["no_such_operator"], undefined);
  assert.equal(aten["add"]?.["noSuchOverload"], undefined);
});

test("missing arguments, unknown names, wrong kinds: an error that says which", () => {
  const x = ones([2]);
  const wrong = { name: "ArgumentError", code: "ERR_ARGUMENT" };
  assert.throws(() => (torch.add as (...a: unknown[]) => unknown)(x), wrong);
  assert.throws(() => (torch.add as (...a: unknown[]) => unknown)(x, "y"), wrong);
  assert.throws(
    () => (torch.add as (...a: unknown[]) => unknown)(x, x, { beta: 2 }),
    /^ArgumentError: add: expected options among other, alpha\. Received: "beta"\.$/,
  );
  assert.throws(() => (torch.sum as (...a: unknown[]) => unknown)(x, 0.5), wrong);
  assert.throws(() => (torch.zeros as (...a: unknown[]) => unknown)([2, "3"]), wrong);
  assert.throws(() => (torch.zeros as (...a: unknown[]) => unknown)([2], { dtype: "float31" }), wrong);
  assert.throws(() => torch.mm(ones([2, 3]), ones([2, 3])), {
    name: "TorchError",
    code: "TORCH",
    op: "aten::mm",
    message: /mm: mat1 and mat2 shapes cannot be multiplied \(2x3 and 2x3\)$/,
  });
  assert.throws(() => x.select(0, 5), { code: "TORCH_INDEX" });
});

test("direct calls and boxed calls agree, bit for bit", () => {
  const run = (): string => {
    torch.manualSeed(1);
    const x = torch.randn([4, 6]);
    const w = torch.randn([6, 6]);
    const b = torch.randn([6]);
    const t = tensor([0, 1, 2, 3], { dtype: "int64" });
    const image = torch.randn([2, 3, 8, 8]);
    return [
      x.add(x, { alpha: 2 }),
      x.add(2),
      x.sub(x),
      x.mul(3),
      x.mul(x),
      x.div(2),
      x.neg(),
      x.exp(),
      x.abs().log(),
      x.abs().sqrt(),
      x.pow(2),
      x.matmul(w),
      x.mm(w),
      torch.addmm(b, x, w),
      torch.linear(x, w, b),
      torch.linear(x, w),
      x.relu(),
      torch.gelu(x),
      torch.gelu(x, { approximate: "tanh" }),
      torch.silu(x),
      x.sigmoid(),
      x.tanh(),
      x.softmax(1),
      x.logSoftmax(-1),
      torch.layerNorm(x, [6], b, b, 1e-5),
      torch.layerNorm(x, [6]),
      torch.batchNorm(image, null, null, null, null, true, 0.1, 1e-5, false),
      torch.conv2d(image, torch.ones([2, 3, 3, 3]), null, [1, 1], [1, 1]),
      torch.maxPool2d(image, [2, 2]),
      torch.dropout(x, 0.5, false),
      torch.embedding(w, t),
      torch.crossEntropyLoss(x, t),
      torch.mseLoss(x, x.neg()),
      torch.binaryCrossEntropyWithLogits(x, x.sigmoid()),
      torch.scaledDotProductAttention(image, image, image, null, 0, true),
      x.transpose(0, 1),
      x.view([24]),
      x.reshape([6, 4]),
      image.permute([0, 2, 3, 1]),
      image.flatten(1),
      x.unsqueeze(1),
      x.unsqueeze(0).squeeze(0),
      x.select(0, 1),
      x.slice(1, 1, 5, 2),
      ...x.chunk(2, 1),
      ...x.split(2),
      torch.cat([x, x], 1),
      torch.stack([x, x]),
      x.sum(),
      x.sum([1], true),
      x.mean(),
      x.mean([0]),
      x.argmax(),
      x.argmax(1),
      x.eq(x),
      x.indexSelect(0, t),
      x.detach(),
      x.clone().zero_(),
      torch.rmsNorm(x, [6], b),
    ]
      .map((r) => `${r.dtype} ${r.shape} ${Buffer.from(r.contiguous().toBytes()).toString("base64")}`)
      .join("\n");
  };
  torch.scope(() => {
    const direct = run();
    assert.equal(native.isDirect(native.compileOp("aten::add", "Tensor")), true);
    native.setDirectCalls(false);
    try {
      assert.equal(native.isDirect(native.compileOp("aten::add", "Tensor")), false);
      assert.equal(run(), direct);
    } finally {
      native.setDirectCalls(true);
    }
  });
});

test("every declared method and function exists in this libtorch", () => {
  const missing = METHODS.filter((name) => schemasOf(`aten::${name}`).length === 0);
  assert.deepEqual(missing, []);
  assert.ok(METHODS.length > 400);
  assert.ok(torch.operatorNames().length > 1000);
});

test("complex scalars and results work", () => {
  const z = tensor([new torch.Complex(1, 2)]);
  assert.equal(z.mul(new torch.Complex(0, 1)).itemComplex().toString(), "(-2+1j)");
  assert.throws(() => z.item(), /itemComplex/);
});

test("warnings of libtorch reach process.emitWarning", async () => {
  const warning = new Promise<Error>((resolve) => process.once("warning", resolve));
  const a = ones([2]);
  // Resizing a non-empty out tensor is deprecated, and libtorch says so.
  torch.add(a, a, { out: zeros([3]) });
  assert.match((await warning).message, /resized/);
});

test("an operator that returns a dtype returns its name", () => {
  assert.equal(torch.promoteTypes("float32", "bfloat16"), "float32");
  assert.equal(torch.promoteTypes("float16", "bfloat16"), "float32");
  assert.equal(torch.promoteTypes("int64", "float16"), "float16");
});

test("options choose another overload whenever their names or kinds change", () => {
  const x = torch.arange(6, { dtype: "float32" }).view(2, 3);
  for (let round = 0; round < 2; round++) {
    assert.equal(x.sum({ dtype: "float64" }).dtype, "float64");
    assert.equal(x.sum({ dtype: "int64" }).dtype, "int64");
    assert.equal(x.sum({ dtype: undefined } as never).dtype, "float32");
    assert.equal(x.sum({ dtype: null } as never).dtype, "float32");
    assert.deepEqual(x.clamp({ min: 2 }).tolist(), [
      [2, 2, 2],
      [3, 4, 5],
    ]);
    assert.deepEqual(x.clamp({ max: 2 }).tolist(), [
      [0, 1, 2],
      [2, 2, 2],
    ]);
    assert.deepEqual(x.clamp({ min: 2, max: 4 }).tolist(), [
      [2, 2, 2],
      [3, 4, 4],
    ]);
    assert.deepEqual(x.clamp({ max: 4, min: 2 }).tolist(), [
      [2, 2, 2],
      [3, 4, 4],
    ]);
    assert.deepEqual(x.clamp({ min: tensor([[1], [4]]) }).tolist(), [
      [1, 1, 2],
      [4, 4, 5],
    ]);
    assert.deepEqual(x.clamp({ min: 2, max: undefined } as never).tolist(), [
      [2, 2, 2],
      [3, 4, 5],
    ]);
    assert.throws(() => x.clamp({ min: 2, most: 4 } as never), { code: "ERR_ARGUMENT" });
  }
});
