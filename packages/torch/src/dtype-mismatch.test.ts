/**
 * libtorch's messages, as it writes them on one processor or another, by their text alone: which are of operands whose
 * dtypes differ, and which dtypes an error names.
 */
import assert from "node:assert/strict";
import { test } from "node:test";
import { DTypeMismatchError, explainMismatch } from "./dtype-mismatch.js";
import { TorchError } from "./errors.js";

const explained = (text: string, operands: readonly string[]): unknown =>
  explainMismatch(
    new TorchError(text, "TORCH", "aten::op"),
    () => operands,
    () => null,
  );

const MKLDNN = "should be the same or input should be a MKLDNN tensor and";
/** Message, floating dtypes of the arguments where the message does not name both, dtypes of the error. */
const MISMATCHES: readonly (readonly [text: string, operands: readonly string[], dtypes: readonly string[]])[] = [
  // Where oneDNN has kernels for float16 or bfloat16.
  [
    `Input type (CPUHalfType) and weight type (CPUFloatType) ${MKLDNN} weight is a dense tensor`,
    [],
    ["float16", "float32"],
  ],
  [
    `Input type (CPUFloatType) and bias type (CPUBFloat16Type) ${MKLDNN} bias is a dense tensor`,
    [],
    ["float32", "bfloat16"],
  ],
  [
    "could not create a primitive descriptor for the LSTM forward propagation primitive. Run workload with environment variable ONEDNN_VERBOSE=all to get additional diagnostic information.",
    ["float32", "float16"],
    ["float32", "float16"],
  ],
  ["could not create a primitive", ["bfloat16", "float32"], ["bfloat16", "float32"]],
  ["get_mkldnn_dtype: unsupported data type", ["float32", "float64"], ["float32", "float64"]],
  // Convolutions elsewhere, and on a GPU.
  ["Input type (c10::Half) and bias type (float) should be the same", [], ["float16", "float32"]],
  [
    "Input type (torch.cuda.HalfTensor) and weight type (torch.cuda.FloatTensor) should be the same",
    [],
    ["float16", "float32"],
  ],
  // Matrix products and layers.
  ["expected m1 and m2 to have the same dtype, but got: float != c10::Half", [], ["float32", "float16"]],
  ["self and mat2 must have the same dtype, but got Float and BFloat16", [], ["float32", "bfloat16"]],
  ["mat1 dtype Float does not match mat2 dtype Double", [], ["float32", "float64"]],
  ["expected scalar type Float but found Half", [], ["float32", "float16"]],
  [
    "mixed dtype (CPU): expect parameter to have scalar type of Float",
    ["bfloat16", "float16"],
    ["bfloat16", "float16"],
  ],
  ["mixed dtype (CPU): all inputs must share same datatype.", ["float32", "float16"], ["float32", "float16"]],
  [
    "Input and parameter tensors are not the same dtype, found input tensor with Half and parameter tensor with Float",
    [],
    ["float16", "float32"],
  ],
  ["prelu: Type promoting not supported. Got Float and Half", [], ["float32", "float16"]],
  // Attention: the query and the mask, of the dtypes that would do.
  [
    "Expected attn_mask dtype to be bool or float or to match query dtype, but got attn_mask.dtype: c10::Half and  query.dtype: double instead.",
    ["float64", "float16"],
    ["float64", "float16"],
  ],
  [
    "Expected query, key, and value to have the same dtype, but got query.dtype: float key.dtype: c10::BFloat16 and value.dtype: float instead.",
    [],
    ["float32", "bfloat16"],
  ],
  // Pointwise, indices, losses.
  ["Expected object of scalar type Half but got scalar type Float for second argument", [], ["float16", "float32"]],
  [
    "Expected both inputs to be Half, Float or Double tensors but got BFloat16 and Float",
    ["float32", "bfloat16"],
    ["float32", "bfloat16"],
  ],
  ["expected dtype c10::Half for `end` but got dtype float", [], ["float16", "float32"]],
  [
    "heaviside is not yet implemented for tensors with different dtypes.",
    ["float32", "float16"],
    ["float32", "float16"],
  ],
  ["Half did not match Float", [], ["float16", "float32"]],
  ["index_add_(): self (Float) and source (Half) must have the same scalar type", [], ["float32", "float16"]],
  ["scatter(): Expected self.dtype to be equal to src.dtype", ["float32", "float16"], ["float32", "float16"]],
  [
    "Index put requires the source and destination dtypes match, got Float for the destination and Half for the source.",
    [],
    ["float32", "float16"],
  ],
  ["Found dtype Float but expected Half", [], ["float32", "float16"]],
  [
    "Expected the dtype for input and out to match, but got Float for self's dtype and Half",
    [],
    ["float32", "float16"],
  ],
  ["Mismatch dtype between input and weight: input dtype = Half, weight dtype = Float", [], ["float16", "float32"]],
  // One argument alone: under autocast it is not what was computed with.
  [
    "expected m1 and m2 to have the same dtype, but got: c10::BFloat16 != double",
    ["float32", "float64"],
    ["bfloat16", "float64"],
  ],
];

for (const [text, operands, dtypes] of MISMATCHES) {
  test(`recognized: ${text}`, () => {
    const error = explained(text, operands);
    assert.ok(error instanceof DTypeMismatchError, String(error));
    assert.deepEqual([...error.dtypes].sort(), [...dtypes].sort());
    assert.equal(error.op, "aten::op");
    assert.ok(error.message.startsWith("op: expected operands of one dtype. Received: "), error.message);
    assert.ok(error.message.endsWith(`(libtorch: ${text})`), error.message);
  });
}

const OTHERS: readonly (readonly [text: string, operands: readonly string[]])[] = [
  // Another device, with one dtype.
  [
    "Input type (torch.cuda.FloatTensor) and weight type (torch.FloatTensor) should be the same",
    ["float32", "float32"],
  ],
  ["Expected all tensors to be on the same device, but found at least two devices, cuda:0 and cpu!", ["float32"]],
  ["could not create a primitive", ["float32", "float32"]],
  // Different dtypes, but another complaint.
  ["mat1 and mat2 shapes cannot be multiplied (2x3 and 2x3)", ["float32", "float16"]],
  ["\"triangular_solve_cpu\" not implemented for 'Half'", ["float32", "float16"]],
  ["found_inf must be a float tensor.", ["float32", "float16"]],
  ["derivative for aten::floor_divide is not implemented", ["float32", "float16"]],
];

for (const [text, operands] of OTHERS) {
  test(`left as it is: ${text}`, () => {
    const error = explained(text, operands);
    assert.ok(error instanceof TorchError && !(error instanceof DTypeMismatchError), String(error));
    assert.equal(error.message, `op: ${text}`);
  });
}
