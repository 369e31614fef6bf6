import assert from "node:assert/strict";
import { test } from "node:test";
import * as torch from "../index.js";
import { formatMemory, memoryAdvice } from "./memory.js";

const { cuda } = torch;

test("without a GPU every entry says what is missing", { skip: cuda.isAvailable() && "there is a GPU" }, () => {
  assert.equal(cuda.deviceCount(), 0);
  for (const use of [
    () => cuda.synchronize(),
    () => cuda.memoryStats(),
    () => cuda.getDeviceProperties(0),
    () => new cuda.CudaGraph(),
    () => new cuda.Event(),
    () => cuda.Stream.create(),
    () => new cuda.Stream(),
    () => new cuda.Stream({ highPriority: true }),
    () => new cuda.Stream(3 as never),
    () => cuda.emptyCache(),
    () => cuda.manualSeed(1),
    () => cuda.getRngState(),
    () => cuda.memorySummary(),
    () => cuda.setMemoryFraction(0.5),
    () => cuda.setSyncDebugMode("warn"),
  ])
    assert.throws(use, { code: /CUDA_UNAVAILABLE|ERR_ARGUMENT/ });
  assert.throws(() => torch.zeros([1], { device: "cuda" }), torch.TorchError);
});

test("a graph shares the pool of a graph", () => {
  for (const [pool, received] of [
    [3, "3"],
    [null, "null"],
    [{}, /\{/],
  ] as const)
    assert.throws(
      () => new cuda.CudaGraph({ pool: pool as never }),
      (error) => {
        assert.ok(error instanceof torch.ArgumentError);
        assert.match(error.message, /^CudaGraph: expected pool to be a CudaGraph that is not disposed of\. Received: /);
        assert.match(error.message, typeof received === "string" ? new RegExp(`Received: ${received}\\.$`) : received);
        return true;
      },
    );
});

test("float32 matrix products: the precision is a switch of the process, by PyTorch's names", () => {
  assert.equal(torch.getFloat32MatmulPrecision(), "highest");
  assert.throws(() => torch.setFloat32MatmulPrecision("low" as never), {
    code: "ERR_ARGUMENT",
    message: 'setFloat32MatmulPrecision: expected precision to be one of "highest", "high", "medium". Received: "low".',
  });
  for (const precision of ["high", "medium", "highest"] as const) {
    torch.setFloat32MatmulPrecision(precision);
    assert.equal(torch.getFloat32MatmulPrecision(), precision);
    assert.equal(torch.getSwitch("tf32Matmul"), precision !== "highest");
  }
});

test("a table of memory for people, and advice that fits how it is used", () => {
  const gib = 2 ** 30;
  const m = {
    allocated: 6 * gib,
    peakAllocated: 7 * gib,
    reserved: 8 * gib,
    peakReserved: 8 * gib,
    free: gib,
    total: 10 * gib,
    retries: 1,
    outOfMemory: 1,
  };
  assert.equal(
    formatMemory(m),
    [
      "                                     now      peak",
      "  held by tensors               6144 MiB  7168 MiB",
      "  kept for reuse                2048 MiB",
      "  taken from the driver         8192 MiB  8192 MiB",
      "  free on the device            1024 MiB",
      "  other programs, CUDA itself   1024 MiB",
      "  the device has               10240 MiB",
    ].join("\n"),
  );
  assert.match(memoryAdvice(m), /expandable_segments/);
  assert.doesNotMatch(memoryAdvice(m), /Another program/);
  assert.match(memoryAdvice({ ...m, reserved: 2 * gib, allocated: 2 * gib }), /Another program/);
});

test("memory that does not suffice is an OutOfMemoryError, on the CPU too", () => {
  assert.throws(
    () => torch.empty([2 ** 50]),
    (e) => e instanceof torch.OutOfMemoryError && e instanceof torch.TorchError && e.code === "TORCH_OUT_OF_MEMORY",
  );
});

test("pinned batches: without a GPU they are what they were", { skip: cuda.isAvailable() && "there is a GPU" }, () => {
  const loader = new torch.DataLoader([torch.tensor([1, 2]), torch.tensor([3, 4])], { batchSize: 2, pinMemory: true });
  assert.deepEqual(
    [...loader].map((b) => b.tolist()),
    [
      [
        [1, 2],
        [3, 4],
      ],
    ],
  );
  assert.throws(() => new torch.DataLoader([1], { pinMemory: 1 as never }), {
    code: "ERR_ARGUMENT",
    message: /pinMemory/,
  });
});
