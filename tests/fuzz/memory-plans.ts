/** What trains while memory fails: small fits that together use every precision and every part of a step. */
import type { TrainerOptions } from "@nbit/lightning";
import { AdamW8bit } from "@nbit/lowbit";
import { optim, type Tensor } from "@nbit/torch";

export interface Plan {
  readonly options: Pick<
    TrainerOptions,
    | "precision"
    | "validationPrecision"
    | "ampBackend"
    | "ampLevel"
    | "accumulateGradBatches"
    | "gradientClipVal"
    | "detectNonFinite"
  >;
  optimizer(params: Iterable<Tensor>): optim.Optimizer;
}

export const PLANS = {
  "32": { options: { precision: 32, gradientClipVal: 1 }, optimizer: (params) => new optim.AdamW(params, { lr: 0.1 }) },
  fused: {
    options: { precision: 32, accumulateGradBatches: 2 },
    optimizer: (params) => new optim.Adam(params, { lr: 0.1, fused: true }),
  },
  sgd: {
    options: { precision: 32, detectNonFinite: true },
    optimizer: (params) => new optim.SGD(params, { lr: 0.1, momentum: 0.9, nesterov: true }),
  },
  "16": { options: { precision: 16, gradientClipVal: 1 }, optimizer: (params) => new optim.AdamW(params, { lr: 0.1 }) },
  apex: {
    options: { precision: 16, ampBackend: "apex", ampLevel: "O2", gradientClipVal: 1 },
    optimizer: (params) => new optim.SGD(params, { lr: 0.1, momentum: 0.9 }),
  },
  lent: {
    options: { precision: 32, validationPrecision: "bf16-true", gradientClipVal: 1 },
    optimizer: (params) => new optim.SGD(params, { lr: 0.1, momentum: 0.9 }),
  },
  bf16: {
    options: { precision: "bf16", accumulateGradBatches: 2, gradientClipVal: 1 },
    optimizer: (params) => new optim.AdamW(params, { lr: 0.1, fused: true }),
  },
  "bf16-true": {
    options: { precision: "bf16-true" },
    optimizer: (params) => new optim.AdamW(params, { lr: 0.1, rounding: "kahan" }),
  },
  "8-bit": {
    options: { precision: 32, gradientClipVal: 1 },
    optimizer: (params) => new AdamW8bit(params, { lr: 0.1, min8bitSize: 1 }),
  },
} as const satisfies Record<string, Plan>;
export type PlanName = keyof typeof PLANS;
export const isPlan = (name: string): name is PlanName => Object.hasOwn(PLANS, name);
