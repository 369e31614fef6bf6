/** What losses share: the arguments that most of them take, and how the losses of elements become one. */
import { byDefault, flag, oneOf, orNull, type Kind } from "../../kinds.js";
import type { OptionNames } from "../../options.js";
import { tensorKind } from "../../tensor/kinds.js";
import type { Tensor } from "../../tensor/tensor.js";

export type Reduction = "none" | "mean" | "sum";
/** The operators' numbers. */
export const NUMBERS: Readonly<Record<Reduction, number>> = { none: 0, mean: 1, sum: 2 };

export interface NewReductionOptions {
  /** Of the elements' losses: their mean (default), their sum, or each for itself. */
  readonly reduction?: Reduction;
}
export interface ReductionOptions extends NewReductionOptions {
  /** An old name, at its old position: false is reduction "sum". Where it is given, `reduction` is not read. */
  readonly sizeAverage?: boolean | null;
  /** An old name, at its old position: false is reduction "none". Where it is given, `reduction` is not read. */
  readonly reduce?: boolean | null;
}

/** What a number means where a word belongs: ATen's functions take 0, 1, 2. */
function wordOf(value: unknown): string {
  const word = Object.entries(NUMBERS).find(([, number]) => number === value)?.[0];
  return word === undefined ? "" : `Write { reduction: "${word}" }.`;
}
const withWord = <T>(kind: Kind<T>): Kind<T> => ({ ...kind, meant: wordOf });

export const REDUCTION = withWord(oneOf("none", "mean", "sum"));
const OLD = byDefault(null, withWord(orNull(flag)));
/** Rows of argument tables. Where the three stand among others differs by loss. */
export const SIZE_AVERAGE = OLD;
export const REDUCE = OLD;
export const MEAN = byDefault("mean", REDUCTION);
export const REDUCTIONS = {
  sizeAverage: SIZE_AVERAGE,
  reduce: REDUCE,
  reduction: MEAN,
} satisfies OptionNames<ReductionOptions>;
export const WEIGHT = byDefault(null, orNull(tensorKind));

export interface PairArguments {
  /** What the model says. */
  readonly input: Tensor;
  /** What it should have said. */
  readonly target: Tensor;
}
export const PAIR = { input: tensorKind, target: tensorKind } satisfies OptionNames<PairArguments>;

/** The reduction that is meant, under its old names or its new one. */
export function reductionOf<R extends string>(given: {
  readonly sizeAverage: boolean | null;
  readonly reduce: boolean | null;
  readonly reduction: R;
}): R | Reduction {
  const { sizeAverage, reduce, reduction } = given;
  if (sizeAverage === null && reduce === null) return reduction;
  return reduce === false ? "none" : sizeAverage === false ? "sum" : "mean";
}

/** The same as the operators' number. */
export function numberOf(given: Parameters<typeof reductionOf<Reduction>>[0]): number {
  return NUMBERS[reductionOf(given)];
}

/** One loss of the elements'. */
export function reduced(losses: Tensor, reduction: Reduction): Tensor {
  return reduction === "mean" ? losses.mean() : reduction === "sum" ? losses.sum() : losses;
}
