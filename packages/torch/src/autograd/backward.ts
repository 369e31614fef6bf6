/** Gradients: accumulated into leaves, or returned. */
import { ArgumentError } from "../errors.js";
import { flag as flagKind, listOf, orNull, such } from "../kinds.js";
import { tensorKind } from "../tensor/kinds.js";
import { argBuffer, native, writeLists } from "../native.js";
import { atMost, checkOptions, type OptionNames } from "../options.js";
import { handlesOf, isTensor, wrap } from "../tensor/handle.js";
import type { Tensor } from "../tensor/tensor.js";

type Grads = readonly (Tensor | null)[];

export interface BackwardSumOptions {
  /** Keep the graph for another backward. Default: `createGraph`. */
  readonly retainGraph?: boolean | null;
  /** Make the gradients differentiable themselves. Default false. */
  readonly createGraph?: boolean;
  /** Accumulate only into these leaves. */
  readonly inputs?: readonly Tensor[];
}
export interface GradOptions<U extends boolean = boolean> {
  /** The gradients of the outputs; may be left out where these have one element (then 1). */
  readonly gradOutputs?: Tensor | Grads | null;
  /** Keep the graph for another backward. Default: `createGraph`. */
  readonly retainGraph?: boolean | null;
  /** Make the gradients differentiable themselves. Default false. */
  readonly createGraph?: boolean;
  /** Return null for an input that the outputs do not depend on, rather than an error. Default false. */
  readonly allowUnused?: U;
}
const GRAPH = { retainGraph: orNull(flagKind), createGraph: flagKind };
const BACKWARD: OptionNames<BackwardSumOptions> = { ...GRAPH, inputs: listOf(tensorKind) };
const GRAD: OptionNames<GradOptions> = {
  ...GRAPH,
  gradOutputs: such<Tensor | Grads | null>(
    "a tensor, an array of tensors, or null",
    (v) => v === null || tensorKind.accepts(v) || Array.isArray(v),
  ),
  allowUnused: flagKind,
};

const asList = (value: unknown): unknown => (isTensor(value) ? [value] : value);
const flag = (value: boolean | null | undefined): number =>
  value === undefined || value === null ? -1 : value ? 1 : 0;

/**
 * Accumulate into every leaf the sum of gradients of several tensors.
 * @param gradTensors - One per tensor; null for a tensor of one element.
 */
export function backward(
  tensors: Tensor | readonly Tensor[],
  gradTensors: Tensor | Grads | null = null,
  options: BackwardSumOptions = {},
): void {
  atMost("backward", arguments, 3);
  checkOptions("backward", options, BACKWARD);
  const { retainGraph, createGraph, inputs } = options;
  const roots = handlesOf("backward", "tensors", asList(tensors));
  const grads = gradTensors === null ? [] : handlesOf("backward", "gradTensors", asList(gradTensors), true);
  const leaves = handlesOf("backward", "inputs", inputs ?? []);
  if (grads.length !== 0 && grads.length !== roots.length)
    throw new ArgumentError("backward", `one gradient per tensor (${roots.length})`, grads.length);
  writeLists(roots, grads, leaves);
  native.backward(flag(retainGraph), createGraph === true);
}

/**
 * Gradients of the sum of `outputs` with respect to `inputs`, returned instead of accumulated.
 * @returns One tensor per input, of its shape; null where an input was not used and `allowUnused` is set.
 */
export function grad(
  outputs: Tensor | readonly Tensor[],
  inputs: Tensor | readonly Tensor[],
  options: GradOptions<false>,
): Tensor[];
export function grad(
  outputs: Tensor | readonly Tensor[],
  inputs: Tensor | readonly Tensor[],
  options: GradOptions,
): (Tensor | null)[];
export function grad(outputs: Tensor | readonly Tensor[], inputs: Tensor | readonly Tensor[]): Tensor[];
export function grad(
  outputs: Tensor | readonly Tensor[],
  inputs: Tensor | readonly Tensor[],
  options: GradOptions = {},
): (Tensor | null)[] {
  atMost("grad", arguments, 3);
  checkOptions("grad", options, GRAD);
  const { gradOutputs, retainGraph, createGraph, allowUnused } = options;
  const from = handlesOf("grad", "outputs", asList(outputs));
  const wanted = handlesOf("grad", "inputs", asList(inputs));
  writeLists(from, wanted, gradOutputs ? handlesOf("grad", "gradOutputs", asList(gradOutputs), true) : []);
  native.grad(flag(retainGraph), createGraph === true, allowUnused === true);
  const handles = argBuffer.slice(0, wanted.length);
  return Array.from(handles, (h) => (h === 0 ? null : wrap(h)));
}
