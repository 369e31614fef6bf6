/** What a transform is, how it draws, and what its arguments are read with. */
import { atMost, ArgumentError, empty, exp, kinds, rand, randint, scope, type Tensor } from "@nbit/torch";

/**
 * A function of an image with options. `forward(image)` and `call(image)` are the same.
 *
 * Transforms that draw do so from the default generator, as torchvision's do: `manualSeed(n)` makes them repeatable,
 * and workers of a loader each draw for themselves.
 */
export abstract class Transform<I = Tensor, O = Tensor> {
  constructor() {
    atMost(new.target.name, arguments, 0);
  }
  abstract forward(image: I): O;
  call(image: I): O {
    atMost(`${this.constructor.name}.call`, arguments, 1);
    return this.forward(image);
  }
}

/** A transform, or a function. */
export type Step<I = never, O = unknown> = Transform<I, O> | ((value: I) => O);
export const stepKind = kinds.such<Step>(
  "a transform or a function",
  (v) => typeof v === "function" || v instanceof Transform,
);
/** @internal */
export const apply = (step: Step, value: unknown): unknown =>
  typeof step === "function" ? step(value as never) : step.forward(value as never);

/** One number from `low` to below `high`. */
export const uniform = (low: number, high: number): number =>
  scope(() => empty([1]).uniform_(low, high).item() as number);
/** exp of one number from `low` to below `high`, in float32. */
export const expUniform = (low: number, high: number): number =>
  scope(() => exp(empty([1]).uniform_(low, high)).item() as number);
/** A whole number from `low` to below `high`. */
export const integer = (low: number, high: number): number => scope(() => Number(randint(low, high, [1]).item()));
/** Whether a draw falls below `p`. */
export const happens = (p: number): boolean => scope(() => (rand([1]).item() as number) < Math.fround(p));

export type Range = readonly [least: number, most: number];
export const range = kinds.such<Range>(
  "[least, most]",
  (v) => Array.isArray(v) && v.length === 2 && v.every((x) => typeof x === "number" && Number.isFinite(x)),
);
export const probability = kinds.real("[0, 1]");

/** @throws {ArgumentError} where the least is more than the most. */
export function checkRange(fn: string, name: string, [least, most]: Range): void {
  if (least > most) throw new ArgumentError(fn, `${name} to be [least, most]`, [least, most]);
}
