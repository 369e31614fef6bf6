import { family } from "../family.js";

export const gpu = family(
  "gpu",
  {
    title: "GPUs, recorded steps and profiling",
    brief: "CUDA, kernels, graphs and recordings.",
    by: "NbitError",
    in: ["torch"],
  },
  {
    CUDA_DEVICE_ASSERT: {
      means: "A kernel on the GPU found a value out of range. CUDA fails every later call of this process.",
      cause: "A class label or an index that is negative, or too large.",
      fix: 'Check labels on the CPU (`target.max()`), or run the same batch with `accelerator: "cpu"`. Go on in a new process.',
      by: "DeviceLostError",
    },
    CUDA_DEVICE_LOST: {
      means: "The GPU is lost to this process.",
      cause: "A kernel that read where nothing is; a fault of the hardware or driver.",
      fix: "Go on in a new process; `dmesg` may show an Xid.",
      by: "DeviceLostError",
    },
    CUDA_GRAPH_CAPTURED: {
      means: "A CUDA graph records once.",
      cause: "`capture` twice.",
      fix: "Make a new CudaGraph.",
    },
    CUDA_GRAPH_EMPTY: {
      means: "A CUDA graph was replayed before it recorded anything.",
      cause: "`replay` without `capture`.",
      fix: "Call `capture(fn)` first.",
    },
    CUDA_UNAVAILABLE: {
      means: "There is no CUDA, or no device that it can use.",
      cause: "A libtorch for CPUs; no GPU; a driver that is too old.",
      fix: "`npx nbit doctor` shows driver and devices; see [gpu.md](../gpu.md).",
    },
    NVRTC_FAILED: {
      means: "A kernel of nbit could not be compiled or launched on this GPU.",
      cause: "A GPU that is older than the kernel needs; a driver that is too old.",
      fix: "Update the driver; the message has NVRTC's own words.",
      by: "TorchError",
      in: ["native"],
    },
    NVRTC_MISSING: {
      means: "The compiler of kernels that comes with CUDA was not found.",
      cause: "A libtorch without its `nvidia` packages.",
      fix: "Install PyTorch's CUDA wheel with its dependencies, and set up again.",
      by: "TorchError",
      in: ["native"],
    },
    PROFILER_NESTED: {
      means: "A profiler is running already.",
      cause: "Two `profile` at a time.",
      fix: "Stop the first.",
      by: "TorchError",
      in: ["native"],
    },
    PROFILER_NO_CUDA: {
      means: "The marks that NVIDIA's tools read need a GPU.",
      cause: "`emitNvtx` without one.",
      fix: "Use `profile()` for the CPU.",
    },
    PROFILER_STATE: {
      means: "A profiler was used out of order.",
      cause: "`step()` before `start()`; a trace that was saved already.",
      fix: "Start it, step, stop, and save once.",
      in: ["torch", "native"],
      example: `import { profiler } from "@nbit/torch";
new profiler.Profile({}).step();`,
    },
    PROGRAM_DEVICE: {
      means: "A recorded step runs again on the CPU only.",
      cause: "A tensor on a GPU in it.",
      fix: "Use `cudaGraph` there.",
      by: "TorchError",
      in: ["native"],
    },
    PROGRAM_EMPTY: {
      means: "A RecordedStep was used before it had recorded, or after it was disposed of.",
      cause: "`run` without `record`.",
      fix: "Record first.",
    },
    PROGRAM_MEMORY_MOVED: {
      means: "A tensor that a recorded step uses has other memory now.",
      cause: "A parameter that was assigned anew.",
      fix: "Record it again, or change tensors in place.",
      by: "TorchError",
      in: ["native"],
    },
    PROGRAM_NESTED: {
      means: "Recorded steps do not nest.",
      cause: "`record` or `run` inside another one.",
      fix: "Call them one after the other.",
      by: "TorchError",
      in: ["native"],
    },
    PROGRAM_RECORDED: { means: "A RecordedStep records once.", cause: "`record` twice.", fix: "Make a new one." },
    PROGRAM_SHAPE: {
      means: "An operator made another shape than when the step was recorded.",
      cause: "Shapes that depend on values, such as `nonzero`.",
      fix: "Run that part outside of the recorded step.",
      by: "TorchError",
      in: ["native"],
    },
    REPLAY_GRAPH: {
      means: "A backward was asked for a graph that a replayed step did not record.",
      cause: "`retainGraph` or a second backward over a step under `replay`.",
      fix: "Train with `replay: false`.",
      by: "TorchError",
      in: ["native"],
    },
    REPLAY_LOST: {
      means: "A step that left its recording cannot be made again.",
      cause: "Tensors that the recording needed are gone.",
      fix: "Train with `replay: false`.",
      by: "TorchError",
      in: ["native"],
    },
  },
);
