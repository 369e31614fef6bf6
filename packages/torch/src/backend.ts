/** What this libtorch and this machine can do, and the switches of the whole process. */
import { flag, text } from "./kinds.js";
import { ArgumentError } from "./errors.js";
import { argBuffer, info, native } from "./native.js";
import { atMost, checkArguments, optionsFrom, type Given, type OptionNames } from "./options.js";
import { deviceTypeCode } from "./tensor/device.js";
import { dtypeCode, dtypeName, type DType } from "./tensor/dtype.js";
import { operators } from "./ops/aten.js";

/**
 * Threads that one operator may use. The best number is usually that of physical cores; small models are faster on one.
 */
export function setNumThreads(n: number): void {
  atMost("setNumThreads", arguments, 1);
  if (!Number.isInteger(n) || n < 1) throw new ArgumentError("setNumThreads", "n to be a whole number ≥ 1", n);
  native.setThreads(n);
}
export function getNumThreads(): number {
  atMost("getNumThreads", arguments, 0);
  return native.getThreads();
}

export interface Versions {
  readonly libtorch: string;
  readonly node: string;
  readonly cuda: boolean;
}
export function versions(): Versions {
  atMost("versions", arguments, 0);
  return { libtorch: info.version, node: process.versions.node, cuda: info.cuda };
}
/** The instruction set that ATen's own CPU kernels use: "DEFAULT", "AVX2", "AVX512", … */
export function cpuCapability(): string {
  atMost("cpuCapability", arguments, 0);
  return info.cpuCapability;
}
/** How libtorch was built, in its own words. */
export function showConfig(): string {
  atMost("showConfig", arguments, 0);
  return info.config;
}

function askMkldnn(name: string): boolean {
  const op = operators("mkldnn")[name];
  return op !== undefined && Boolean(op() as unknown);
}
/** Whether oneDNN computes in bfloat16 natively on this CPU (it needs AVX512 or better). */
export function isMkldnnBf16Supported(): boolean {
  atMost("isMkldnnBf16Supported", arguments, 0);
  return askMkldnn("_is_mkldnn_bf16_supported");
}
/** Whether oneDNN computes in float16 natively on this CPU (AVX512-FP16 or AMX-FP16). */
export function isMkldnnFp16Supported(): boolean {
  atMost("isMkldnnFp16Supported", arguments, 0);
  return askMkldnn("_is_mkldnn_fp16_supported");
}

export function cudaAvailable(): boolean {
  atMost("cudaAvailable", arguments, 0);
  return info.cuda;
}
export function cudaDeviceCount(): number {
  atMost("cudaDeviceCount", arguments, 0);
  return info.cudaDevices;
}

/** Process-wide switches, as in `torch.backends` and `torch.use_deterministic_algorithms`. */
export type Switch =
  | "deterministicAlgorithms"
  | "deterministicWarnOnly"
  | "deterministicFillUninitialized"
  | "cudnnBenchmark"
  | "cudnnDeterministic"
  | "tf32Matmul"
  | "tf32Cudnn"
  | "fp16ReducedReduction"
  | "flushDenormal"
  | SdpSwitch
  | `${SdpSwitch}First`;
/** Kernels that may compute scaled dot product attention; with "First": before the others. See `nn.attention.sdpaKernel`. */
type SdpSwitch = "sdpFlash" | "sdpMemEfficient" | "sdpMath" | "sdpCudnn" | "sdpOverrideable";
export function setSwitch(name: Switch, on: boolean): void {
  atMost("setSwitch", arguments, 2);
  checkArguments("setSwitch", { name, on }, { name: text, on: flag });
  native.setSwitch(name, on);
}
export function getSwitch(
  name: Exclude<Switch, "deterministicFillUninitialized" | "fp16ReducedReduction" | "flushDenormal">,
): boolean {
  atMost("getSwitch", arguments, 1);
  checkArguments("getSwitch", { name }, { name: text });
  return native.getSwitch(name);
}
export interface DeterministicOptions {
  /** Warn instead of throwing. Default false. */
  readonly warnOnly?: boolean;
}
const DETERMINISTIC: OptionNames<DeterministicOptions> = { warnOnly: flag };

/** Operators without a deterministic algorithm throw (or warn) instead of running. */
export function useDeterministicAlgorithms(
  on: boolean,
  ...rest: Given<DeterministicOptions, [warnOnly: boolean]>
): void {
  const options = optionsFrom("useDeterministicAlgorithms", 1, rest, DETERMINISTIC, 1);
  checkArguments("useDeterministicAlgorithms", { on }, { on: flag });
  native.setSwitch(options.warnOnly === true ? "deterministicWarnOnly" : "deterministicAlgorithms", on);
}

/**
 * `highest`: full float32. `high`: TF32 (or three bfloat16 products) where the device has it. `medium`: one bfloat16
 * product where it pays, else as `high`.
 */
export type Float32MatmulPrecision = "highest" | "high" | "medium";

/**
 * How precisely float32 matrix products are computed, for the whole process: PyTorch's `set_float32_matmul_precision`.
 *
 * On NVIDIA GPUs since Ampere `high` and `medium` use TF32: 10 bits of mantissa instead of 23, some eight times the
 * speed; relative errors near 3e-4 instead of 1e-7. Convolutions have a switch of their own, `setSwitch("tf32Cudnn",
 * on)`, which is on from the start. Without TF32 hardware nothing changes. Only for operators called afterwards; costs
 * nothing.
 *
 * @param precision - Default of the process: `"highest"`.
 * @throws {ArgumentError} `setFloat32MatmulPrecision: expected precision to be one of "highest", "high", "medium".
 * Received: "low".`
 * @example
 * setFloat32MatmulPrecision("high");
 * const trainer = new Trainer({ accelerator: "gpu", precision: 32 }); // float32 with TF32 matrix products
 */
export function setFloat32MatmulPrecision(precision: Float32MatmulPrecision): void {
  atMost("setFloat32MatmulPrecision", arguments, 1);
  if (!["highest", "high", "medium"].includes(precision))
    throw new ArgumentError(
      "setFloat32MatmulPrecision",
      'precision to be one of "highest", "high", "medium"',
      precision,
    );
  native.setFloat32MatmulPrecision(precision);
}
export function getFloat32MatmulPrecision(): Float32MatmulPrecision {
  atMost("getFloat32MatmulPrecision", arguments, 0);
  return native.getFloat32MatmulPrecision() as Float32MatmulPrecision;
}

/** `fast`: kernels of ours where they are faster. `libtorch`: its own, bit for bit. */
export type CpuKernels = "fast" | "libtorch";

/**
 * Which kernels compute 16-bit operators on the CPU, for the whole process.
 *
 * `fast` reads the same 16-bit numbers, multiplies and adds them in float32, and rounds once, to the result: matrix
 * products, convolutions, attention and batch norm in float16 (unless the CPU has float16 arithmetic) and bfloat16. libtorch's own
 * kernels round in other places, partial sums of float16 among them, so last bits differ; `fast` is at least as near to
 * the exact result. Float32 and float64 are libtorch's, bit for bit, in either case, and so is everything on a GPU.
 * Only for operators called afterwards; costs nothing. Which kernel runs depends on the CPU's features and the
 * shapes, never on timing.
 *
 * @param kernels - Default of the process: `"fast"`.
 * @throws {ArgumentError} `setCpuKernels: expected kernels to be one of "fast", "libtorch". Received: "own".`
 * @example
 * setCpuKernels("libtorch"); // to compare 16-bit results with PyTorch's
 * const y = randn([64, 784], { dtype: "float16" }).mm(randn([784, 128], { dtype: "float16" }));
 * setCpuKernels("fast");
 */
export function setCpuKernels(kernels: CpuKernels): void {
  atMost("setCpuKernels", arguments, 1);
  if (!["fast", "libtorch"].includes(kernels))
    throw new ArgumentError("setCpuKernels", 'kernels to be one of "fast", "libtorch"', kernels);
  native.setCpuKernels(kernels === "fast");
}
export function getCpuKernels(): CpuKernels {
  atMost("getCpuKernels", arguments, 0);
  return native.getCpuKernels() ? "fast" : "libtorch";
}

export interface AutocastState {
  readonly enabled: boolean;
  readonly dtype: DType;
  readonly cacheEnabled: boolean;
}
/** @internal For amp/. */
export function autocastState(deviceType: string): AutocastState {
  native.autocastGet(deviceTypeCode(deviceType, "autocast"));
  return { enabled: argBuffer[0] !== 0, dtype: dtypeName(argBuffer[1] as number), cacheEnabled: argBuffer[2] !== 0 };
}
/** @internal */
export function setAutocast(deviceType: string, state: AutocastState): void {
  native.autocastSet(
    deviceTypeCode(deviceType, "autocast"),
    state.enabled,
    dtypeCode(state.dtype, "autocast"),
    state.cacheEnabled,
  );
}
/** @internal */
export function autocastIncrementNesting(): number {
  return native.autocastIncrementNesting();
}
/** @internal */
export function autocastDecrementNesting(): number {
  return native.autocastDecrementNesting();
}
/** @internal */
export function autocastClearCache(): void {
  native.autocastClearCache();
}
/** @internal Names ("aten::mm", overload) with a kernel at a dispatch key such as "AutocastCPU". */
export function kernelsOf(dispatchKey: string): { readonly name: string; readonly overload: string }[] {
  return native
    .kernelsOf(dispatchKey)
    .split("\n")
    .filter((l) => l !== "")
    .map((l) => {
      const dot = l.lastIndexOf(".");
      return { name: l.slice(0, dot), overload: l.slice(dot + 1) };
    });
}
