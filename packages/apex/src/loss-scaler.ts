/** APEX's loss scale: a number in JavaScript, counted per `scaleLoss`. */
import { ArgumentError, atMost, checkOptions, kinds, type OptionNames } from "@nbit/torch";
import { conforming, count, fieldsOf, leaf } from "@nbit/torch/schema";
import type { LossScale } from "./opt-levels.js";

/** The form of a saved state. */
export const LOSS_SCALER = fieldsOf({
  loss_scale: leaf<number>("a finite number > 0", (v) => Number.isFinite(v) && (v as number) > 0),
  unskipped: count,
});

/** Names and meaning are APEX's, so that states go both ways. */
export interface LossScalerState {
  readonly loss_scale: number;
  readonly unskipped: number;
}

export interface LossScalerOptions {
  /** A dynamic scale does not fall below. Default none. */
  readonly minLossScale?: number | null;
  /** Nor rise above. Default 2^24. */
  readonly maxLossScale?: number;
  /** Losses in a row without an overflow before the scale doubles. Default 2000. */
  readonly scaleWindow?: number;
}
const NAMES: OptionNames<LossScalerOptions> = {
  minLossScale: kinds.orNull(kinds.real("[0, ∞)")),
  maxLossScale: kinds.real("(0, ∞)"),
  scaleWindow: kinds.whole("[1, ∞)"),
};

/**
 * Static, or dynamic: halved after an overflow, doubled after 2000 scaled losses in a row without one. Starts at
 * min(maxLossScale, 2^16).
 */
export class LossScaler {
  readonly dynamic: boolean;
  readonly minLossScale: number;
  readonly maxLossScale: number;
  readonly scaleWindow: number;
  lossScale: number;
  /** Losses without an overflow since the last change. */
  unskipped = 0;

  constructor(lossScale: LossScale, options: LossScalerOptions = {}) {
    atMost("LossScaler", arguments, 2);
    checkOptions("LossScaler", options, NAMES);
    this.dynamic = lossScale === "dynamic";
    this.minLossScale = options.minLossScale ?? 0;
    this.maxLossScale = options.maxLossScale ?? 2 ** 24;
    this.scaleWindow = options.scaleWindow ?? 2000;
    if (this.minLossScale > this.maxLossScale)
      throw new ArgumentError("LossScaler", "minLossScale ≤ maxLossScale", this.minLossScale);
    this.lossScale = lossScale === "dynamic" ? Math.min(this.maxLossScale, 2 ** 16) : lossScale;
  }

  /** After the gradients of a loss were looked at. Returns whether the step must be skipped. */
  update(overflow: boolean): boolean {
    atMost("LossScaler.update", arguments, 1);
    if (!this.dynamic) return false;
    if (overflow) {
      this.lossScale = Math.max(this.minLossScale, this.lossScale / 2, Number.MIN_VALUE); // a scale of 0 is none
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
    atMost("LossScaler.stateDict", arguments, 0);
    return { loss_scale: this.lossScale, unskipped: this.unskipped };
  }
  loadStateDict(state: Readonly<Record<string, unknown>>): void {
    atMost("LossScaler.loadStateDict", arguments, 1);
    const { loss_scale: lossScale, unskipped } = conforming(
      LOSS_SCALER,
      state,
      "",
      ({ path, expected, received }) =>
        new ArgumentError(
          "LossScaler.loadStateDict",
          path === "" ? "a state with loss_scale and unskipped" : `${path} to be ${expected}`,
          received,
        ),
    );
    this.lossScale = lossScale;
    this.unskipped = unskipped;
  }
}

/** One scaler for each loss. */
export function lossScalersOf(lossScale: LossScale, options: LossScalersOptions): LossScaler[] {
  const { numLosses = 1, minLossScale = null, maxLossScale } = options;
  const limits = { minLossScale, ...(maxLossScale === undefined ? {} : { maxLossScale }) };
  return Array.from({ length: numLosses }, () => new LossScaler(lossScale, limits));
}
export interface LossScalersOptions {
  readonly numLosses?: number;
  readonly minLossScale?: number | null;
  readonly maxLossScale?: number;
}
