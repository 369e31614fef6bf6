/** What this machine computes with, from the operating system alone: works before anything is built. */
import { readFileSync } from "node:fs";
import { availableParallelism, cpus, totalmem } from "node:os";
import { ask, inPath } from "./run.mjs";

/** Instruction sets that decide how fast a precision is; names as Linux spells them. */
const X86 = [
  "avx2",
  "f16c",
  "avx_vnni",
  "avx512f",
  "avx512bw",
  "avx512vl",
  "avx512dq",
  "avx512_vnni",
  "avx512_bf16",
  "avx512_fp16",
  "amx_tile",
  "amx_bf16",
  "amx_fp16",
  "amx_int8",
];
const ARM = ["asimd", "fphp", "asimdhp", "asimddp", "bf16", "i8mm", "sve", "sve2"];

/**
 * @returns {{ model: string, cores: number, available: number, memory: number, features: string[], bfloat16: string |
 * null, float16: string | null, wide: boolean }}
 * `bfloat16` and `float16` name the instructions that compute in that type natively, or are null; `wide` tells whether
 * oneDNN has its 512-bit kernels.
 */
export function examineCpu() {
  const text = read("/proc/cpuinfo");
  const flags = new Set((/^(?:flags|Features)\s*:\s*(.*)$/m.exec(text)?.[1] ?? "").split(/\s+/));
  const has = (...names) => names.every((name) => flags.has(name));
  const bfloat16 = has("amx_bf16", "amx_tile")
    ? "AMX-BF16"
    : has("avx512_bf16")
      ? "AVX512-BF16"
      : has("bf16")
        ? "Arm BF16"
        : null;
  const float16 = has("amx_fp16", "amx_tile")
    ? "AMX-FP16"
    : has("avx512_fp16")
      ? "AVX512-FP16"
      : has("fphp", "asimdhp")
        ? "Arm FP16"
        : null;
  return {
    model: cpus()[0]?.model.trim() || /^model name\s*:\s*(.*)$/m.exec(text)?.[1] || process.arch,
    cores: cpus().length,
    available: availableParallelism(),
    memory: totalmem(),
    features: [...X86, ...ARM].filter((name) => flags.has(name)),
    bfloat16,
    float16,
    wide: has("avx512bw", "avx512vl", "avx512dq"),
  };
}

/**
 * @returns {{ driver: string | null, devices: { name: string, capability: number, memory: string }[] }} `capability` as
 * 9.0; empty without a driver.
 */
export function examineGpus() {
  const driver = /Kernel Module\s+(?:for \S+\s+)?([\d.]+)/.exec(read("/proc/driver/nvidia/version"))?.[1] ?? null;
  const lines =
    inPath("nvidia-smi") === null
      ? null
      : ask("nvidia-smi", ["--query-gpu=name,compute_cap,memory.total", "--format=csv,noheader"]);
  const devices = (lines ?? "")
    .split("\n")
    .map((line) => line.split(",").map((part) => part.trim()))
    .filter((parts) => parts.length === 3)
    .map(([name, capability, memory]) => ({ name, capability: Number(capability), memory }));
  return { driver, devices };
}

function read(path) {
  try {
    return readFileSync(path, "utf8");
  } catch {
    return "";
  }
}
