import type { Amp } from "@nbit/apex";
import type { Tensor } from "@nbit/torch";
import { LossScaling } from "./loss-scaling.js";

/** APEX's first loss scaler, and the steps that it skipped. */
export class ApexScaling extends LossScaling {
  readonly #amp: () => Amp | null;
  readonly #enabled: boolean;
  skipped = 0;
  /** Of the gradients that were unscaled last, on any rank that holds a share of them. */
  overflowed = false;
  #lastSkipped = false;

  constructor(amp: () => Amp | null, enabled: boolean) {
    super();
    this.#amp = amp;
    this.#enabled = enabled;
  }

  /** A step was made, or skipped. */
  stepped(made: boolean): void {
    this.#lastSkipped = !made;
    if (!made) this.skipped++;
  }

  get dynamic(): boolean {
    return this.#enabled && (this.#amp()?.lossScalers[0]?.dynamic ?? false);
  }
  override get scale(): number | null {
    return this.#enabled ? (this.#amp()?.lossScalers[0]?.lossScale ?? null) : null;
  }
  override preview(loss: Tensor): Tensor {
    return this.#amp()?.preview(loss) ?? loss;
  }
  /** A static scale skips nothing: NaN would go on into the weights. */
  override get skipsOverflow(): boolean {
    return this.dynamic;
  }
  override get overflowing(): boolean {
    return this.overflowed;
  }
  override get skippedSteps(): number {
    return this.skipped;
  }
  override get lastStepSkipped(): boolean {
    return this.#lastSkipped;
  }
}
