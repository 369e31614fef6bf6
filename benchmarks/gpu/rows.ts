/**
 * What the GPU benchmark measures: rows of a model in a precision, by the modes of nbit and of the baseline, and what
 * each is aimed at.
 */

export interface Measurement {
  readonly side: "nbit" | "lightning" | "pytorch" | "jax";
  readonly model: string;
  readonly precision: string;
  readonly mode: string;
  /**
   * Milliseconds per batch (a step, where a row does not say how many make one): median and least of five stretches.
   */
  readonly ms: number;
  readonly min: number;
  readonly losses: readonly (number | null)[];
  readonly allocatedMiB: number | null;
  readonly reservedMiB: number | null;
  /**
   * From the start of the process to the end of the first step, what is compiled among it; a compiler's cache may be
   * warm.
   */
  readonly startupMs?: number | null;
  /** When the stretches began and ended, in milliseconds since 1970; energy of the GPU a batch meanwhile, in joules. */
  readonly span?: readonly number[];
  readonly joules?: number | null;
  /** Of JAX: which attention it had, and its version. */
  readonly attention?: string;
  readonly jax?: string;
}
export interface Results {
  readonly date: string;
  readonly machine: string;
  readonly cpu: string;
  readonly torch: string;
  readonly lightning: string;
  readonly node: string;
  readonly measurements: Measurement[];
}

export interface Row {
  readonly model: string;
  readonly precision: string;
  /** Modes of nbit and of the baseline. */
  readonly nbit: readonly string[];
  readonly baseline: readonly string[];
  /** The precision that the baseline runs, where it does not have nbit's; "bf16*4": four batches to a step. */
  readonly baselinePrecision?: string;
}

const BASELINE = ["eager", "loop", "compile"] as const;
const both = (model: string, precision: string): Row => ({
  model,
  precision,
  nbit: ["eager", "graph"],
  baseline: precision.endsWith("-true") ? BASELINE.filter((m) => m !== "loop") : BASELINE,
});
/** Beside JAX, and a loop of PyTorch's that is compiled in the place of Lightning's. */
const beside = (model: string, precision: string): Row => ({
  model,
  precision,
  nbit: ["eager", "graph"],
  baseline: ["eager", "loop", "loop-compile", "jit"],
});
const alone = (model: string, precision: string): Row => ({ model, precision, nbit: ["eager", "graph"], baseline: [] });

/** Four batches to a step, by both; with kept casts by nbit alone. Times stay those of a batch. */
const windows = (model: string): readonly Row[] => [
  { ...both(model, "bf16, 4 to a step"), baselinePrecision: "bf16*4" },
  alone(model, "bf16, 4 to a step, kept casts"),
];

export const ROWS: readonly Row[] = [
  ...["tiny", "gpt2", "resnet50"].flatMap((model) =>
    ["32", "16", "bf16", "bf16-true"].map((precision) => both(model, precision)),
  ),
  both("wide", "bf16-true"),
  alone("wide", "float8"),
  alone("gpt2", "bf16, plain operators"),
  alone("gpt2", "bf16, AdamW8bit"),
  alone("gpt2", "bf16, recomputed"),
  alone("gpt2", "bf16, bf16 stream"),
  ...["16, plain operators", "bf16, plain operators"].map((precision) => alone("resnet50", precision)),
  ...["tiny", "gpt2", "resnet50"].flatMap((model) =>
    ["16, kept casts", "bf16, kept casts"].map((precision) => alone(model, precision)),
  ),
  ...["tiny", "gpt2"].flatMap(windows),
  both("gpt2-32k", "bf16"),
  ...["gpt2-350m", "vit"].flatMap((model) => ["bf16", "32"].map((precision) => beside(model, precision))),
];
/** Rows of `--beside`: models that JAX has a side for. */
export const BESIDE: readonly Row[] = ["gpt2-350m", "vit", "gpt2", "tiny"].flatMap((model) =>
  ["bf16", "32"].map((precision) => beside(model, precision)),
);

export const DESCRIPTIONS: Readonly<Record<string, string>> = {
  tiny: "GPT of 2 layers, D64, 2 heads, B4, T32, V256",
  gpt2: "GPT-2 124M: 12 × 768, 12 heads, B8, T1024, V50304, fused AdamW",
  "gpt2-32k": "GPT-2 124M with a context of 32,768: B1, T32768",
  "gpt2-350m": "GPT-2 350M: 24 × 1024, 16 heads, B8, T1024, V50304, fused AdamW",
  vit: "ViT-B/16 86M: 12 × 768, 12 heads, B128, 224 × 224, 1000 classes, fused AdamW",
  resnet50: "ResNet-50, B256, 224 × 224, channels-last, fused SGD",
  wide: "4 residual blocks of 4096 → 16384 → 4096, 16384 rows, fused AdamW",
};
export const UNITS: Readonly<Record<string, readonly [number, string]>> = {
  tiny: [128, "tokens"],
  gpt2: [8192, "tokens"],
  "gpt2-32k": [32768, "tokens"],
  "gpt2-350m": [8192, "tokens"],
  vit: [128, "images"],
  resnet50: [256, "images"],
  wide: [16384, "tokens"],
};

/**
 * Floating-point operations of a step. GPT: 6 × parameters × tokens for the matrices, 12 × layers × width × context² ×
 * batch for attention, halved for causality (ViT: not halved). ResNet-50: 4.09 G multiply-adds forward per image, three times that with
 * backward. Wide: 6 × weights × rows.
 */
export const FLOPS: Readonly<Record<string, number>> = {
  gpt2: 6 * 124.5e6 * 8192 + 6 * 12 * 768 * 1024 * 1024 * 8,
  "gpt2-32k": 6 * 124.5e6 * 32768 + 6 * 12 * 768 * 32768 * 32768,
  "gpt2-350m": 6 * 354.8e6 * 8192 + 6 * 24 * 1024 * 1024 * 1024 * 8,
  vit: 6 * 85.8e6 * 197 * 128 + 12 * 12 * 768 * 197 * 197 * 128,
  resnet50: 3 * 2 * 4.09e9 * 256,
  wide: 6 * 4 * 2 * 4096 * 16384 * 16384,
};

/** Dense peaks in TFLOP/s by the vendor's datasheet, for the parts that this was run on. */
export function peakTflops(device: string, model: string, precision: string): number | null {
  if (!/H100 80GB HBM3|H200/.test(device)) return null;
  if (precision === "32" && model === "resnet50") return 494.7; // cuDNN's convolutions take TF32 unless told otherwise
  return precision === "32" ? 66.9 : precision === "float8" ? 1978.9 : 989.4;
}

export interface Target {
  readonly name: string;
  readonly model: string;
  readonly precision: string;
  readonly ms?: number;
  readonly gib?: number;
  /** At most Lightning's eager. */
  readonly lightning?: boolean;
  /** At least this many times as fast as another precision of nbit. */
  readonly faster?: readonly [precision: string, times: number];
}
export const TARGETS: readonly Target[] = [
  ...["32", "16", "bf16", "bf16-true"].map((precision) => ({ name: "≤ 0.35 ms", model: "tiny", precision, ms: 0.35 })),
  { name: "≤ 20 ms and ≤ 5.8 GiB", model: "gpt2", precision: "bf16", ms: 20, gib: 5.8 },
  { name: "≤ 21 ms", model: "gpt2", precision: "16", ms: 21 },
  ...["32", "16", "bf16", "bf16-true"].map((precision) => ({
    name: "≤ Lightning eager",
    model: "resnet50",
    precision,
    lightning: true,
  })),
  { name: "≥ 1.25 × bf16", model: "wide", precision: "float8", faster: ["bf16-true", 1.25] as const },
];
