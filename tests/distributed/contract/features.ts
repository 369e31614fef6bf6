/** The features of the contract: a row each, with how close to one process a run with it comes, and who refuses it. */
import {
  availablePrecisions,
  MixedPrecision,
  precisionFor,
  QuantizedPrecision,
  type Precision,
  type PrecisionInput,
  type TrainerOptions,
} from "@nbit/lightning";
import {
  Adam4bit,
  AdamFp8,
  AdamW8bit,
  LAMB32bit,
  LAMB8bit,
  LARS32bit,
  LARS8bit,
  Lion8bit,
  SGD8bit,
} from "@nbit/lowbit";
import { optim } from "@nbit/torch";
import {
  adapt,
  AutomaticNet,
  GanNet,
  isAdapted,
  NormNet,
  PlateauNet,
  type MakeOptimizer,
  type Net,
} from "./modules.js";
import type { StrategyRow } from "./strategies.js";

export type MakeNet = new (make: MakeOptimizer) => Net;

/** What a feature is about. A training has one of each, so these are the dimensions of the full product. */
export const ASPECTS = ["precision", "optimizer", "gradients", "course"] as const;
export type Aspect = (typeof ASPECTS)[number];

export interface Feature {
  readonly name: string;
  readonly aspect: Aspect;
  /** Largest difference of a loss from one process's, relative to 1 or the loss. "exact": 1e-12 in float64, else 1e-6. */
  readonly within: number | "exact";
  readonly trainer?: TrainerOptions;
  readonly plugin?: () => Precision;
  readonly optimizer?: MakeOptimizer;
  readonly net?: MakeNet;
  readonly prepare?: (net: Net) => void;
  /**
   * Losses decide where it goes and how often they are evaluated: where messages lose something, only the loss at the
   * end is compared, to 20 times as much.
   */
  readonly searches?: true;
  /** Code of the error with which a strategy refuses it before any step; null: it trains. */
  readonly refused?: (strategy: StrategyRow, precision: Feature) => string | null;
}

/** Of one step in 16 bits, or in float8, over a handful of steps. */
const WITHIN: Readonly<Record<string, Feature["within"]>> = {
  "32-true": "exact",
  "64-true": "exact",
  "16-mixed": 3e-3,
  "bf16-mixed": 1e-2,
  "16-true": 3e-2,
  "bf16-true": 5e-2,
  float8: 0.1,
  "float8-float16": 0.1,
};
const precision = (name: string, row: Omit<Feature, "name" | "aspect">): Feature => ({
  name,
  aspect: "precision",
  ...row,
});
const PRECISIONS: readonly Feature[] = [
  ...availablePrecisions().map(({ name }) =>
    precision(name, { within: WITHIN[name] ?? 0.1, trainer: { precision: name satisfies PrecisionInput } }),
  ),
  ...(["O0", "O1", "O2", "O3"] as const).map((ampLevel) =>
    precision(`APEX ${ampLevel}`, {
      within: ampLevel === "O0" ? "exact" : 2e-2,
      trainer: { precision: 16, ampBackend: "apex", ampLevel },
      refused: ({ powerSGD }) =>
        powerSGD && (ampLevel === "O2" || ampLevel === "O3") ? "ERR_STRATEGY_PRECISION" : null,
    }),
  ),
  precision("precisions by module", {
    within: 1e-2,
    plugin: () =>
      precisionFor({ "body.blocks.0": "bf16", "body.last": "32-true", "body.blocks.1": "bf16-true" }, { base: 32 }),
  }),
  precision("16-mixed, cached casts", {
    within: 3e-3,
    plugin: () => new MixedPrecision({ precision: "16-mixed", cacheWeightCasts: true }),
  }),
  precision("nf4 and LoRA", {
    within: 1e-5,
    plugin: () => new QuantizedPrecision("nf4", { dtype: "float32", filter: (_, path) => isAdapted(path) }),
    prepare: adapt,
  }),
];

const optimizer = (name: string, within: Feature["within"], make: MakeOptimizer): Feature => ({
  name,
  aspect: "optimizer",
  within,
  optimizer: make,
});
const OPTIMIZERS: readonly Feature[] = [
  optimizer("AdamW", "exact", (params) => new optim.AdamW(params, { lr: 0.002, eps: 1e-4, weightDecay: 0.1 })),
  optimizer("SGD with momentum", "exact", (params) => new optim.SGD(params, { lr: 0.02, momentum: 0.9 })),
  optimizer("AdamW8bit", 1e-3, (params) => new AdamW8bit(params, { lr: 0.002, eps: 1e-4, weightDecay: 0.1 })),
  optimizer("SGD8bit", 1e-3, (params) => new SGD8bit(params, { lr: 0.02, momentum: 0.9 })),
  optimizer("Lion8bit", 1e-2, (params) => new Lion8bit(params, { lr: 0.0005 })),
  optimizer("AdamFp8", 5e-3, (params) => new AdamFp8(params, { lr: 0.002, eps: 1e-4 })),
  optimizer("Adam4bit", 2e-2, (params) => new Adam4bit(params, { lr: 0.002, eps: 1e-4 })),
  optimizer("LAMB", "exact", (params) => new LAMB32bit(params, { lr: 0.01, eps: 1e-4 })),
  optimizer("LARS", "exact", (params) => new LARS32bit(params, { lr: 0.02, momentum: 0.9 })),
  optimizer("LAMB8bit", 1e-2, (params) => new LAMB8bit(params, { lr: 0.01, eps: 1e-4 })),
  optimizer("LARS8bit", 1e-3, (params) => new LARS8bit(params, { lr: 0.02, momentum: 0.9 })),
  {
    ...optimizer("LBFGS", "exact", (params) => new optim.LBFGS(params, { lr: 0.1, maxIter: 3, historySize: 4 })),
    searches: true,
  },
  {
    ...optimizer(
      "LBFGS with a line search",
      1e-3,
      (params) => new optim.LBFGS(params, { lr: 1, maxIter: 3, historySize: 4, lineSearchFn: "strong_wolfe" }),
    ),
    searches: true,
  },
];

const gradients = (name: string, trainer: TrainerOptions): Feature => ({
  name,
  aspect: "gradients",
  within: "exact",
  trainer,
  ...(trainer.accumulateGradBatches === undefined
    ? {}
    : {
        // APEX has the gradients of every batch averaged.
        refused: ({ staticGraph }, { name }) =>
          staticGraph && !name.startsWith("APEX") ? "ERR_STRATEGY_OPTION" : null,
      }),
});
const GRADIENTS: readonly Feature[] = [
  gradients("a step per batch", {}),
  gradients("windows of 2 batches", { accumulateGradBatches: 2 }),
  gradients("clipping by norm", { gradientClipVal: 0.05 }),
  gradients("clipping by value", { gradientClipVal: 0.01, gradientClipAlgorithm: "value" }),
  gradients("windows, clipped by norm", { accumulateGradBatches: 2, gradientClipVal: 0.05 }),
];

const course = (name: string, row: Omit<Feature, "name" | "aspect" | "within"> & Partial<Feature>): Feature => ({
  name,
  aspect: "course",
  within: "exact",
  ...row,
});
const COURSES: readonly Feature[] = [
  course("automatic optimization", { net: AutomaticNet }),
  course("SyncBatchNorm", { net: NormNet, trainer: { syncBatchnorm: true } }),
  course("two optimizers in turns", {
    net: GanNet,
    refused: ({ staticGraph }) => (staticGraph ? "ERR_STRATEGY_OPTION" : null),
  }),
  course("ReduceLROnPlateau", { net: PlateauNet }),
  course("validation in another precision", { within: 1e-2, trainer: { validationPrecision: "bf16-true" } }),
  course("gradients looked at for NaN", { trainer: { detectNonFinite: "gradients" } }),
];

export const FEATURES: readonly Feature[] = [...PRECISIONS, ...OPTIMIZERS, ...GRADIENTS, ...COURSES];
/** Those that change how gradients travel, or when: for every variant of a strategy. */
export const PROBES: readonly string[] = [
  "64-true",
  "16-mixed",
  "AdamW8bit",
  "windows, clipped by norm",
  "two optimizers in turns",
  "validation in another precision",
];
/** Features that meet in a training: what one of them does to gradients, the other sees. */
export const TOGETHER: readonly (readonly string[])[] = [
  ["APEX O0", "windows, clipped by norm"],
  ["APEX O1", "SyncBatchNorm"],
  ["APEX O2", "windows of 2 batches", "AdamW8bit"],
  ["16-mixed", "windows, clipped by norm", "SyncBatchNorm"],
  ["64-true", "two optimizers in turns", "SGD with momentum"],
  ["nf4 and LoRA", "windows of 2 batches", "AdamW8bit"],
];
export const featuresOf = (aspect: Aspect): readonly Feature[] => FEATURES.filter((f) => f.aspect === aspect);
