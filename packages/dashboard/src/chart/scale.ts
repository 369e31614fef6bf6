import { formatInteger, significant } from "@nbit/torch/format";
import { powerOfTwo } from "../format.js";

export type ScaleKind = "linear" | "log10" | "log2";

/** Maps values to pixels along one axis, and says where its ticks are. */
export interface Scale {
  readonly kind: ScaleKind;
  readonly min: number;
  readonly max: number;
  readonly ticks: readonly { readonly value: number; readonly label: string }[];
  /** Pixel of a value. */
  at(value: number): number;
}

const MOST_TICKS = 100;

/** @param labelOf - How tick values read, given the decimals that the step between ticks needs. */
export function linearScale(
  min: number,
  max: number,
  from: number,
  to: number,
  count: number,
  labelOf?: (value: number, decimals: number) => string,
): Scale {
  // A flat curve gets room above and below.
  const pad = min === max ? Math.abs(min) * 0.05 || 1 : 0;
  const low = min - pad;
  const high = max + pad;
  const step = niceStep((high - low) / Math.max(1, count));
  // Texts of more digits than this are read by nobody, and not written by toFixed.
  const decimals = Math.min(100, Math.max(0, -Math.floor(Math.log10(step) + 1e-9)));
  const ticks = [];
  const first = Math.ceil(low / step - 1e-9);
  // Where the range is small beside its numbers, adding a step to one may not change it.
  for (let i = 0; i <= MOST_TICKS && (first + i) * step <= high + step * 1e-9; i++) {
    const value = Number(((first + i) * step).toFixed(decimals));
    ticks.push({
      value,
      label:
        labelOf?.(value, decimals) ??
        (decimals === 0 ? formatInteger(value) : decimals > 20 ? value.toExponential(1) : value.toFixed(decimals)),
    });
  }
  return {
    kind: "linear",
    min: low,
    max: high,
    ticks,
    at: (value) => from + ((value - low) / (high - low)) * (to - from),
  };
}

/** Widened to whole ticks, so that the curve does not touch the frame. */
export function niceLinear(
  min: number,
  max: number,
  from: number,
  to: number,
  count: number,
  labelOf?: (value: number, decimals: number) => string,
): Scale {
  const step = niceStep((max - min || Math.abs(max) || 1) / Math.max(1, count));
  return linearScale(
    Math.floor(min / step + 1e-9) * step,
    Math.ceil(max / step - 1e-9) * step,
    from,
    to,
    count,
    labelOf,
  );
}

/** `min` must be > 0. */
export function log10Scale(min: number, max: number, from: number, to: number): Scale {
  const lowest = Math.log10(min);
  const highest = Math.max(Math.log10(max), lowest + 0.1);
  // So that the curve does not touch the frame.
  const pad = 0.03 * (highest - lowest);
  const [low, high] = [lowest - pad, highest + pad];
  const ticks = [];
  const decades = high - low;
  const factors = decades < 1.6 ? [1, 2, 5] : decades < 3.2 ? [1, 3] : [1];
  for (let power = Math.floor(low); power <= Math.ceil(high); power++) {
    for (const factor of factors) {
      const value = factor * 10 ** power;
      const at = Math.log10(value);
      if (at >= low - 1e-9 && at <= high + 1e-9)
        ticks.push({ value, label: value >= 1000 ? formatInteger(value) : significant(value, 1) });
    }
  }
  return {
    kind: "log10",
    min: 10 ** low,
    max: 10 ** high,
    ticks,
    at: (value) => from + ((Math.log10(Math.max(value, 1e-300)) - low) / (high - low)) * (to - from),
  };
}

/** Powers of two, as loss scales are. `min` must be > 0. */
export function log2Scale(min: number, max: number, from: number, to: number): Scale {
  const low = Math.floor(Math.log2(min)) - 1;
  const high = Math.ceil(Math.log2(max)) + 1;
  const every = Math.max(1, Math.ceil((high - low) / 6));
  const ticks = [];
  for (let power = low; power <= high; power++)
    if (power % every === 0) ticks.push({ value: 2 ** power, label: powerOfTwo(power) });
  return {
    kind: "log2",
    min: 2 ** low,
    max: 2 ** high,
    ticks,
    at: (value) => from + ((Math.log2(Math.max(value, 1e-300)) - low) / (high - low)) * (to - from),
  };
}

/** 1, 2 or 5 times a power of ten, at least `rough`. */
function niceStep(rough: number): number {
  const power = 10 ** Math.floor(Math.log10(rough));
  for (const factor of [1, 2, 5]) if (factor * power >= rough * (1 - 1e-9)) return factor * power;
  return 10 * power;
}
