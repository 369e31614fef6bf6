/** What an optimizer steps, and what it remembers of it. */
import type { Tensor } from "../tensor/tensor.js";

/** One thing that an optimizer remembers; lists are LBFGS's. */
export type StateValue = Tensor | number | null | readonly (Tensor | number)[];
/** What an optimizer remembers of one parameter. */
export type ParameterState = Record<string, StateValue>;
/**
 * What a saved state must (or, with a question mark, may) have: a tensor like its parameter; one of squares, which is
 * nowhere negative, of the parameter's shape, or of one number for each of its rows or columns; a count of steps; or
 * one number.
 */
export type StateFields = Readonly<
  Record<string, "like" | "like?" | "squares" | "squares?" | "rows?" | "columns?" | "step" | "number">
>;
/** @internal States that are one number for all of their parameter, kept in float32 whatever its dtype. */
export const COUNTERS: ReadonlySet<string> = new Set(["step", "eta", "mu", "muProduct"]);
export interface ParamGroup {
  params: Tensor[];
  lr: number;
  /** The learning rate before any scheduler; set by the first one. */
  initialLr?: number;
  /** Where parameters were given with names. */
  paramNames?: readonly string[];
  [option: string]: unknown;
}
/** Parameters, parameters with their names, or groups of them with options of their own. */
export type ParamsLike =
  | Iterable<Tensor>
  | Iterable<readonly [name: string, parameter: Tensor]>
  | Iterable<{ readonly params: Iterable<Tensor> | Tensor; readonly [option: string]: unknown }>;

export interface OptimizerState {
  /** By position of the parameter over all groups. */
  readonly state: Readonly<Record<string, ParameterState>>;
  readonly paramGroups: readonly (Readonly<Record<string, unknown>> & { readonly params: readonly number[] })[];
  /** Of which algorithm it is, where that is one of ours. */
  readonly algorithm?: string;
}
