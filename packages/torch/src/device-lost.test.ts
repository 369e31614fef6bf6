import assert from "node:assert/strict";
import { test } from "node:test";
import { add, crossEntropyLoss, DeviceLostError, embedding, randn, tensor, TorchError } from "./index.js";
import { nativeError } from "./errors.js";

const ASSERT =
  "CUDA error: device-side assert triggered\nSearch for `cudaErrorAssert' in the documentation\nCUDA kernel errors might be asynchronously reported at some other API call";
const ILLEGAL =
  "CUDA error: an illegal memory access was encountered\nCUDA kernel errors might be asynchronously reported";

test("a device-side assert is an error of its own that names the operators called last whose kernels check indices", () => {
  const loss = crossEntropyLoss(embedding(randn([4, 3]), tensor([0, 1]).long()), tensor([0, 2]).long());
  add(loss, 1);
  const error = nativeError("TORCH", ASSERT, "aten::add.Tensor");
  assert.ok(error instanceof DeviceLostError && error instanceof TorchError);
  assert.equal(error.code, "CUDA_DEVICE_ASSERT");
  assert.match(error.message, /Received: one that does not, in one of cross_entropy_loss, embedding/);
  assert.doesNotMatch(error.message, /one of [^:]*\badd\b/);
  assert.match(error.message, /CUDA_LAUNCH_BLOCKING=1.*tensors on the CPU are whole and can be saved/);
});

test("other errors that end the context keep CUDA's first line, and say what is lost", () => {
  const error = nativeError("TORCH", ILLEGAL, null);
  assert.ok(error instanceof DeviceLostError);
  assert.equal(error.code, "CUDA_DEVICE_LOST");
  assert.match(
    error.message,
    /^CUDA error: an illegal memory access was encountered\. CUDA reports .* Start a new process/,
  );
});

test("an error that leaves the device alone stays what it was", () => {
  const error = nativeError("TORCH_OUT_OF_MEMORY", "CUDA error: out of memory", null);
  assert.ok(!(error instanceof DeviceLostError));
});

test("libtorch's advice about assertions is no assertion", () => {
  const message =
    "CUDA error: operation not permitted when stream is capturing\nCompile with `TORCH_USE_CUDA_DSA` to enable device-side assertions.";
  assert.ok(!(nativeError("TORCH", message, null) instanceof DeviceLostError));
});
