import assert from "node:assert/strict";
import { test } from "node:test";
import * as torch from "../index.js";

const { cuda } = torch;

test("without a GPU every entry says what is missing", { skip: cuda.isAvailable() && "there is a GPU" }, () => {
  assert.equal(cuda.deviceCount(), 0);
  for (const use of [() => cuda.synchronize(), () => cuda.memoryStats(), () => cuda.getDeviceProperties(0), () => new cuda.CudaGraph(), () => new cuda.Event(), () => cuda.Stream.create(), () => cuda.emptyCache(), () => cuda.setSyncDebugMode("warn")])
    assert.throws(use, { code: /CUDA_UNAVAILABLE|ERR_ARGUMENT/ });
  assert.throws(() => torch.zeros([1], { device: "cuda" }), torch.TorchError);
});
