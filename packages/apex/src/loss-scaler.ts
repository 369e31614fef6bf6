/** APEX's loss scale: a number in JavaScript, counted per `scaleLoss`. */
import { ArgumentError } from "@nbit/torch";
import { conforming, count, fieldsOf, leaf } from "@nbit/torch/schema";
import type { LossScale } from "./opt-levels.js";

/** The form of a saved state. */
export const LOSS_SCALER = fieldsOf({ loss_scale: leaf<number>("a finite number > 0", (v) => Number.isFinite(v) && (v as number) > 0), unskipped: count });

/** Names and meaning are APEX's, so that states go both ways. */
export interface LossScalerState {
  readonly loss_scale: number;
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
    const isFinite = (v: unknown): v is number => typeof v === "number" && Number.isFinite(v);
    if (!isFinite(this.maxLossScale) || this.maxLossScale <= 0) throw new ArgumentError("LossScaler", "maxLossScale to be finite and > 0", this.maxLossScale);
    if (!isFinite(this.minLossScale) || this.minLossScale < 0) throw new ArgumentError("LossScaler", "minLossScale to be finite and ≥ 0, or null", this.minLossScale);
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
    return { loss_scale: this.lossScale, unskipped: this.unskipped };
  }
  loadStateDict(state: Readonly<Record<string, unknown>>): void {
    const { loss_scale: lossScale, unskipped } = conforming(LOSS_SCALER, state, "", ({ path, expected, received }) => new ArgumentError("LossScaler.loadStateDict", path === "" ? "a state with loss_scale and unskipped" : `${path} to be ${expected}`, received));
    this.lossScale = lossScale;
    this.unskipped = unskipped;
  }
}
