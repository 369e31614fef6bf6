/** The models that all sides train, and with what. */
import type { OptimizerSpec, SideName, StepJob } from "./job.js";
import type { ModelSpec } from "./models/index.js";
import { smallMlp } from "./small-mlp.js";

/** A model trained by several sides, all in one interleaved run. */
export interface ModelRow {
  /** Stays the same from one result to the next. */
  readonly id: string;
  readonly name: string;
  readonly threads: number;
  readonly unit: "µs" | "ms" | "s";
  /** nbit's side that ratios are of comes first. */
  readonly sides: readonly SideName[];
  readonly job: Omit<StepJob, "side">;
  /** Of the runs after the first, which has compared ten losses. */
  readonly later?: Pick<StepJob, "steps" | "warmUp">;
  /** What ratios to peers we want at most. */
  readonly targets?: Readonly<Partial<Record<SideName, number>>>;
}

interface Spec {
  readonly id: string;
  readonly name: string;
  readonly model: ModelSpec;
  readonly optimizer: OptimizerSpec;
  readonly precision?: "32" | "bf16";
  /** Timed steps; a fourth as many, but at least four, warm up before them. */
  readonly steps: number;
  /** Fewer in the runs after the first, after two that warm up: a step takes a second or so. */
  readonly later?: number;
  readonly unit?: ModelRow["unit"];
  readonly threads?: readonly number[];
  readonly sides?: readonly SideName[];
  readonly targets?: ModelRow["targets"];
  readonly cold?: boolean;
}

const ALL: readonly SideName[] = ["trainer", "loop", "pytorch", "compile", "lightning", "jax", "eager", "xla"];
export const ADAMW = { name: "AdamW", fused: true, lr: 1e-3 } as const;
/** At 1e-3 the large network's loss leaps, and with it what bfloat16 rounds. */
const SLOWER = { ...ADAMW, lr: 1e-4 };
const SGD = { name: "SGD", fused: true, lr: 0.01 } as const;

export const LARGE_MLP: ModelSpec = { model: "mlp", batch: 512, sizes: [1024, 2048, 2048, 1], loss: "mse" };
/** Where bfloat16 is emulated a step of the large one takes a quarter of a minute. */
export const MEDIUM_MLP: ModelSpec = { model: "mlp", batch: 64, sizes: [256, 512, 512, 1], loss: "mse" };
export function transformer(context = 64): ModelSpec {
  return { model: "transformer", batch: 8, context, vocabulary: 100, width: 128, heads: 4, layers: 2 };
}
const GPT: ModelSpec = {
  model: "transformer",
  batch: 8,
  context: 256,
  vocabulary: 65,
  width: 384,
  heads: 6,
  layers: 6,
};
const LSTM: ModelSpec = { model: "lstm", batch: 32, inputs: 64, hidden: 256, layers: 2, length: 64 };
const VIT: ModelSpec = { model: "vit", batch: 32, width: 192, heads: 3, layers: 6 };

export interface Machine {
  readonly quick: boolean;
  readonly nativeBf16: boolean;
  /** In place of each row's own. */
  readonly threads?: readonly number[];
  readonly steps?: number;
}

export function modelRows({ quick, nativeBf16, threads, steps }: Machine): ModelRow[] {
  const small = quick ? 2000 : 6000;
  const mlpTargets = { lightning: 0.25, pytorch: 0.6 };
  const sixteen = nativeBf16
    ? { model: LARGE_MLP, name: "large MLP (B512, 1024→2048→2048→1)" }
    : { model: MEDIUM_MLP, name: "medium MLP (B64, 256→512→512→1)" };
  const specs: Spec[] = [
    ...[8, 32].flatMap((batch): Spec[] =>
      (["32", "bf16"] as const).map((precision) => ({
        id: `mlp-b${batch}-${precision}`,
        name: `small MLP (B${batch}, 32→64→64→10) ${label(precision)}, fused AdamW`,
        model: smallMlp(batch),
        optimizer: ADAMW,
        precision,
        steps: small,
        unit: "µs",
        ...(batch === 8 && precision === "32" ? { targets: mlpTargets } : {}),
      })),
    ),
    {
      id: "mlp-b8-32-default",
      name: "small MLP (B8, 32→64→64→10) float32, default AdamW",
      model: smallMlp(8),
      optimizer: { ...ADAMW, fused: false },
      steps: small,
      unit: "µs",
      sides: ["trainer", "loop", "pytorch", "lightning"],
      targets: { lightning: 0.25 },
    },
    {
      id: "mlp-b8-32-first",
      name: "small MLP (B8, 32→64→64→10) float32, fused AdamW, the first 1,000 steps of a process",
      model: smallMlp(8),
      optimizer: ADAMW,
      steps: 1000,
      unit: "µs",
      cold: true,
    },
    {
      id: "cnn",
      name: "CNN (B64, 1×28×28, conv 1→16→32, BatchNorm, max pooling), fused SGD with momentum",
      model: { model: "cnn", batch: 64 },
      optimizer: SGD,
      steps: quick ? 40 : 100,
    },
    {
      id: "resnet18",
      name: "ResNet-18 (B32, 3×32×32, a 3×3 convolution first), fused SGD with momentum",
      model: { model: "resnet18", batch: 32 },
      // At larger rates the rounding of a sum shows in the fourth digit of a loss after a few steps.
      optimizer: { ...SGD, lr: 1e-4 },
      steps: 6,
      later: 4,
      threads: [1, 2],
    },
    {
      id: "lstm",
      name: "LSTM (2 layers of 256, B32, 64 steps of 64 inputs; nbit by the operator `lstm`), fused Adam",
      model: LSTM,
      optimizer: { ...ADAMW, name: "Adam" },
      steps: 20,
    },
    {
      id: "transformer",
      name: "transformer (2 layers of 128, 4 heads, B8, 64 tokens), fused AdamW",
      model: transformer(),
      optimizer: ADAMW,
      steps: quick ? 40 : 100,
      targets: { lightning: 0.7 },
    },
    ...(["32", "bf16"] as const).map((precision): Spec => ({
      id: `gpt-${precision}`,
      name: `GPT (6 layers of 384, 6 heads, B8, 256 tokens) ${label(precision)}, fused AdamW`,
      model: GPT,
      optimizer: ADAMW,
      precision,
      steps: 6,
      later: 4,
    })),
    {
      id: "vit",
      name: "ViT (6 layers of 192, 3 heads, patches of 4, B32, 3×32×32), fused AdamW",
      model: VIT,
      optimizer: ADAMW,
      steps: 8,
      later: 5,
    },
    {
      id: "mlp-large-32",
      name: "large MLP (B512, 1024→2048→2048→1) float32, fused AdamW",
      model: LARGE_MLP,
      optimizer: SLOWER,
      steps: 8,
      targets: { pytorch: 1 },
    },
    {
      id: "mlp-large-bf16",
      name: `${sixteen.name} bfloat16, fused AdamW`,
      model: sixteen.model,
      optimizer: SLOWER,
      precision: "bf16",
      steps: 16,
      sides: ["trainer", "loop", "pytorch", "pytorch-keep", "compile", "lightning", "jax"],
      targets: { pytorch: 1 },
    },
  ];
  const quickOnes = ["mlp-b8-32", "mlp-b8-32-first", "cnn", "transformer"];
  return specs
    .filter(
      ({ id, precision }) =>
        (!quick || quickOnes.includes(id)) && (nativeBf16 || id !== "gpt-bf16" || precision !== "bf16"),
    )
    .flatMap((spec) => (threads ?? spec.threads ?? [1]).map((n) => rowOf(spec, n, steps)));
}

const label = (precision: "32" | "bf16"): string => (precision === "32" ? "float32" : "bfloat16");

export function rowOf(spec: Spec, threads: number, steps?: number): ModelRow {
  const { id, name, unit = "ms", sides = ALL, targets } = spec;
  return {
    id: `${id}-t${threads}`,
    name,
    threads,
    unit,
    sides,
    job: {
      kind: "step",
      model: spec.model,
      optimizer: spec.optimizer,
      precision: spec.precision ?? "32",
      threads,
      steps: steps ?? spec.steps,
      ...(spec.cold === true ? { cold: true } : {}),
    },
    ...(spec.later === undefined || steps !== undefined ? {} : { later: { steps: spec.later, warmUp: 2 } }),
    ...(targets === undefined ? {} : { targets }),
  };
}
