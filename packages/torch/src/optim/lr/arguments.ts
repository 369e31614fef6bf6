/**
 * Checks of what schedules are made of: a wrong number is an error where it is given, not a learning rate of NaN some
 * steps later.
 */
import { ArgumentError } from "../../errors.js";
import { isTorchScheduler, schedulerFromTorch } from "./torch-state.js";

/** @internal A finite number from `least` to `most`. */
export function inRange(fn: string, name: string, value: unknown, least = 0, most = Infinity): void {
  if (typeof value === "number" && Number.isFinite(value) && value >= least && value <= most) return;
  throw new ArgumentError(
    fn,
    `${name} to be a number ${most === Infinity ? `≥ ${least}` : `from ${least} to ${most}`}`,
    value,
  );
}

/** @internal A number above 0, up to 1. */
export function share(fn: string, name: string, value: unknown): void {
  if (!(typeof value === "number" && value > 0 && value <= 1)) throw new ArgumentError(fn, `${name} in (0, 1]`, value);
}

/** @internal A whole number. */
export function whole(fn: string, name: string, value: unknown, least = 1): void {
  if (!Number.isSafeInteger(value) || (value as number) < least)
    throw new ArgumentError(fn, `${name} to be a whole number ≥ ${least}`, value);
}

/** @internal Saved learning rates of `least` to `most` groups. */
export function savedRates(fn: string, name: string, value: unknown, least: number, most: number): number[] {
  const list: readonly unknown[] | null = Array.isArray(value) ? value : null;
  if (list === null || list.length < least || list.length > most)
    throw new ArgumentError(fn, `${name} to have a learning rate for each of ${most} groups`, value);
  return list.map((rate, i) => {
    inRange(fn, `${name}[${i}]`, rate);
    return rate as number;
  });
}

/** @internal A saved state is an object, with our names or PyTorch's. */
export function savedState(fn: string, state: unknown): Readonly<Record<string, unknown>> {
  if (typeof state !== "object" || state === null || Array.isArray(state))
    throw new ArgumentError(fn, "the state of a scheduler, as stateDict() returns it", state);
  const fields = state as Readonly<Record<string, unknown>>;
  return isTorchScheduler(fields) ? schedulerFromTorch(fields) : fields;
}
