import assert from "node:assert/strict";
import { test } from "node:test";
import { autocast, finfo, full, fullLike, NumberRangeError, ones, scatterAdd, tensor, zeros, type DType, type Tensor } from "./index.js";

const mask = tensor([[true, false], [false, true]]);
const half = (): Tensor => zeros([2, 2], { dtype: "float16" });

function refused(fn: () => unknown, dtype: DType, number: number, fix: RegExp): void {
  assert.throws(fn, (error) => {
    assert.ok(error instanceof NumberRangeError && error.code === "TORCH_NUMBER_RANGE" && error.dtype === dtype, String(error));
    assert.ok(error.message.includes(`: expected a number that ${dtype} holds, from `) && error.message.includes(`Received: ${number}. At packages/torch/src/number-range.test.ts:`), error.message);
    assert.match(error.message, fix);
    assert.match(error.message, /\(libtorch: value cannot be converted to type \S+ without overflow\)$/);
    return true;
  });
}

test("a number beyond a dtype is named, with the dtype and what to write", () => {
  const least = /Write -Infinity for what is to be left out of a softmax, finfo\("float16"\)\.min for the least number, or compute this in float32 \(x\.float\(\)\); autocast makes float16 tensors/;
  const most = /Write Infinity .* finfo\("float16"\)\.max for the largest number/;
  refused(() => half().maskedFill(mask, -1e9), "float16", -1e9, least);
  refused(() => half().maskedFill_(mask, -1e9), "float16", -1e9, least);
  refused(() => half().fill_(-1e9), "float16", -1e9, least);
  refused(() => half().setAt([0], -1e9), "float16", -1e9, least);
  refused(() => half().clamp({ min: -1e9 }), "float16", -1e9, least);
  refused(() => full([2], 1e9, { dtype: "float16" }), "float16", 1e9, most);
  refused(() => fullLike(half(), 1e9), "float16", 1e9, most);
  refused(() => zeros([2], { dtype: "bfloat16" }).fill_(-1e40), "bfloat16", -1e40, /finfo\("bfloat16"\)\.min/);
  refused(() => zeros([2]).fill_(1e40), "float32", 1e40, /finfo\("float32"\)\.max for the largest number, or compute this in float32 \(x\.float\(\)\)\. /);
  refused(() => zeros([2], { dtype: "int8" }).fill_(300), "int8", 300, /Use a wider dtype \(x\.to\("int64"\)\), or a number that fits\./);
  refused(() => autocast({ dtype: "float16" }, () => ones([2, 2]).mm(ones([2, 2])).maskedFill(mask, -1e9)), "float16", -1e9, least);
});

test("what the message says to write works", () => {
  assert.deepEqual(half().maskedFill(mask, -Infinity).tolist(), [[-Infinity, 0], [0, -Infinity]]);
  assert.deepEqual(half().maskedFill(mask, finfo("float16").min).tolist(), [[-65504, 0], [0, -65504]]);
  assert.deepEqual(half().float().maskedFill(mask, -1e9).tolist(), [[-1e9, 0], [0, -1e9]]);
});

test("dtypes that meet inside autocast are named with the operator and the region", () => {
  const index = tensor([[0, 0]], { dtype: "int64" });
  assert.throws(() => autocast({ dtype: "float16" }, () => scatterAdd(zeros([2, 2]), 0, index, ones([2, 2]).mm(ones([2, 2])))), {
    code: "TORCH_DTYPE_MISMATCH",
    message: /^scatter_add: expected operands of one dtype\. Received: float32 and float16, in a region of autocast of cpu to float16\. At packages\/torch\/src\/number-range\.test\.ts:/,
  });
});
