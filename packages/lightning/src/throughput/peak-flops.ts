/** What chips can compute at most: the figures of their makers, for dense products. */
import {
  atMost,
  checkArguments,
  cuda,
  device as deviceOf,
  deviceKind,
  dtypeKind,
  getFloat32MatmulPrecision,
} from "@nbit/torch";
import type { DeviceLike, DType } from "@nbit/torch";

type Peaks = Partial<Record<DType | "tfloat32", number>>;
const T = 1e12;

/** In TFLOPs: float64, float32, TF32, 16 bits (both, or float16 alone), float8, int8; 0: the chip has no such units. */
function peaks(f64: number, f32: number, tf32: number, half: number, f8: number, i8: number, bfloat16 = true): Peaks {
  const all: Peaks = {
    float64: f64 * T,
    float32: f32 * T,
    tfloat32: tf32 * T,
    float16: half * T,
    bfloat16: bfloat16 ? half * T : 0,
    float8_e4m3fn: f8 * T,
    float8_e5m2: f8 * T,
    int8: i8 * T,
  };
  return Object.fromEntries(Object.entries(all).filter(([, value]) => value > 0));
}

/**
 * By words of the device's name, the first that matches. Makers often print twice as much, "with sparsity": these are
 * without. Sixteen bits with sums in float32. From the data sheets and architecture papers of NVIDIA.
 */
const GPUS: readonly (readonly [name: RegExp, peaks: Peaks])[] = [
  [/\bb300\b/, peaks(1.2, 77, 1250, 2500, 5000, 165)],
  [/\bg?b200\b/, peaks(37, 75, 1125, 2250, 4500, 4500)],
  [/\bh200 nvl\b/, peaks(30, 60, 418, 836, 1671, 1671)],
  [/\b(?:g?h200|h20[0-9] sxm)\b/, peaks(34, 67, 494.7, 989.4, 1978.9, 1978.9)],
  [/\bh100 nvl\b/, peaks(30, 60, 418, 836, 1671, 1671)],
  [/\bh100 pcie\b|\bh100 80gb hbm2e\b/, peaks(25.6, 51.2, 378, 756, 1513, 1513)],
  [/\bh[18]00\b/, peaks(33.5, 66.9, 494.7, 989.4, 1978.9, 1978.9)],
  [/\ba[18]00\b/, peaks(9.7, 19.5, 156, 312, 0, 624)],
  [/\bl40s\b/, peaks(0, 91.6, 183, 362, 733, 733)],
  [/\bl40\b/, peaks(0, 90.5, 90.5, 181, 362, 362)],
  [/\bl4\b/, peaks(0, 30.3, 60, 121, 242, 242)],
  [/\ba40\b/, peaks(0, 37.4, 74.8, 149.7, 0, 299.3)],
  [/\b(?:rtx )?a6000\b/, peaks(0, 38.7, 77.4, 154.8, 0, 309.7)],
  [/\ba30\b/, peaks(5.2, 10.3, 82, 165, 0, 330)],
  [/\ba10g?\b/, peaks(0, 31.2, 62.5, 125, 0, 250)],
  [/\brtx 6000 ada\b/, peaks(0, 91.1, 182.1, 364.2, 728.5, 728.5)],
  [/\brtx 5090\b/, peaks(0, 104.8, 104.8, 209.5, 419, 838)],
  [/\brtx 4090\b/, peaks(0, 82.6, 82.6, 165.2, 330.3, 660.6)],
  [/\brtx 4080 super\b/, peaks(0, 52.2, 52.2, 104.4, 208.8, 417.6)],
  [/\brtx 4080\b/, peaks(0, 48.7, 48.7, 97.5, 194.9, 389.9)],
  [/\brtx 3090 ti\b/, peaks(0, 40, 40, 80, 0, 320)],
  [/\brtx 3090\b/, peaks(0, 35.6, 35.6, 71, 0, 284)],
  [/\brtx 3080 ti\b/, peaks(0, 34.1, 34.1, 68.2, 0, 272.8)],
  [/\brtx 3080\b/, peaks(0, 29.8, 29.8, 59.5, 0, 238)],
  [/\brtx 3070\b/, peaks(0, 20.3, 20.3, 40.6, 0, 162.6)],
  [/\bt4\b/, peaks(0, 8.1, 0, 65, 0, 130, false)],
  [/\btitan rtx\b/, peaks(0, 16.3, 0, 65.2, 0, 261, false)],
  [/\bquadro rtx 5000\b/, peaks(0, 11.2, 0, 89.2, 0, 0, false)],
  [/\brtx 2080 ti\b/, peaks(0, 14.2, 0, 56.9, 0, 227.7, false)],
  [/\bv100s/, peaks(8.2, 16.4, 0, 130, 0, 0, false)],
  [/\bv100.*pcie/, peaks(7, 14, 0, 112, 0, 0, false)],
  [/\bv100/, peaks(7.8, 15.7, 0, 125, 0, 0, false)],
];
/** Of a chip; products are in bfloat16 whatever the dtype. From Google's pages on its TPUs. */
const TPUS: readonly (readonly [name: RegExp, flops: number])[] = [
  [/v6e|trillium/, 918 * T],
  [/v5p/, 459 * T],
  [/v5(?:e|lite)/, 197 * T],
  [/v4/, 275 * T],
  [/v3/, 123 * T],
  [/v2/, 45 * T],
];

/** @internal Of a chip by its name; null: unknown, or it has no units for this dtype. */
export function peakFlopsOf(name: string, dtype: DType | "tfloat32"): number | null {
  const plain = name.toLowerCase().replace(/[-_]/g, " ");
  const gpu = GPUS.find(([pattern]) => pattern.test(plain));
  if (gpu !== undefined) return gpu[1][dtype] ?? null;
  return TPUS.find(([pattern]) => pattern.test(plain))?.[1] ?? null;
}

/**
 * FLOPs a second that a device can compute at most, in products of a dtype: its maker's figure, which no program
 * reaches. Float32 counts as TF32 where `setFloat32MatmulPrecision` allows that. Null for a CPU, for a chip that is not
 * in the table, and for a dtype that it has no units for.
 *
 * The figures are those for dense matrices: where a data sheet has twice as much, that is for sparse ones.
 */
export function getAvailableFlops(device: DeviceLike, dtype: DType): number | null {
  atMost("getAvailableFlops", arguments, 2);
  checkArguments("getAvailableFlops", { device, dtype }, { device: deviceKind, dtype: dtypeKind });
  const { type } = deviceOf(device);
  if (type !== "cuda" || !cuda.isAvailable()) return null;
  const name = cuda.getDeviceName(device);
  const asTf32 = dtype === "float32" && getFloat32MatmulPrecision() !== "highest";
  return (asTf32 ? peakFlopsOf(name, "tfloat32") : null) ?? peakFlopsOf(name, dtype);
}
