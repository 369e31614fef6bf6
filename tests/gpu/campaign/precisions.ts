/** The precisions of the campaign, and the optimizers that are resumed in each. */
import { optim } from "@nbit/torch";
import { MixedPrecision, type TrainerOptions } from "@nbit/lightning";
import * as lowbit from "@nbit/lowbit";
import "@nbit/apex";
import type { MakeOptimizer } from "./net.js";

export interface PrecisionCase {
  readonly name: string;
  /** Skips steps whose gradients are not finite. */
  readonly scales: boolean;
  readonly options: () => TrainerOptions;
}
const apex = (ampLevel: "O0" | "O1" | "O2" | "O3"): PrecisionCase => ({
  name: `apex-${ampLevel}`,
  scales: ampLevel === "O1" || ampLevel === "O2",
  options: () => ({ precision: 16, ampBackend: "apex", ampLevel }),
});

export const PRECISIONS: readonly PrecisionCase[] = [
  { name: "32", scales: false, options: () => ({ precision: 32 }) },
  { name: "64", scales: false, options: () => ({ precision: 64 }) },
  // The growth of the scale, too, happens many times in a campaign.
  {
    name: "16",
    scales: true,
    options: () => ({ plugins: new MixedPrecision({ scaler: { growthInterval: 200, lazy: true } }) }),
  },
  { name: "bf16", scales: false, options: () => ({ precision: "bf16" }) },
  { name: "16-true", scales: false, options: () => ({ precision: "16-true" }) },
  { name: "bf16-true", scales: false, options: () => ({ precision: "bf16-true" }) },
  { name: "float8", scales: false, options: () => ({ precision: "float8" }) },
  apex("O0"),
  apex("O1"),
  apex("O2"),
  apex("O3"),
];

export const SGD_FUSED: MakeOptimizer = (p) => new optim.SGD(p, { lr: 0.01, momentum: 0.9, fused: true });

// The smallest normal number of float16 is 6e-5: a smaller eps would be 0 there.
const ADAM = { lr: 1e-3, eps: 1e-4 };
/** Optimizers that keep their state whole. */
export const WHOLE: Readonly<Record<string, MakeOptimizer>> = {
  SGD: (p) => new optim.SGD(p, { lr: 0.01, momentum: 0.9 }),
  "SGD fused": SGD_FUSED,
  Adam: (p) => new optim.Adam(p, ADAM),
  "Adam fused": (p) => new optim.Adam(p, { ...ADAM, fused: true }),
  "AdamW amsgrad": (p) => new optim.AdamW(p, { ...ADAM, amsgrad: true }),
  "AdamW fused": (p) => new optim.AdamW(p, { ...ADAM, fused: true }),
  "AdamW amsgrad fused": (p) => new optim.AdamW(p, { ...ADAM, amsgrad: true, fused: true }),
};
/** Those that keep it in few bits; of parameters in 32 or 16 bits. */
export const LOW_BIT: Readonly<Record<string, MakeOptimizer>> = Object.fromEntries(
  (
    [
      "Adam8bit",
      "Adam32bit",
      "AdamW8bit",
      "AdamW32bit",
      "Lion8bit",
      "SGD8bit",
      "RMSprop8bit",
      "Adagrad8bit",
      "LAMB8bit",
      "LARS8bit",
      "AdEMAMix8bit",
      "Adam4bit",
      "AdamFp8",
    ] as const
  ).map((name): [string, MakeOptimizer] => [name, (p) => new lowbit[name](p, { lr: 1e-3 })]),
);
