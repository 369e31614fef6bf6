/** What each precision will run on: one row per precision, one sentence per device. */
import { PRECISIONS } from "../generated/precisions.mjs";

/**
 * @typedef {object} PrecisionRow
 * @property {string} precision As `new Trainer({ precision })` spells it.
 * @property {string} cpu
 * @property {string | null} gpu Null without a usable GPU.
 */

/**
 * @typedef {ReturnType<typeof import("./hardware.mjs").examineCpu> & { kernels: string | null }} Cpu
 *   `kernels`: the instruction set that libtorch itself reports.
 * @typedef {{ name: string, capability: number }} Gpu
 */

/**
 * @param {Cpu} cpu
 * @param {Gpu | null} gpu
 * @returns {PrecisionRow[]}
 */
export function precisionTable(cpu, gpu) {
  const rows = PRECISIONS.map((entry) => ({
    precision: shortest(entry),
    cpu: `${entry.summary}${onCpu(entry, cpu)}`,
    gpu: gpu === null ? null : `${entry.summary}${onGpu(entry, gpu)}`,
  }));
  const apex = "O0 as 32; O1 to O3 in float16";
  const half = { needs: "float16" };
  return [
    ...rows,
    {
      precision: "16, ampBackend apex",
      cpu: apex + onCpu(half, cpu),
      gpu: gpu === null ? null : apex + onGpu(half, gpu),
    },
  ];
}

function shortest({ name, aliases }) {
  return [name, ...aliases].map(String).reduce((a, b) => (b.length < a.length ? b : a));
}

/** How a processor does what a precision needs. */
function onCpu({ needs }, cpu) {
  if (needs === null)
    return `, ${cpu.kernels ?? (cpu.wide ? "AVX512" : cpu.features.includes("avx2") ? "AVX2" : "baseline")} kernels`;
  if (needs === "float8") return "; float8 emulated: right numbers, slower than bf16-true";
  const instructions = cpu[needs];
  if (instructions !== null) return `; native (${instructions})`;
  if (needs === "bfloat16" && cpu.wide)
    return "; oneDNN kernels that compute in float32 (AVX512): saves memory, hardly faster than 32";
  return "; computed in float32 here: saves memory, not time";
}

/** What a GPU needs for each arithmetic, and what it is without. */
const GPU = {
  float16: { capability: 7.0, native: "float16 tensor cores", without: "without tensor cores" },
  bfloat16: { capability: 8.0, native: "bfloat16 tensor cores", without: "emulated: prefer 16" },
  float8: { capability: 8.9, native: "float8 tensor cores", without: "float8 emulated in float32: prefer bf16 or 16" },
};

function onGpu({ needs, dtypes }, gpu) {
  if (needs !== null) {
    const { capability, native, without } = GPU[needs];
    const has = gpu.capability.toFixed(1);
    return gpu.capability >= capability
      ? `; ${native}`
      : `; ${without} (compute capability ${has} < ${capability.toFixed(1)})`;
  }
  if (dtypes.compute === "float32") return gpu.capability >= 8.0 ? "; TF32 matmuls when switched on" : "";
  return [6.0, 7.0, 8.0, 9.0, 10.0].includes(gpu.capability) ? " at half the rate of float32" : ", slow on this GPU";
}
