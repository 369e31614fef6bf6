import assert from "node:assert/strict";
import { test } from "node:test";
import {
  autocast,
  finfo,
  full,
  fullLike,
  NumberRangeError,
  ones,
  scatterAdd,
  tensor,
  zeros,
  type DType,
  type Tensor,
} from "./index.js";

const mask = tensor([
  [true, false],
  [false, true],
]);
const half = (): Tensor => zeros([2, 2], { dtype: "float16" });

function refused(fn: () => unknown, dtype: DType, number: number, fix: RegExp): void {
  assert.throws(fn, (error) => {
    assert.ok(
      error instanceof NumberRangeError && error.code === "TORCH_NUMBER_RANGE" && error.dtype === dtype,
      String(error),
    );
    assert.ok(
      error.message.includes(`: expected a number that ${dtype} holds, from `) &&
        error.message.includes(`Received: ${number}. At packages/torch/src/number-range.test.ts:`),
      error.message,
    );
    assert.match(error.message, fix);
    assert.match(error.message, /\(libtorch: value cannot be converted to type \S+ without overflow\)$/);
    return true;
  });
}

test("a number beyond a dtype is named, with the dtype and what to write", () => {
  const least =
    /Write -Infinity for what is to be left out of a softmax, finfo\("float16"\)\.min for the least number, or compute this in float32 \(x\.float\(\)\)[.,] /;
  const most = /Write Infinity .* finfo\("float16"\)\.max for the largest number/;
  refused(() => half().maskedFill(mask, -1e9), "float16", -1e9, least);
  refused(() => half().maskedFill_(mask, -1e9), "float16", -1e9, least);
  refused(() => half().fill_(-1e9), "float16", -1e9, least);
  refused(() => half().setAt([0], -1e9), "float16", -1e9, least);
  refused(() => half().clamp({ min: -1e9 }), "float16", -1e9, least);
  refused(() => full([2], 1e9, { dtype: "float16" }), "float16", 1e9, most);
  refused(() => fullLike(half(), 1e9), "float16", 1e9, most);
  refused(() => zeros([2], { dtype: "bfloat16" }).fill_(-1e40), "bfloat16", -1e40, /finfo\("bfloat16"\)\.min/);
  refused(
    () => zeros([2]).fill_(1e40),
    "float32",
    1e40,
    /finfo\("float32"\)\.max for the largest number, or compute this in float32 \(x\.float\(\)\)\. /,
  );
  refused(
    () => zeros([2], { dtype: "int8" }).fill_(300),
    "int8",
    300,
    /Use a wider dtype \(x\.to\("int64"\)\), or a number that fits\./,
  );
  refused(() => half().maskedFill(mask, tensor(-1e9)), "float16", -1e9, least);
});

test("the region that made the dtype is named", () => {
  const product = (): Tensor => ones([2, 2]).mm(ones([2, 2]));
  for (const fill of [-1e9, tensor(-1e9)])
    assert.throws(() => autocast({ dtype: "float16" }, () => product().maskedFill(mask, fill as number)), {
      code: "TORCH_NUMBER_RANGE",
      message:
        /Received: -1000000000, in a region of autocast of cpu to float16, which makes float16 of what matrix operators return\. At packages\/torch\/src\/number-range\.test\.ts:[^]*or compute this in float32 \(x\.float\(\)\), or this operator: autocast\(\{ enabled: false \}, \(\) => …\)\. /,
    });
  // A region of another dtype has no part in it.
  assert.throws(
    () => autocast({ dtype: "bfloat16" }, () => half().fill_(1e9)),
    (error) => error instanceof NumberRangeError && !error.message.includes("region"),
  );
});

test("numbers that an integer dtype does not hold are refused where they wrapped, as PyTorch refuses them", () => {
  const wrong: readonly (readonly [DType, readonly (number | bigint)[]])[] = [
    ["int8", [300, -129, 127.9, NaN, Infinity, 128n]],
    ["uint8", [256, 300.5, -256, 256n]],
    ["int16", [40000]],
    ["uint16", [65536]],
    ["int32", [2 ** 31, -(2 ** 31) - 1, 2147483647.5]],
    ["uint32", [2 ** 32]],
  ];
  for (const [dtype, values] of wrong)
    for (const v of values)
      assert.throws(
        () =>
          tensor(
            [
              [0, 1],
              [true, v],
            ],
            { dtype },
          ),
        (error) =>
          error instanceof NumberRangeError &&
          error.code === "TORCH_NUMBER_RANGE" &&
          error.dtype === dtype &&
          error.message.startsWith(`tensor: expected numbers that ${dtype} holds, from `),
        `${dtype} ${v}`,
      );
  assert.throws(() => tensor([300], { dtype: "int8" }), {
    message:
      'tensor: expected numbers that int8 holds, from -128 to 127. Received: 300. Use a wider dtype (dtype: "int64"), or numbers that fit.',
  });
  assert.deepEqual(tensor([-128, 127, -0.9, 1.9], { dtype: "int8" }).tolist(), [-128, 127, 0, 1]);
  assert.deepEqual(tensor([-1, 255, true], { dtype: "uint8" }).tolist(), [255, 255, 1]); // PyTorch's
  assert.deepEqual(tensor([2 ** 31 - 1, -(2 ** 31), 5n], { dtype: "int32" }).tolist(), [2147483647, -2147483648, 5]);
  assert.deepEqual(tensor([300, NaN], { dtype: "bool" }).tolist(), [true, true]);
});

test("a constant that becomes infinity in float16 is told once where a precision chose float16", async () => {
  const heard: string[] = [];
  const listen = (w: Error & { code?: string }): void => void (w.code === "WARN_NUMBER_RANGE" && heard.push(w.message));
  process.on("warning", listen);
  const make = (v: number): unknown => tensor([1, v], { dtype: "float16" }).tolist();
  assert.deepEqual(make(1e9), [1, Infinity]); // asked for by name, as in PyTorch
  autocast({ dtype: "bfloat16" }, () => make(1e9));
  autocast({ dtype: "float16" }, () => [65519, -65519, Infinity, -Infinity, NaN].map(make));
  await new Promise((done) => setImmediate(done));
  assert.deepEqual(heard, []);
  assert.deepEqual(
    autocast({ dtype: "float16" }, () => make(-1e9)),
    [1, -Infinity],
  );
  autocast({ dtype: "float16" }, () => make(1e9));
  await new Promise((done) => setImmediate(done));
  assert.deepEqual(heard, [
    'tensor: -1000000000 is beyond float16, whose largest number is 65504, and becomes -infinity: this is a region of autocast of cpu to float16. Write -Infinity if that is meant, finfo("float16").min, or compute in float32. This is said once.',
  ]);
  process.off("warning", listen);
});

test("the code that the message recommends works", () => {
  assert.deepEqual(half().maskedFill(mask, -Infinity).tolist(), [
    [-Infinity, 0],
    [0, -Infinity],
  ]);
  assert.deepEqual(half().maskedFill(mask, finfo("float16").min).tolist(), [
    [-65504, 0],
    [0, -65504],
  ]);
  assert.deepEqual(half().float().maskedFill(mask, -1e9).tolist(), [
    [-1e9, 0],
    [0, -1e9],
  ]);
});

test("dtypes that meet inside autocast are named with the operator and the region", () => {
  const index = tensor([[0, 0]], { dtype: "int64" });
  assert.throws(
    () => autocast({ dtype: "float16" }, () => scatterAdd(zeros([2, 2]), 0, index, ones([2, 2]).mm(ones([2, 2])))),
    {
      code: "TORCH_DTYPE_MISMATCH",
      message:
        /^scatter_add: expected operands of one dtype\. Received: float32 and float16, in a region of autocast of cpu to float16\. At packages\/torch\/src\/number-range\.test\.ts:/,
    },
  );
});
