/** What each precision will run on: one row per precision, one sentence per device. */

/**
 * @typedef {object} PrecisionRow
 * @property {string} precision As `new Trainer({ precision })` spells it.
 * @property {string} cpu
 * @property {string | null} gpu Null without a usable GPU.
 */

/**
 * @param {ReturnType<typeof import("./hardware.mjs").examineCpu> & { kernels: string | null }} cpu `kernels`: the instruction set that libtorch itself reports.
 * @param {{ name: string, capability: number } | null} gpu
 * @returns {PrecisionRow[]}
 */
export function precisionTable(cpu, gpu) {
  const kernels = cpu.kernels ?? (cpu.wide ? "AVX512" : cpu.features.includes("avx2") ? "AVX2" : "baseline");
  const at = (capability, yes, no) => (gpu === null ? null : gpu.capability >= capability ? yes : no);
  const half = halfOnCpu("float16", cpu.float16, cpu);
  const brain = halfOnCpu("bfloat16", cpu.bfloat16, cpu);
  const half16 = at(7.0, "float16 tensor cores", `float16 without tensor cores (${gpu?.capability.toFixed(1)} < 7.0)`);
  const brain16 = at(8.0, "bfloat16 tensor cores", `bfloat16 emulated (${gpu?.capability.toFixed(1)} < 8.0): prefer 16`);
  return [
    { precision: "32", cpu: `float32, ${kernels} kernels`, gpu: at(8.0, "float32; TF32 matmuls when switched on", "float32") },
    { precision: "64", cpu: `float64, ${kernels} kernels`, gpu: gpu === null ? null : [6.0, 7.0, 8.0, 9.0, 10.0].includes(gpu.capability) ? "float64 at half the rate of float32" : "float64, slow on this GPU" },
    { precision: "16", cpu: `autocast to float16 with loss scaling; ${half}`, gpu: half16 && `autocast with loss scaling; ${half16}` },
    { precision: "bf16", cpu: `autocast to bfloat16; ${brain}`, gpu: brain16 && `autocast; ${brain16}` },
    { precision: "16-true", cpu: `float16 parameters; ${half}`, gpu: half16 },
    { precision: "bf16-true", cpu: `bfloat16 parameters; ${brain}`, gpu: brain16 },
    { precision: "float8", cpu: "no float8 arithmetic on CPUs", gpu: at(8.9, "float8 tensor cores", `no float8 arithmetic (${gpu?.capability.toFixed(1)} < 8.9)`) },
    { precision: "apex O0-O3", cpu: `O0 as 32; O1-O3 in float16; ${half}`, gpu: half16 && `O0 as 32; O1-O3: ${half16}` },
  ];
}

function halfOnCpu(dtype, instructions, cpu) {
  if (instructions !== null) return `native (${instructions})`;
  if (dtype === "bfloat16" && cpu.wide) return "oneDNN kernels that compute in float32 (AVX512): saves memory, hardly faster than 32";
  return "no native arithmetic here: saves memory, slower than 32";
}
