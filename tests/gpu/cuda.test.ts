import assert from "node:assert/strict";
import { test } from "node:test";
import { cuda, Generator, manualSeed, memory, OutOfMemoryError, rand, randn, scope, zeros } from "@nbit/torch";
import { CUDAAccelerator, Trainer } from "@nbit/lightning";
import { SILENT } from "../helpers/training.js";
import { options } from "./support.js";

test("devices and what they can do", options, () => {
  const p = cuda.getDeviceProperties(0);
  assert.ok(p.name.length > 0 && p.totalMemory > 2 ** 30 && p.multiprocessors > 0 && p.l2CacheSize > 0);
  assert.deepEqual(cuda.getDeviceCapability("cuda:0"), [p.major, p.minor]);
  assert.equal(cuda.currentDevice(), 0);
  cuda.setDevice(0);
  assert.ok(cuda.cudaVersions().driver >= 12000);
  assert.throws(() => cuda.getDeviceProperties(cuda.deviceCount()), { code: "ERR_ARGUMENT" });
  assert.throws(() => cuda.getDeviceProperties("cpu"), { code: "ERR_ARGUMENT" });
  assert.match(
    new CUDAAccelerator().support(0).description,
    new RegExp(`${p.name}, compute capability ${p.major}\\.${p.minor}`),
  );
});

test("accelerator gpu, cuda and auto, and every way to name the first device, give cuda:0", options, () => {
  for (const accelerator of ["gpu", "cuda", "auto"])
    for (const devices of ["auto", 1, [0], "1", "0,"] as const)
      assert.equal(new Trainer({ accelerator, devices, ...SILENT }).rootDevice.toString(), "cuda:0");
  assert.throws(() => new Trainer({ accelerator: "gpu", devices: [cuda.deviceCount()] }), { code: "ERR_DEVICES" });
  assert.throws(() => new Trainer({ accelerator: "gpu", devices: "0" }), {
    code: "ERR_DEVICES",
    message: /devices: \[0\]/,
  });
});

test("every device has random numbers of its own, seeded, saved and restored", options, () => {
  const draw = (): unknown => rand([4], { device: "cuda" }).tolist();
  cuda.manualSeed(3);
  const first = draw();
  const state = cuda.getRngState();
  const second = draw();
  cuda.setRngState(state);
  assert.deepEqual(draw(), second);
  cuda.manualSeedAll(3);
  assert.deepEqual(draw(), first);
  assert.equal(cuda.initialSeed(), 3n);
  manualSeed(3);
  assert.deepEqual(draw(), first, "manualSeed seeds the devices, too");
  const own = new Generator("cuda").manualSeed(3);
  assert.deepEqual(rand([4], { device: "cuda", generator: own }).tolist(), first);
});

test("pinned memory: copies that the host does not wait for", options, () => {
  const x = randn([1 << 20]).pinMemory();
  assert.equal(x.isPinned(), true);
  assert.equal(zeros([2]).isPinned(), false);
  cuda.setSyncDebugMode("error");
  let y;
  try {
    y = x.to({ device: "cuda", nonBlocking: true });
    assert.throws(() => randn([4]).to("cuda").item(), /synchroniz/i, "what waits is an error in this mode");
  } finally {
    cuda.setSyncDebugMode("default");
  }
  const back = zeros([1 << 20]).pinMemory();
  back.copy_(y, true);
  cuda.synchronize();
  assert.equal(back.equal(x), true);
});

test("streams run beside each other; events order them; memory in use elsewhere is not given away", options, () => {
  const side = cuda.Stream.create({ highPriority: true });
  const x = randn([512, 512], { device: "cuda" });
  const expected = x.mm(x).sum().item();
  side.waitStream(cuda.Stream.current());
  const made = side.run(() => x.mm(x));
  side.uses(x);
  cuda.Stream.current().waitStream(side);
  cuda.Stream.current().uses(made);
  assert.equal(made.sum().item(), expected);
  side.synchronize();
  assert.equal(side.query(), true);
  assert.throws(() => side.uses(zeros([1])), { code: "ERR_ARGUMENT" });
  const start = new cuda.Event({ enableTiming: true }).record(side);
  const end = new cuda.Event({ enableTiming: true }).record(side);
  end.synchronize();
  assert.ok(end.query() && start.elapsedTime(end) >= 0);
  assert.throws(() => new cuda.Event().record().elapsedTime(end), { name: "TorchError" });
});

test("memory statistics add up, and peaks can be reset", options, () => {
  cuda.emptyCache();
  cuda.resetPeakMemoryStats();
  const before = cuda.memoryAllocated();
  scope(() => {
    const x = zeros([1 << 24], { device: "cuda" });
    assert.equal(cuda.memoryAllocated() - before, x.nbytes);
  });
  assert.equal(cuda.memoryAllocated(), before);
  assert.equal(cuda.maxMemoryAllocated() - before, 4 << 24);
  assert.ok(cuda.memoryReserved() >= 4 << 24, "kept for reuse");
  const reserved = cuda.memoryReserved();
  cuda.emptyCache();
  assert.ok(cuda.memoryReserved() < reserved && cuda.maxMemoryReserved() >= reserved);
  assert.match(cuda.memorySummary(), /held by tensors +[\d.]+ MiB +[\d.]+ MiB\n/);
});

test("out of memory says what is held and what helps; nothing is lost", options, () => {
  const live = memory().unreleased;
  cuda.setMemoryFraction(0.05);
  try {
    const total = cuda.getDeviceProperties().totalMemory;
    assert.throws(
      () => zeros([Math.ceil(total / 8)], { device: "cuda" }),
      (e) =>
        e instanceof OutOfMemoryError &&
        e.code === "TORCH_OUT_OF_MEMORY" &&
        /held by tensors/.test(e.message) &&
        /accumulateGradBatches/.test(e.message),
    );
  } finally {
    cuda.setMemoryFraction(1);
  }
  assert.equal(memory().unreleased, live);
  assert.equal(zeros([4], { device: "cuda" }).add(1).sum().item(), 4);
  assert.throws(() => cuda.setMemoryFraction(2), { code: "ERR_ARGUMENT" });
});
