import { MixedPrecision, type PrecisionStep } from "@nbit/lightning";
import type { optim, Tensor } from "@nbit/torch";

/** float16 with every call written down. */
export class RecordedPrecision extends MixedPrecision {
  constructor(
    readonly calls: string[],
    initScale: number,
  ) {
    super({ precision: "16-mixed", scaler: { initScale } });
  }
  override forward<T>(fn: () => T): T {
    this.calls.push("autocast on");
    const result = super.forward(fn);
    this.calls.push("autocast off");
    return result;
  }
  override scaleLoss(loss: Tensor): Tensor {
    this.calls.push("scale");
    return super.scaleLoss(loss);
  }
  override unscale(optimizer: optim.Optimizer): void {
    this.calls.push("unscale");
    super.unscale(optimizer);
  }
  override mainParams(optimizer: optim.Optimizer): Tensor[] {
    this.calls.push("clip");
    return super.mainParams(optimizer);
  }
  override step(optimizer: optim.Optimizer): PrecisionStep {
    const step = super.step(optimizer);
    this.calls.push(step.stepped ? "step" : "skip");
    return step;
  }
  override update(): void {
    this.calls.push("update");
    super.update();
  }
}
