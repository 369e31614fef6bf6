/**
 * bfloat16 weights near 1 cannot take steps of 0.001: the nearest bfloat16 is 1 again. Kahan summation and stochastic
 * rounding keep what is lost.
 */
import { LightningModule, Trainer } from "@nbit/lightning";
import { full, manualSeed, nn, ones, optim } from "@nbit/torch";
import type { Tensor } from "@nbit/torch";
import { QUIET } from "./base.js";

type Rounding = "nearest" | "kahan" | "stochastic";

/** 1000 weights that start at 1 and belong at 0.9. */
class Descent extends LightningModule {
  weight = new nn.Parameter(ones([1000]));
  constructor(readonly rounding: Rounding) {
    super();
  }
  override trainingStep(target: Tensor): Tensor {
    return this.weight.sub(target).square().sum();
  }
  override configureOptimizers() {
    return new optim.AdamW(this.parameters(), { lr: 1e-3, weightDecay: 0, rounding: this.rounding });
  }
}

for (const [precision, rounding] of [
  [32, "nearest"],
  ["bf16-true", "nearest"],
  ["bf16-true", "kahan"],
  ["bf16-true", "stochastic"],
] as const) {
  manualSeed(0);
  const model = new Descent(rounding);
  await new Trainer({ ...QUIET, precision, maxSteps: 80 }).fit(model, {
    trainDataloaders: Array.from({ length: 80 }, () => full([1000], 0.9)),
  });
  console.log(`${`${precision}, ${rounding}`.padEnd(21)} mean weight ${model.weight.float().mean().item().toFixed(3)}`);
}
