/** Options that several optimizers have, with their kinds. */
import { ArgumentError } from "../errors.js";
import { byDefault, flag, iterable, listOf, orNull, real, such, type Kind } from "../kinds.js";
import { checkArguments, type OptionNames } from "../options.js";
import { isTensor } from "../tensor/handle.js";
import type { ParamGroup, ParamsLike } from "./state.js";
import type { Rounding } from "./rounding.js";

export interface ComputeOptions {
  /**
   * Which of PyTorch's two arithmetics, where they differ in the last bits: that over lists of tensors (true), or that of
   * each tensor (false). Both run over lists here. Default null: over lists on a GPU, of each tensor on the CPU.
   */
  readonly foreach?: boolean | null;
  /** Maximize the objective: step along the gradient. Default false. */
  readonly maximize?: boolean;
  /**
   * Let autograd record the step: parameters may then be results of operators, and a loss of the stepped ones has
   * gradients through the step. State is written in place, so call backward before the next step. Default false.
   */
  readonly differentiable?: boolean;
}
export interface CapturableOptions {
  /**
   * Count steps where the parameters are, and compute with the counts there: on a GPU nothing of a step is then a number
   * of the host that a CUDA graph would keep, but the options. On the CPU only roundings change. Default false.
   */
  readonly capturable?: boolean;
}

/** @internal Parameters, and groups of them. */
export const PARAMS: Kind<ParamsLike> = {
  ...such<ParamsLike>(
    "parameters, or groups { params, … }, as an array or another iterable",
    (v) => isTensor(v) || iterable.accepts(v),
  ),
  meant: () => "Of a module take module.parameters().",
};
/** @internal */
export const NON_NEGATIVE: Kind<number> = real("[0, ∞)");
const SHARE = real("[0, 1)");
/** @internal Two shares that stay of running means. */
export const BETAS: Kind<readonly [number, number]> = such("two numbers in [0, 1)", (v) => listOf(SHARE, 2).accepts(v));
/** @internal */
export const FLAG = byDefault(false, flag);
/** @internal */
export const FOREACH = byDefault(null, orNull(flag));
/** @internal Checked by `checkRounding`; undefined where it is not given. */
export const ROUNDING_ROWS = {
  rounding: byDefault(
    undefined,
    such<Rounding | undefined>("a rounding", () => true),
  ),
  roundingSeed: byDefault(
    undefined,
    such<number | undefined>("a seed", () => true),
  ),
};
/** @internal */
export const COMPUTE_ROWS = { foreach: FOREACH, maximize: FLAG, differentiable: FLAG };
/** @internal */
export const CAPTURABLE_ROWS = { capturable: FLAG };

/**
 * @internal The arguments of an optimizer, read: its parameters, and the options that its groups begin with. What was
 * not given and has no default is left out.
 */
export function paramsAndDefaults<A extends { readonly params: ParamsLike }>(
  read: A,
): readonly [ParamsLike, Readonly<Record<string, unknown>>] {
  const { params, ...options } = read;
  return [params, Object.fromEntries(Object.entries(options).filter(([, value]) => value !== undefined))];
}

/** @internal Whether steps can be made with it: schedules that end at 0 may end a rounding below it. */
export function isRate(lr: unknown): boolean {
  return typeof lr === "number" && lr >= -1e-9 && lr < Infinity;
}

/** @internal Options of a group against their table. */
export function checkGroup(fn: string, group: ParamGroup, rows: Readonly<Record<string, Kind<never>>>): void {
  for (const [name, kind] of Object.entries(rows)) {
    if (name === "params" || name in ROUNDING_ROWS || (name === "lr" && isRate(group.lr))) continue;
    checkArguments<Record<string, unknown>>(fn, { [name]: group[name] }, { [name]: kind } as OptionNames<
      Record<string, unknown>
    >);
  }
  if (group["differentiable"] === true && group["foreach"] === true)
    throw new ArgumentError(fn, "differentiable without foreach: true", { differentiable: true, foreach: true });
}
