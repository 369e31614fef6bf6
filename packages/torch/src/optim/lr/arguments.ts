/**
 * What schedules are made of, checked: a wrong number is an error where it is given, not a learning rate of NaN some
 * steps later.
 */
import { ArgumentError } from "../../errors.js";
import { isTorchScheduler, schedulerFromTorch } from "./torch-state.js";
import { byDefault, either, instanceOf, isPlain, listOf, real, whole as wholeKind, type Kind } from "../../kinds.js";
import { Optimizer } from "../optimizer.js";

/** @internal */
export const OPTIMIZER: Kind<Optimizer> = instanceOf<Optimizer>("an optimizer", Optimizer);
/** @internal Steps that were made before, less one. */
export const LAST_EPOCH = byDefault(-1, wholeKind("[-1, ∞)"));
/** @internal */
export const NON_NEGATIVE: Kind<number> = real("[0, ∞)");
/** @internal */
export const COUNT: Kind<number> = wholeKind("[1, ∞)");
/** @internal One number for all groups, or one for each. */
export const EACH: Kind<number | readonly number[]> = either(real(), listOf(real()));

/** @internal Numbers of the groups: one for all, or a list with one for each. */
export function forGroups(
  fn: string,
  name: string,
  optimizer: Optimizer,
  value: number | readonly number[],
): readonly number[] {
  const n = optimizer.paramGroups.length;
  if (typeof value === "number") return new Array<number>(n).fill(value);
  if (value.length !== n)
    throw new ArgumentError(fn, `${name} to be one number, or one for each of ${n} groups`, value);
  return [...value];
}

/** @internal Arguments with an option under its other name. */
export function renamed(given: readonly unknown[], from: string, to: string): readonly unknown[] {
  const at = given.findLastIndex((value) => value !== undefined);
  const options = given[at];
  if (!isPlain(options) || !Object.hasOwn(options, from) || Object.hasOwn(options, to)) return given;
  const { [from]: value, ...rest } = options;
  return [...given.slice(0, at), { ...rest, [to]: value }];
}

/** @internal A finite number, ≥ 0. */
export function inRange(fn: string, name: string, value: unknown, least = 0, most = Infinity): void {
  if (typeof value === "number" && Number.isFinite(value) && value >= least && value <= most) return;
  throw new ArgumentError(
    fn,
    `${name} to be a number ${most === Infinity ? `≥ ${least}` : `from ${least} to ${most}`}`,
    value,
  );
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
    inRange(fn, `${name}[${i}]`, rate, -ROUNDING);
    return rate as number;
  });
}
/** Schedules that end at 0 may end a rounding below it, as PyTorch's do. */
const ROUNDING = 1e-9;

/** @internal A saved state is an object, with our names or PyTorch's. */
export function savedState(fn: string, state: unknown): Readonly<Record<string, unknown>> {
  if (typeof state !== "object" || state === null || Array.isArray(state))
    throw new ArgumentError(fn, "the state of a scheduler, as stateDict() returns it", state);
  const fields = state as Readonly<Record<string, unknown>>;
  return isTorchScheduler(fields) ? schedulerFromTorch(fields) : fields;
}
