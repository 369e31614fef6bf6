/** Gradients: accumulated into leaves, or returned. */
import { ArgumentError } from "../errors.js";
import { zerosLike } from "../generated/functions.js";
import { either, flag as flagKind, listOf, oneOf, orNull, such } from "../kinds.js";
import { tensorKind } from "../tensor/kinds.js";
import { argBuffer, native, writeLists } from "../native.js";
import { optionsFrom, type Given, type OptionNames } from "../options.js";
import { handlesOf, isTensor, wrap } from "../tensor/handle.js";
import type { Tensor } from "../tensor/tensor.js";
import { watched } from "./watch.js";

type Grads = readonly (Tensor | null)[];

export interface BackwardSumOptions {
  /** Keep the graph for another backward. Default: `createGraph`. */
  readonly retainGraph?: boolean | null;
  /** Make the gradients differentiable themselves. Default false. */
  readonly createGraph?: boolean;
  /** Accumulate only into these leaves. */
  readonly inputs?: readonly Tensor[] | Tensor;
}
export interface GradOptions<U extends boolean = boolean> {
  /** The gradients of the outputs; may be left out where these have one element (then 1). */
  readonly gradOutputs?: Tensor | Grads | null;
  /** Keep the graph for another backward. Default: `createGraph`. */
  readonly retainGraph?: boolean | null;
  /** Make the gradients differentiable themselves. Default false. */
  readonly createGraph?: boolean;
  /** Return null for an input that the outputs do not depend on, rather than an error. Default false. */
  readonly allowUnused?: U | null;
  /** Zeros instead of null for those. Default false. */
  readonly materializeGrads?: boolean;
  /** Only true: gradients are returned, and not accumulated. */
  readonly onlyInputs?: true;
}
const GRADS = such<Tensor | Grads | null>(
  "a tensor, an array of tensors, or null",
  (v) => v === null || tensorKind.accepts(v) || Array.isArray(v),
);
// In PyTorch's order; the fifth of `grad` can only be true, and is taken for that.
const BACKWARD = {
  retainGraph: orNull(flagKind),
  createGraph: flagKind,
  inputs: either(listOf(tensorKind), tensorKind),
} satisfies OptionNames<BackwardSumOptions>;
const GRAD: OptionNames<GradOptions> = {
  gradOutputs: GRADS,
  retainGraph: orNull(flagKind),
  createGraph: flagKind,
  onlyInputs: oneOf(true),
  allowUnused: orNull(flagKind),
  materializeGrads: flagKind,
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
  ...rest: Given<BackwardSumOptions, [retainGraph?: boolean | null, createGraph?: boolean]>
): void {
  const { retainGraph, createGraph, inputs } = optionsFrom("backward", 2, rest, BACKWARD, 2);
  const roots = handlesOf("backward", "tensors", asList(tensors));
  const grads = gradTensors === null ? [] : handlesOf("backward", "gradTensors", asList(gradTensors), true);
  const leaves = handlesOf("backward", "inputs", asList(inputs ?? []));
  if (grads.length !== 0 && grads.length !== roots.length)
    throw new ArgumentError("backward", `one gradient per tensor (${roots.length})`, grads.length);
  watched(() => {
    writeLists(roots, grads, leaves);
    native.backward(flag(retainGraph), createGraph === true);
  });
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
export function grad(
  outputs: Tensor | readonly Tensor[],
  inputs: Tensor | readonly Tensor[],
  gradOutputs?: Tensor | Grads | null,
  retainGraph?: boolean | null,
  createGraph?: boolean,
): Tensor[];
export function grad(
  outputs: Tensor | readonly Tensor[],
  inputs: Tensor | readonly Tensor[],
  ...rest: readonly unknown[]
): (Tensor | null)[] {
  const options = optionsFrom<GradOptions>("grad", 2, rest, GRAD, 5);
  const { gradOutputs, retainGraph, createGraph, materializeGrads } = options;
  const from = handlesOf("grad", "outputs", asList(outputs));
  const given = handlesOf("grad", "inputs", asList(inputs));
  const gradients = gradOutputs ? handlesOf("grad", "gradOutputs", asList(gradOutputs), true) : [];
  const allowUnused = options.allowUnused ?? materializeGrads === true;
  let found: (Tensor | null)[] = [];
  watched(() => {
    writeLists(from, given, gradients);
    native.grad(flag(retainGraph), createGraph === true, allowUnused);
    // Tensors at once: who watches may throw now, and nobody else would free them.
    found = Array.from(argBuffer.slice(0, given.length), (h) => (h === 0 ? null : wrap(h)));
  }, true);
  if (materializeGrads !== true) return found;
  const list = isTensor(inputs) ? [inputs] : inputs;
  return found.map((g, i) => g ?? zerosLike(list[i] as Tensor));
}
