import assert from "node:assert/strict";
import { test } from "node:test";
import { compareGpus, runsOn } from "./gpu-builds.mjs";
import { holds, requirementsOf } from "./markers.mjs";
import { resumes } from "./pip.mjs";
import { readSetupFlags } from "./setup-flags.mjs";
import { accepts, attemptsFor, chooseTorch } from "./torch-choice.mjs";
import { isWanted } from "./unpack.mjs";

const asked = (flags, gpu = false) =>
  attemptsFor(chooseTorch(flags), gpu).map(({ requirement, index, only }) =>
    [requirement, index?.split("/").at(-1), only ? "alone" : undefined].filter((part) => part !== undefined).join(" "),
  );

test("what pip is asked for, one after the other", () => {
  const cpu = ["torch==2.13.0+cpu", "torch==2.13.0+cpu cpu", "torch==2.13.0"];
  assert.deepEqual(asked({}), cpu, "without a GPU the build for CPUs, of any index");
  assert.deepEqual(asked({}, true), ["torch==2.13.0,!=2.13.0+cpu", "torch==2.13.0"]);
  assert.deepEqual(asked({ cpu: true }, true), cpu.slice(0, 2), "never another one than was asked for");
  assert.deepEqual(asked({ cuda: true }), ["torch==2.13.0,!=2.13.0+cpu"]);
  assert.deepEqual(asked({ torch: "2.14" }), ["torch==2.14.* cpu alone", "torch==2.14.*"]);
  assert.deepEqual(asked({ torch: "2.14", cuda: true }), ["torch==2.14.*"]);
  assert.deepEqual(asked({ torch: "2.12.0+cu126" }), ["torch==2.12.0+cu126", "torch==2.12.0+cu126 cu126"]);
  process.env["NBIT_TORCH_SPEC"] = "torch>=2.12";
  assert.deepEqual(asked({}), ["torch>=2.12"], "as it is");
  assert.deepEqual(asked({ torch: "2.14.1", cuda: true }), ["torch==2.14.1,!=2.14.1+cpu"], "flags come first");
  delete process.env["NBIT_TORCH_SPEC"];
});

test("flags that contradict, versions that are none or not supported", () => {
  const refused = (flags) => {
    try {
      return chooseTorch(flags);
    } catch (error) {
      return error.code;
    }
  };
  assert.equal(refused({ cpu: true, cuda: true }), "NBIT_SETUP_FLAGS");
  assert.equal(refused({ torch: "2.13.0+cpu", cuda: true }), "NBIT_SETUP_FLAGS");
  for (const torch of ["", "two", "2", "v2.13", "2.13+cpu", "2.13.0 ; rm"])
    assert.equal(refused({ torch }), "NBIT_SETUP_FLAGS", torch);
  for (const torch of ["2.5", "2.16.0", "3.0"]) assert.equal(refused({ torch }), "NBIT_TORCH_VERSION", torch);
  assert.equal(refused({ wheels: "/nowhere at all" }), "NBIT_WHEELS_MISSING");
  assert.throws(() => readSetupFlags(["--torhc", "2.14"]), { code: "NBIT_SETUP_FLAGS", message: /--torch VALUE/ });
  assert.throws(() => readSetupFlags(["now"]), { code: "NBIT_SETUP_FLAGS" });
  assert.deepEqual(readSetupFlags(["--torch", "2.10", "--tpu"]), {
    which: { torch: "2.10" },
    plugins: { cpu: false, tpu: true },
  });
});

test("what is there already is taken where it is what was asked for", () => {
  const cpu = { version: "2.13.1", variant: "cpu", cuda: false };
  const cuda = { version: "2.14.1", variant: "cu130", cuda: true };
  const taken = (flags, libtorch, fetchedFor) => accepts(chooseTorch(flags), libtorch, fetchedFor);
  assert.ok(taken({}, cpu) && taken({}, cuda), "without a question every one will do");
  assert.ok(taken({ torch: "2.13" }, cpu) && taken({ torch: "2.13.1", cpu: true }, cpu));
  assert.ok(!taken({ torch: "2.13.0" }, cpu) && !taken({ torch: "2.1" + "4" }, cpu) && !taken({ cuda: true }, cpu));
  assert.ok(taken({ torch: "2.14.1+cu130" }, cuda) && !taken({ torch: "2.14.1+cu126" }, cuda));
  process.env["NBIT_TORCH_SPEC"] = "torch>=2.12";
  assert.ok(!taken({}, cpu) && taken({}, cpu, "torch>=2.12"), "a range only where it was fetched for it");
  delete process.env["NBIT_TORCH_SPEC"];
});

test("a GPU that the build has no kernels for is found out before gigabytes", () => {
  const volta = { name: "Tesla V100", capability: 7.0 };
  const turing = { name: "Tesla T4", capability: 7.5 };
  const cuda = chooseTorch({ cuda: true });
  assert.ok(runsOn([8.0, 8.6], 8.9) && !runsOn([8.6], 8.0) && !runsOn([7.5], 8.0));
  assert.deepEqual(compareGpus(cuda, [turing]), { usable: true, why: null });
  assert.throws(() => compareGpus(cuda, [volta]), {
    code: "NBIT_GPU_UNSUPPORTED",
    message: /V100 has compute capability 7\.0; .* 7\.5, 8\.0.*\n.*--torch 2\.13\.0\+cu126/,
  });
  assert.equal(compareGpus(chooseTorch({ torch: "2.13.0+cu126" }), [volta]).usable, true);
  const auto = compareGpus(chooseTorch({}), [volta]);
  assert.ok(!auto.usable && /V100/.test(auto.why), "without a question: the build for CPUs, and why is said");
  assert.equal(compareGpus(cuda, [volta, turing]).usable, true, "one that serves is enough");
  assert.throws(() => compareGpus(cuda, [{ name: "old", capability: 3.5 }]), { message: /--cpu/ });
});

test("conditions of requirements", () => {
  for (const marker of [
    'platform_system == "Linux"',
    "sys_platform != 'win32' and python_version >= '3.10'",
    "(platform_system == 'Windows' or os_name == 'posix') and python_version < '3.14'",
    "'linux' in sys_platform",
  ])
    assert.ok(holds(marker), marker);
  for (const marker of [
    'platform_system == "Windows"',
    "python_version < '3.9'",
    "extra == 'all'",
    "'win' not in 'win32'",
  ])
    assert.ok(!holds(marker), marker);
  const metadata = [
    "Name: torch",
    "Requires-Dist: filelock",
    'Requires-Dist: cuda-toolkit[cublas,cudart]==13.0.3; platform_system == "Linux"',
    'Requires-Dist: nvidia-nccl-cu13==2.30.7 ; platform_system == "Darwin"',
    'Requires-Dist: optree>=0.13.0; extra == "optree"',
    "",
  ].join("\n");
  assert.deepEqual(
    requirementsOf(metadata).map(({ text }) => text),
    ["filelock", "cuda-toolkit[cublas,cudart]==13.0.3"],
  );
  assert.deepEqual(requirementsOf(metadata)[1]?.extras, ["cublas", "cudart"]);
  assert.equal(requirementsOf(metadata, ["optree"]).length, 3);
});

test("what is left out of a wheel", () => {
  for (const name of [
    "torch/lib/libtorch_cpu.so",
    "torch/version.py",
    "torch-2.13.0+cpu.dist-info/licenses/LICENSE",
    "nvidia/cu13/lib/libcublas.so.13",
    "nvidia/cudnn/lib/libcudnn_engines_precompiled.so.9",
    "nvidia/cu13/lib/libcusolver.so.12",
  ])
    assert.ok(isWanted(name, false), name);
  for (const name of [
    "torch/nn/functional.py",
    "torch/lib/libtorch_python.so",
    "torch/bin/torch_shm_manager",
    "torch/test/test_jit",
    "torch/include/ATen/core/Tensor.h",
    "nvidia/cu13/include/cuda.h",
    "nvidia/cu13/lib/libcusolverMg.so.12",
    "nvidia/cu13/lib/libcudart_static.a",
  ])
    assert.ok(!isWanted(name, false), name);
  assert.ok(isWanted("torch/include/ATen/core/Tensor.h", true) && isWanted("nvidia/cu13/include/cuda.h", true));
});

test("which pip goes on where a connection broke", () => {
  assert.deepEqual(["23.2.1", "25.0", "25.1", "25.1.1", "26.2.1"].map(resumes), [false, false, true, true, true]);
});
