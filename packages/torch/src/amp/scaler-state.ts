/** Settings and state of a loss scaler: defaults, checks, and the names that other systems save it under. */
import { flag, real, whole } from "../kinds.js";
import { deviceKind } from "../tensor/kinds.js";
import { ArgumentError } from "../errors.js";
import { checkArguments, checkOptions, type OptionNames } from "../options.js";
import type { DeviceLike } from "../tensor/device.js";
import { isTensor } from "../tensor/handle.js";

export interface GradScalerOptions {
  /** Where losses and gradients are. Default "cpu". */
  readonly device?: DeviceLike;
  /** Default 65536. */
  readonly initScale?: number;
  /** > 1. Default 2. */
  readonly growthFactor?: number;
  /** In (0, 1). Default 0.5. */
  readonly backoffFactor?: number;
  /** Good updates in a row before the scale grows. Default 2000. */
  readonly growthInterval?: number;
  /** false: losses pass through and steps are plain steps. Default true. */
  readonly enabled?: boolean;
  /** The scale does not fall below; an overflow there is a {@link LossScaleError}. Default 2^-14. */
  readonly minScale?: number;
  /** Nor does it rise above. Default 2^24. */
  readonly maxScale?: number;
  /**
   * Leave on the device what steps found until somebody asks: nothing waits, and {@link GradScaler.checkFloor} finds an
   * overflow at the floor instead of `update`. Default: on every device but the CPU.
   */
  readonly lazy?: boolean;
}
const FACTORS = { growthFactor: real("(1, ∞)"), backoffFactor: real("(0, 1)"), growthInterval: whole("[1, ∞)") };
/** @internal In the order of positions. */
export const SCALER_NAMES: OptionNames<GradScalerOptions> = {
  device: deviceKind,
  initScale: real("(0, ∞)"),
  ...FACTORS,
  enabled: flag,
  minScale: real("[0, ∞)"),
  maxScale: real("[0, ∞]"),
  lazy: flag,
};
export interface GradScalerState {
  readonly scale: number;
  readonly growthFactor: number;
  readonly backoffFactor: number;
  readonly growthInterval: number;
  readonly growthTracker: number;
}

export type ResolvedScalerOptions = Readonly<Required<Omit<GradScalerOptions, "lazy">>> &
  Pick<GradScalerOptions, "lazy">;

export type Factor = "growthFactor" | "backoffFactor" | "growthInterval";

/** @throws {ArgumentError} when a factor is out of its range. */
export function checkFactor(fn: string, name: Factor, value: unknown): number {
  checkArguments(fn, { [name]: value as number }, { [name]: FACTORS[name] });
  return value as number;
}

/** Options with their defaults, checked. */
export function resolveScalerOptions(options: GradScalerOptions): ResolvedScalerOptions {
  const fn = "GradScaler";
  checkOptions(fn, options, SCALER_NAMES);
  const o = {
    device: "cpu",
    initScale: 65536,
    growthFactor: 2,
    backoffFactor: 0.5,
    growthInterval: 2000,
    enabled: true,
    minScale: 2 ** -14,
    maxScale: 2 ** 24,
    ...options,
  };
  if (o.minScale > o.maxScale) throw new ArgumentError(fn, "0 ≤ minScale ≤ maxScale", o.minScale);
  if (o.initScale < o.minScale || o.initScale > o.maxScale)
    throw new ArgumentError(
      fn,
      `initScale between minScale (${o.minScale}) and maxScale (${o.maxScale})`,
      o.initScale,
      "Set minScale or maxScale, too.",
    );
  return o;
}

/** Keys under which Lightning's checkpoints, from 1.x to 2.x, hold a scaler's state. */
const LIGHTNING_KEYS = [
  "MixedPrecision",
  "MixedPrecisionPlugin",
  "NativeMixedPrecisionPlugin",
  "native_amp_scaling_state",
];

const isRecord = (value: unknown): value is Readonly<Record<string, unknown>> =>
  typeof value === "object" && value !== null;

/**
 * A scaler's state in our names, from ours, PyTorch's (`growth_factor`, `_growth_tracker`, …), or a Lightning
 * checkpoint that has it. Null for an empty state, which a disabled scaler saves.
 *
 * @throws {ArgumentError} `GradScaler.loadStateDict: expected scale to be a finite number > 0. Received: 0.`
 */
export function readScalerState(given: Readonly<Record<string, unknown>>): GradScalerState | null {
  const fn = "GradScaler.loadStateDict";
  if (!isRecord(given)) throw new ArgumentError(fn, "a state, as stateDict() returns it", given);
  const inner = LIGHTNING_KEYS.map((key) => given[key]).find(isRecord);
  const state = inner ?? given;
  if (Object.keys(state).length === 0) return null;
  const value = (camel: keyof GradScalerState, snake: string): unknown => {
    const found = state[camel] ?? state[snake];
    return isTensor(found) ? found.item() : found;
  };
  const scale = value("scale", "scale");
  if (typeof scale !== "number" || !(scale > 0 && scale < Infinity))
    throw new ArgumentError(
      fn,
      "scale to be a finite number > 0",
      scale,
      scale === 0 ? "PyTorch's scale has no floor: that run overflowed until nothing was left." : "",
    );
  const growthTracker = value("growthTracker", "_growth_tracker");
  if (typeof growthTracker !== "number" || !(Number.isInteger(growthTracker) && growthTracker >= 0))
    throw new ArgumentError(fn, "growthTracker to be a whole number ≥ 0", growthTracker);
  return {
    scale,
    growthFactor: checkFactor(fn, "growthFactor", value("growthFactor", "growth_factor")),
    backoffFactor: checkFactor(fn, "backoffFactor", value("backoffFactor", "backoff_factor")),
    growthInterval: checkFactor(fn, "growthInterval", value("growthInterval", "growth_interval")),
    growthTracker,
  };
}
