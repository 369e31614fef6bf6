/** Operators that answer questions about tensors and dtypes, and those of sparse layouts: PyTorch's answers. */
import assert from "node:assert/strict";
import { test } from "node:test";
import * as torch from "../index.js";
import { arange, ones, tensor, zeros, type Tensor } from "../index.js";

test("dtypes that numbers and tensors go together in", () => {
  assert.equal(torch.canCast("float32", "int64"), false);
  assert.equal(torch.canCast("int64", "float16"), true);
  assert.equal(torch.resultType(tensor([1], { dtype: "int64" }), 1.5), "float32");
  assert.equal(torch.resultType(tensor([1], { dtype: "float16" }), tensor(1, { dtype: "float64" })), "float16");
});

test("what a tensor is", () => {
  assert.deepEqual([torch.isNonzero(ones([1])), zeros([1]).isNonzero()], [true, false]);
  assert.throws(() => ones([2]).isNonzero(), /Boolean value of Tensor with more than one value/);
  const t = ones([2]);
  assert.deepEqual([t.isCuda, t.isDistributed(), torch.isDistributed(t)], [false, false, false]);
  assert.deepEqual([t.isSetTo(t), t.isSetTo(ones([2]))], [true, false]);
});

test("nothing is negated or sliced twice", () => {
  const t = arange(4);
  assert.deepEqual(torch.sliceInverse(t.slice(0, 1, 3), t, 0, 1, 3, 1).shape, [4]);
  assert.deepEqual(t.slice(0, 1, 3).sliceInverse(t, 0, 1, 3, 1).shape, [4]);
});

function coo(): Tensor {
  return tensor([
    [0, 2, 0],
    [0, 0, 3],
  ]).toSparse();
}
test("sparse coordinates", () => {
  const s = coo();
  assert.deepEqual([s.sparseDim(), s.denseDim(), s.isCoalesced()], [2, 0, true]);
  assert.deepEqual(ones([2, 3]).sparseMask(s).toDense().tolist(), [
    [0, 1, 0],
    [0, 0, 1],
  ]);
  assert.deepEqual(
    torch
      .smm(s, ones([3, 1]))
      .toDense()
      .tolist(),
    [[2], [3]],
  );
  assert.deepEqual(
    s
      .smm(ones([3, 1]))
      .toDense()
      .tolist(),
    [[2], [3]],
  );
  assert.deepEqual(
    torch
      .hspmm(s, ones([3, 2]))
      .toDense()
      .tolist(),
    [
      [2, 2],
      [3, 3],
    ],
  );
  assert.deepEqual(
    torch
      .sspaddmm(coo(), s.t().coalesce().t().coalesce(), ones([3, 3]))
      .toDense()
      .tolist(),
    [
      [2, 4, 2],
      [3, 3, 6],
    ],
  );
  assert.deepEqual(s.sparseResize_([3, 4], 2, 0).shape, [3, 4]);
  assert.deepEqual(s.sparseResizeAndClear_([2, 2], 2, 0).toDense().tolist(), [
    [0, 0],
    [0, 0],
  ]);
});

test("compressed rows and columns", () => {
  const csr = torch.sparseCsrTensor(
    tensor([0, 2, 3], { dtype: "int64" }),
    tensor([0, 1, 1], { dtype: "int64" }),
    tensor([1, 2, 3]),
    [2, 2],
  );
  assert.deepEqual(csr.toDense().tolist(), [
    [1, 2],
    [0, 3],
  ]);
  const csc = torch.sparseCscTensor(
    tensor([0, 1, 3], { dtype: "int64" }),
    tensor([0, 0, 1], { dtype: "int64" }),
    tensor([1, 2, 3]),
    [2, 2],
  );
  assert.deepEqual(csc.toDense().tolist(), [
    [1, 2],
    [0, 3],
  ]);
  const dense = tensor([
    [0, 2, 0],
    [0, 0, 3],
  ]);
  const columns = dense.toSparseCsc();
  assert.deepEqual(
    [columns.ccolIndices().tolist(), columns.rowIndices().tolist()],
    [
      [0, 0, 1, 2],
      [0, 1],
    ],
  );
  const int = (list: number[]): Tensor => tensor(list, { dtype: "int64" });
  const made = torch.sparseCompressedTensor(int([0, 1, 2]), int([1, 2]), tensor([2, 3]), [2, 3], {
    layout: "sparseCsr",
  });
  assert.deepEqual(made.toDense().tolist(), dense.tolist());
  const block = torch.sparseBsrTensor(int([0, 1]), int([0]), ones([1, 2, 2]), [2, 2]);
  assert.deepEqual(block.toDense().tolist(), [
    [1, 1],
    [1, 1],
  ]);
  assert.deepEqual(
    torch
      .sparseBscTensor(int([0, 1]), int([0]), ones([1, 2, 2]), [2, 2])
      .toDense()
      .tolist(),
    [
      [1, 1],
      [1, 1],
    ],
  );
});

test("copies of parts of sparse tensors", () => {
  const rows = tensor([[0, 2]]).toSparseCsr();
  assert.deepEqual([torch.crowIndicesCopy(rows).tolist(), torch.colIndicesCopy(rows).tolist()], [[0, 1], [1]]);
  const columns = tensor([[0, 2]]).toSparseCsc();
  assert.deepEqual([torch.ccolIndicesCopy(columns).tolist(), torch.rowIndicesCopy(columns).tolist()], [[0, 0, 1], [0]]);
  for (const copy of [torch.indicesCopy, torch.valuesCopy]) assert.throws(() => copy(coo()), /no kernel/);
});

test("other dtypes and paddings", () => {
  assert.equal(ones([1]).chalf().dtype, "complex32");
  assert.equal(torch.fft.rfftfreq(4).tolist<number[]>().length, 3);
});

test("norms of sparse tensors, and rows of a table made shorter", () => {
  assert.ok(Math.abs(torch.nativeNorm(coo()).item() - Math.hypot(2, 3)) < 1e-6);
  const table = tensor([
    [3, 4],
    [0, 1],
  ]);
  torch.embeddingRenorm_(table, tensor([0], { dtype: "int64" }), 1, 2);
  assert.ok(Math.abs(table.at(0).norm().item() - 1) < 1e-5);
});
