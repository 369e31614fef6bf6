/** PyTorch's top level: what is no operator there. */
import assert from "node:assert/strict";
import { test } from "node:test";
import * as torch from "./index.js";
import { tensor } from "./index.js";

const wrong = { code: "ERR_ARGUMENT" };

test("tensors of what may be one already", () => {
  const x = tensor([1, 2], { requiresGrad: true });
  assert.equal(torch.asTensor(x), x);
  assert.equal(torch.asTensor(x, "float64").dtype, "float64");
  assert.equal(torch.asTensor(x, { dtype: "float64" }).requiresGrad, true);
  assert.deepEqual(torch.asTensor([1, 2], { dtype: "int64" }).tolist(), [1, 2]);
  assert.equal(torch.asarray(x).requiresGrad, false);
  assert.equal(torch.asarray(x, { requiresGrad: true }), x);
  assert.notEqual(torch.asarray(x, { copy: true }).dataPtr(), x.dataPtr());
  assert.throws(() => torch.asarray([1], { copy: false }), wrong);
  assert.throws(() => torch.asarray(x, { copy: false, dtype: "int64" }), wrong);
  assert.deepEqual(torch.fromNumpy(new Int16Array([1, 2])).dtype, "int16");
  assert.throws(() => torch.fromNumpy([1] as never), wrong);
  assert.deepEqual(
    torch.frombuffer(new Float32Array([1, 2, 3]), { dtype: "float32", count: 2, offset: 4 }).tolist(),
    [2, 3],
  );
  assert.throws(() => torch.frombuffer(new Uint8Array(6), { dtype: "float32" }), {
    message: "frombuffer: expected a multiple of 4 bytes behind the offset. Received: 6.",
  });
  assert.throws(() => torch.frombuffer(new Uint8Array(8), { dtype: "float32", count: 3 }), wrong);
  assert.throws(() => torch.frombuffer(new Uint8Array(8), { dtype: "int32", requiresGrad: true }), wrong);
});

test("types of tensors make them with and without new, and know them", () => {
  assert.deepEqual(new torch.FloatTensor([1, 2]).tolist(), [1, 2]);
  assert.deepEqual(torch.LongTensor(2, 3).shape, [2, 3]);
  assert.deepEqual(
    [torch.DoubleTensor(1).dtype, torch.HalfTensor(1).dtype, torch.BFloat16Tensor(1).dtype],
    ["float64", "float16", "bfloat16"],
  );
  assert.deepEqual(
    [torch.ByteTensor(1).dtype, torch.CharTensor(1).dtype, torch.ShortTensor(1).dtype],
    ["uint8", "int8", "int16"],
  );
  assert.deepEqual([torch.IntTensor(1).dtype, torch.BoolTensor([true]).dtype], ["int32", "bool"]);
  assert.ok(tensor([1]) instanceof torch.FloatTensor);
  assert.equal(tensor([true]) instanceof torch.FloatTensor, false);
  assert.equal(torch.FloatTensor().numel(), 0);
  assert.throws(() => torch.FloatTensor(-1), wrong);
  assert.throws(() => Reflect.apply(torch.FloatTensor, null, [[1], [2]]), wrong);
  assert.throws(() => torch.FloatTensor(torch.LongTensor([1])), wrong);
  const x = tensor([1]);
  assert.equal(torch.FloatTensor(x).dataPtr(), x.dataPtr());
  torch.setDefaultTensorType("torch.DoubleTensor");
  try {
    assert.equal(new torch.Tensor([1]).dtype, "float64");
  } finally {
    torch.setDefaultTensorType(torch.FloatTensor);
  }
  assert.throws(() => torch.setDefaultTensorType(torch.LongTensor), wrong);
});

test("the default device is that of factories and of layers, and of nothing else", () => {
  torch.setDefaultDevice("meta");
  try {
    assert.equal(torch.getDefaultDevice().type, "meta");
    for (const t of [torch.zeros(2), torch.full([2], 1), torch.randn([2], { requiresGrad: true }), tensor([1])])
      assert.equal(t.device.type, "meta");
    assert.equal(new torch.nn.Linear(2, 3).weight.device.type, "meta");
    const here = torch.ones([2], { device: "cpu" });
    assert.equal(here.device.type, "cpu");
    assert.equal(torch.zerosLike(here).device.type, "cpu");
  } finally {
    torch.setDefaultDevice(null);
  }
  assert.equal(torch.zeros(1).device.type, "cpu");
  assert.throws(() => torch.setDefaultDevice("gpu"), wrong);
});

test("a number stands before its tensor", () => {
  const x = tensor([2, 4], { requiresGrad: true });
  assert.deepEqual(torch.sub(1, x).tolist(), [-1, -3]);
  assert.deepEqual(torch.div(1, x).tolist(), [0.5, 0.25]);
  assert.deepEqual(torch.sub(1, x, { alpha: 2 }).tolist(), [-3, -7]);
  torch.div(1, x).sum().backward();
  assert.deepEqual(x.grad?.tolist(), [-0.25, -0.0625]);
  const dtypes = [
    torch.add(1, tensor([1], { dtype: "int32" })),
    torch.mul(0.5, tensor([1], { dtype: "int32" })),
    torch.add(1, tensor([true])),
    torch.multiply(0.1, tensor([1], { dtype: "bfloat16" })),
  ];
  assert.deepEqual(
    dtypes.map((t) => t.dtype),
    ["int32", "float32", "int64", "bfloat16"],
  );
  assert.equal(torch.subtract(0.1, tensor(1, { dtype: "float64" })).item(), 0.1 - 1);
  assert.deepEqual(torch.floorDivide(7, tensor([2])).tolist(), [3]);
  assert.deepEqual(torch.trueDivide(1, tensor([2])).tolist(), [0.5]);
  assert.deepEqual(torch.divide(1, tensor([2]), { roundingMode: "floor" }).tolist(), [0]);
});

test("tensors one by one, or as an array", () => {
  const [a, b] = [torch.arange(2), torch.arange(3)];
  for (const grid of [torch.meshgrid(a, b), torch.meshgrid([a, b])]) assert.deepEqual(grid[0]?.shape, [2, 3]);
  assert.deepEqual(torch.meshgrid(a, b, { indexing: "xy" })[0]?.shape, [3, 2]);
  const m = torch.ones(2, 3);
  for (const t of [torch.einsum("ij,kj->ik", m, m), torch.einsum("ij,kj->ik", [m, m])])
    assert.deepEqual(t.shape, [2, 2]);
  assert.deepEqual(
    torch.broadcastTensors(a, torch.ones(3, 1)).map((t) => t.shape),
    [
      [3, 2],
      [3, 2],
    ],
  );
  assert.deepEqual(torch.blockDiag(m, m).shape, [4, 6]);
  assert.deepEqual(torch.cartesianProd(a, b).shape, [6, 2]);
  assert.deepEqual(torch.atleast2d(a).shape, [1, 2]);
  assert.deepEqual(torch.atleast1d(a, b).length, 2);
  assert.deepEqual(torch.atleast3d([a, b]).length, 2);
  assert.throws(() => torch.meshgrid(a, 3 as never), wrong);
  assert.throws(() => torch.einsum("i->i", "x" as never), wrong);
});

test("unique elements, with what else was asked for", () => {
  const x = tensor([3, 1, 3]);
  assert.deepEqual(torch.unique(x).tolist(), [1, 3]);
  const [values, inverse, counts] = torch.unique(x, { returnInverse: true, returnCounts: true });
  assert.deepEqual(
    [values.tolist(), inverse.tolist(), counts.tolist()],
    [
      [1, 3],
      [1, 0, 1],
      [1, 2],
    ],
  );
  assert.deepEqual((torch.unique(x, true, false, true) as torch.Tensor[]).length, 2);
  assert.deepEqual(
    torch
      .unique(
        tensor([
          [1, 2],
          [1, 2],
        ]),
        { dim: 0 },
      )
      .tolist(),
    [[1, 2]],
  );
  assert.deepEqual(torch.uniqueConsecutive(tensor([1, 1, 2, 1])).tolist(), [1, 2, 1]);
  assert.deepEqual(torch.uniqueConsecutive(x, { returnCounts: true })[1].tolist(), [1, 1, 1]);
  assert.deepEqual((x.unique() as torch.Tensor).tolist(), [1, 3]);
  assert.deepEqual((x.unique({ returnInverse: true }) as torch.Tensor[])[1]?.tolist(), [1, 0, 1]);
  assert.deepEqual((x.uniqueConsecutive(false, true) as torch.Tensor[])[1]?.tolist(), [1, 1, 1]);
  assert.deepEqual((torch.unique({ input: x }) as torch.Tensor).tolist(), [1, 3]);
  assert.throws(() => torch.unique(3 as never), wrong);
  assert.throws(() => torch.unique(x, { sort: true } as never), wrong);
});

test("members of tensors", () => {
  const x = tensor([
    [1, 2, 3],
    [4, 5, 6],
  ]);
  assert.deepEqual(
    [x.T.shape, x.mT.shape, x.H.shape, x.mH.shape],
    [
      [3, 2],
      [3, 2],
      [3, 2],
      [3, 2],
    ],
  );
  assert.deepEqual(torch.ones(2, 3, 4).T.shape, [4, 3, 2]);
  assert.throws(() => torch.ones(2, 3, 4).H, wrong);
  const z = x.cfloat();
  z.imag = 2;
  z.real = x.mul(2);
  assert.equal(z.at(0, 0).conj().resolveConj().itemComplex().toString(), "(2-2j)");
  assert.equal(torch.isConj(torch.conj(z)), true);
  assert.equal(x.cdouble().dtype, "complex128");
  assert.throws(() => {
    z.real = "x" as never;
  }, wrong);
  assert.deepEqual(
    [x.elementSize(), x.ndimension(), x.nelement(), x.getDevice(), torch.getDevice(x)],
    [4, 2, 6, -1, -1],
  );
  assert.deepEqual(
    [x.isConj(), x.isNeg(), x.isSigned(), x.isSameSize(x), torch.isNeg(x)],
    [false, false, true, true, false],
  );
  assert.deepEqual(
    [torch.isSigned(x), torch.isSameSize(x, x), torch.isInference(x), torch.numel(x)],
    [true, true, false, 6],
  );
  assert.deepEqual(
    [x.isCpu, x.isMeta, x.isNested, x.isQuantized, x.isSparseCsr, x.retainsGrad],
    [true, false, false, false, false, false],
  );
  assert.deepEqual(x.newTensor([1], { dtype: "int64" }).dtype, "int64");
  assert.equal(x.half().newTensor([1]).dtype, "float16");
  assert.equal(x.toSparseCoo().layout, "sparseCoo");
  assert.equal(torch.abs_(tensor([-1])).item(), 1);
  assert.deepEqual([torch.isStorage(x), torch.typename(x), torch.typename(3)], [false, "Tensor", "number"]);
  assert.deepEqual(
    torch.unravelIndex(tensor([5, 2], { dtype: "int64" }), [2, 3]).map((t) => t.tolist()),
    [
      [1, 0],
      [2, 2],
    ],
  );
  assert.throws(() => torch.unravelIndex(x, [2]), wrong);
  const s = x.toSparseCoo();
  assert.deepEqual(torch.spmm(s, torch.ones(3, 1)).tolist(), [[6], [15]]);
  assert.deepEqual(torch.saddmm(torch.ones(2, 1), s, torch.ones(3, 1), { beta: 2 }).tolist(), [[8], [17]]);
});

test("constants, limits and versions", () => {
  assert.deepEqual([torch.pi, torch.e, torch.inf, torch.newaxis], [Math.PI, Math.E, Infinity, null]);
  assert.ok(Number.isNaN(torch.nan));
  assert.deepEqual(torch.iinfo("int8"), { bits: 8, max: 127, min: -128, dtype: "int8" });
  assert.equal(torch.iinfo("uint16").max, 65535);
  assert.throws(() => torch.iinfo("float32"), wrong);
  assert.deepEqual([torch.cfloat, torch.cdouble], ["complex64", "complex128"]);
  assert.equal(torch.__version__, torch.version.__version__);
});

test("settings by PyTorch's names are those of the process, and only what is there can be set", () => {
  const { backends } = torch;
  backends.cudnn.benchmark = true;
  assert.equal(torch.getSwitch("cudnnBenchmark"), true);
  backends.cudnn.benchmark = false;
  backends.cudnn.deterministic = true;
  assert.equal(backends.cudnn.deterministic, true);
  backends.cudnn.deterministic = false;
  backends.cuda.matmul.allowTf32 = true;
  assert.equal(torch.getSwitch("tf32Matmul"), true);
  backends.cuda.matmul.allowTf32 = false;
  backends.cuda.matmul.allowFp16ReducedPrecisionReduction = false;
  assert.equal(backends.cuda.matmul.allowFp16ReducedPrecisionReduction, false);
  backends.cuda.matmul.allowFp16ReducedPrecisionReduction = true;
  assert.throws(() => Object.assign(backends.cudnn, { bench: true }), wrong);
  assert.throws(() => Object.assign(backends.mkldnn, { enabled: !backends.mkldnn.enabled }), wrong);
  assert.throws(() => Object.assign(backends.cudnn, { benchmark: 1 }), {
    message: "backends.cudnn.benchmark: expected true or false. Received: 1.",
  });
  assert.equal(backends.mps.isAvailable(), false);
  assert.equal(backends.mps.isBuilt(), false);
  assert.equal(backends.cuda.isBuilt(), torch.cuda.isBuilt());
  assert.equal(typeof backends.mkl.isAvailable(), "boolean");
  assert.equal(typeof backends.openmp.isAvailable(), "boolean");
  assert.equal(backends.cpu.getCpuCapability(), torch.cpuCapability());
  assert.equal(torch.areDeterministicAlgorithmsEnabled(), false);
  assert.equal(torch.isDeterministicAlgorithmsWarnOnlyEnabled(), false);
  assert.equal(torch.setFlushDenormal(false), true);
  assert.ok(torch.getNumInteropThreads() >= 1);
  assert.throws(() => torch.setNumInteropThreads(0), wrong);
});

test("seeds and states of random numbers", () => {
  assert.equal(typeof torch.seed(), "bigint");
  torch.manualSeed(3);
  const before = torch.random.getRngState();
  const inside = torch.random.forkRng(() => (torch.manualSeed(0), torch.rand(1).item()));
  assert.deepEqual(torch.random.getRngState().tolist(), before.tolist());
  torch.random.manualSeed(0);
  assert.equal(torch.rand(1).item(), inside);
  assert.throws(() => torch.random.forkRng(async () => 1), { code: "ERR_ASYNC_MODE" });
  torch.manualSeed(0);
  const a = torch.randn(6, 2).matmul(torch.randn(2, 5));
  const [u, s, v] = torch.svdLowrank(a, 3);
  assert.ok(torch.allclose(u.mul(s).matmul(v.mT), a, { atol: 1e-4 }));
  assert.equal(torch.pcaLowrank(a)[1].numel(), 5);
  assert.throws(() => torch.pcaLowrank(a, 9), wrong);
});

test("lobpcg finds the extreme eigenpairs that eigh finds", () => {
  torch.manualSeed(0);
  const r = torch.randn([30, 30], { dtype: "float64" });
  const a = r.matmul(r.mT);
  const [values, vectors] = torch.linalg.eigh(a);
  const [e, x] = torch.lobpcg(a, 3);
  assert.ok(torch.allclose(e, values.flip([0]).narrow(0, 0, 3)));
  assert.ok(torch.allclose(x.narrow(1, 0, 1).abs(), vectors.narrow(1, 29, 1).abs(), { atol: 1e-5 }));
  const [least] = torch.lobpcg(a, { k: 2, largest: false, iK: torch.linalg.inv(a) });
  assert.ok(torch.allclose(least, values.narrow(0, 0, 2), { atol: 1e-5 }));
  const b = torch.eye(30, { dtype: "float64" }).mul(2);
  assert.ok(torch.allclose(torch.lobpcg(a, { k: 1, B: b })[0], values.narrow(0, 29, 1).div(2)));
  assert.deepEqual(
    torch.lobpcg(torch.stack([a, a]), 2).map((t) => t.shape),
    [
      [2, 2],
      [2, 30, 2],
    ],
  );
  assert.throws(() => torch.lobpcg(torch.eye(5), 2), {
    message: "lobpcg: expected at least 3 rows per column (6). Received: 5.",
  });
  assert.throws(() => torch.lobpcg(torch.ones(2, 3)), wrong);
});

test("accelerators, and what GPUs are asked before there is one", () => {
  const { accelerator, cuda } = torch;
  assert.equal(accelerator.isAvailable(), cuda.isAvailable());
  assert.equal(accelerator.deviceCount(), cuda.deviceCount());
  if (!cuda.isAvailable()) {
    assert.equal(accelerator.currentAccelerator(true), null);
    assert.deepEqual([accelerator.memoryAllocated(), accelerator.maxMemoryReserved()], [0, 0]);
    assert.throws(() => accelerator.synchronize(), { code: "CUDA_UNAVAILABLE" });
    assert.throws(() => cuda.getDeviceName(), { code: "CUDA_UNAVAILABLE" });
    assert.equal(cuda.isBf16Supported(), false);
  }
  accelerator.emptyCache();
  accelerator.emptyHostCache();
  accelerator.resetPeakMemoryStats();
  assert.equal(
    accelerator.deviceIndex(null, () => 7),
    7,
  );
  assert.equal(cuda.OutOfMemoryError, torch.OutOfMemoryError);
});

test("autocast and GradScaler take the device first", () => {
  const { amp, autocast, GradScaler } = torch;
  const x = torch.ones(2, 2);
  assert.equal(autocast("cpu", { dtype: "bfloat16" }, () => x.mm(x)).dtype, "bfloat16");
  assert.equal(autocast("cpu", "bfloat16", () => x.mm(x)).dtype, "bfloat16");
  assert.equal(autocast("cpu", { enabled: false }, () => x.mm(x)).dtype, "float32");
  assert.equal(torch.cuda.amp.autocast({ enabled: false }, () => x.mm(x)).dtype, "float32");
  assert.equal(
    torch.cuda.amp.autocast(() => amp.isAutocastEnabled("cuda")),
    true,
  );
  assert.throws(() => autocast("cpu", { foo: 1 } as never, () => 1), wrong);
  assert.equal(new GradScaler("cpu", { initScale: 8 }).getScale(), 8);
  assert.equal(new GradScaler("cpu", 16).getScale(), 16);
  assert.equal(new torch.cuda.amp.GradScaler({ enabled: false }).isEnabled(), false);
  assert.deepEqual([amp.isAutocastAvailable("cpu"), amp.isAutocastAvailable("mps")], [true, false]);
});

test("compile returns what it is given, and LinAlgError is what linalg throws", () => {
  const model = new torch.nn.Linear(1, 1);
  assert.equal(torch.compile(model, { mode: "max-autotune" }), model);
  assert.equal(torch.compile(null)(model), model);
  assert.throws(() => torch.compile(model, { foo: 1 } as never), wrong);
  assert.throws(
    () =>
      torch.linalg.cholesky(
        tensor([
          [1, 2],
          [2, 1],
        ]),
      ),
    torch.linalg.LinAlgError,
  );
  assert.equal(torch.utils.data.DataLoader, torch.DataLoader);
  assert.equal(torch.utils.checkpoint.checkpoint, torch.checkpoint);
});
