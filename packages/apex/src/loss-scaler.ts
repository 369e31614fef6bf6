/** APEX's loss scale: a number in JavaScript, counted per `scaleLoss`. */
import { ArgumentError } from "@nbit/torch";
import type { LossScale } from "./opt-levels.js";

export interface LossScalerState {
  readonly lossScale: number;
  readonly unskipped: number;
}

/**
 * Static, or dynamic: halved after an overflow, doubled after 2000 scaled losses in a row without one. Starts at min(maxLossScale, 2^16).
 */
export class LossScaler {
  readonly dynamic: boolean;
  readonly minLossScale: number;
  readonly maxLossScale: number;
  readonly scaleWindow: number;
  lossScale: number;
  /** Losses without an overflow since the last change. */
  unskipped = 0;

  constructor(lossScale: LossScale, options: { readonly minLossScale?: number | null; readonly maxLossScale?: number; readonly scaleWindow?: number } = {}) {
    this.dynamic = lossScale === "dynamic";
    this.minLossScale = options.minLossScale ?? 0;
    this.maxLossScale = options.maxLossScale ?? 2 ** 24;
    this.scaleWindow = options.scaleWindow ?? 2000;
    if (!(this.maxLossScale > 0)) throw new ArgumentError("LossScaler", "maxLossScale > 0", this.maxLossScale);
    if (this.minLossScale > this.maxLossScale) throw new ArgumentError("LossScaler", "minLossScale ≤ maxLossScale", this.minLossScale);
    this.lossScale = lossScale === "dynamic" ? Math.min(this.maxLossScale, 2 ** 16) : lossScale;
  }

  /** After the gradients of a loss were looked at. Gives whether the step must be skipped. */
  update(overflow: boolean): boolean {
    if (!this.dynamic) return false;
    if (overflow) {
      this.lossScale = Math.max(this.minLossScale, this.lossScale / 2);
      this.unskipped = 0;
      return true;
    }
    this.unskipped++;
    if (this.unskipped === this.scaleWindow) {
      this.lossScale = Math.min(this.maxLossScale, this.lossScale * 2);
      this.unskipped = 0;
    }
    return false;
  }

  stateDict(): LossScalerState {
    return { lossScale: this.lossScale, unskipped: this.unskipped };
  }
  loadStateDict(state: Readonly<Record<string, unknown>>): void {
    const lossScale = state["lossScale"] ?? state["loss_scale"];
    const { unskipped } = state;
    if (typeof lossScale !== "number" || typeof unskipped !== "number") throw new ArgumentError("LossScaler.loadStateDict", "a state with lossScale and unskipped", state);
    this.lossScale = lossScale;
    this.unskipped = unskipped;
  }
}
