/** One parameter's step where no GPU kernel runs: in the CPU's kernel, or by the plain reference that it is tested by. */
import { isTensor, type optim, type Tensor } from "@nbit/torch";
import { guardedUpdate, hyperparametersOf, type Family, type Hyper } from "./families.js";
import { kernel } from "./format.js";
import type { LowBitGroup } from "./options.js";
import type { StepScalar } from "./scalars.js";
import type { StateFormat } from "./state-format.js";

/** What a step works with, apart from the parameter. */
export interface StepInputs {
  readonly family: Family;
  /** Of the state; null: float32. */
  readonly format: StateFormat | null;
  readonly hyper: Hyper;
  readonly group: LowBitGroup;
  /** Of {@link sumsOfSquares} over all shards, where `p` is one; null: it is whole. */
  readonly sums: Tensor | null;
}

/** The same of a step whose rate, and whose number, are tensors: it can be recorded, and repeated with other ones. */
export type RecordableInputs = Omit<StepInputs, "hyper"> & { readonly hyper: Hyper<StepScalar> };

/**
 * Step a parameter and its state in place by plain operators, which a compiler can read. The kernel's numbers, but for
 * what is rounded once more.
 */
export function stepRecordably(p: Tensor, grad: Tensor, state: optim.ParameterState, inputs: RecordableInputs): void {
  byReference(p, grad, state, inputs);
}

/** Step a parameter and its state in place. */
export function stepParameter(p: Tensor, grad: Tensor, state: optim.ParameterState, inputs: StepInputs): void {
  const { fused } = inputs.family;
  if (fused !== null && p.device.type === "cpu" && p.isContiguous()) inKernel(p, grad, state, inputs, fused);
  else byReference(p, grad, state, inputs);
}

function inKernel(
  p: Tensor,
  grad: Tensor,
  s: optim.ParameterState,
  { family, hyper, group, sums }: StepInputs,
  fused: number,
): void {
  const all = (name: string): Tensor[] => family.states.map((_, i) => s[`${name}${i + 1}`]).filter((t) => isTensor(t));
  kernel("low_bit_step_")(
    p.detach(),
    grad.contiguous(),
    all("state"),
    all("absmax"),
    all("qmap"),
    fused,
    hyper.step,
    hyperparametersOf(family, hyper),
    hyper.nesterov,
    group.blockSize,
    group.keepPositive,
    sums,
  );
}

function byReference(
  p: Tensor,
  grad: Tensor,
  s: optim.ParameterState,
  { family, format, hyper, group: { blockSize, keepPositive } }: RecordableInputs,
): void {
  const states = family.states.map((signed, i) => {
    const codes = s[`state${i + 1}`] as Tensor;
    const absmax = s[`absmax${i + 1}`] as Tensor;
    return format === null ? codes : format.dequantize({ codes, absmax, shape: p.shape, blockSize }, signed);
  });
  const next = guardedUpdate(family, p.detach().to("float32"), grad.to("float32"), states, hyper);
  p.detach().copy_(next.p);
  next.states.forEach((value, i) => {
    const codes = s[`state${i + 1}`] as Tensor;
    if (format === null) {
      codes.copy_(value);
      return;
    }
    const q = format.quantize(value, { signed: family.states[i] === true, blockSize, keepPositive });
    codes.copy_(q.codes);
    (s[`absmax${i + 1}`] as Tensor).copy_(q.absmax);
  });
}

/** Sums of the squares of a parameter and of its update, of which a layerwise family makes the trust ratio. */
export function sumsOfSquares(
  p: Tensor,
  grad: Tensor,
  lists: Record<"states" | "absmax" | "qmaps", readonly Tensor[]>,
  { family, hyper, group }: Pick<StepInputs, "family" | "hyper" | "group">,
): Tensor {
  return kernel("low_bit_sums")(
    p,
    grad.contiguous(),
    lists.states,
    lists.absmax,
    lists.qmaps,
    family.fused,
    hyper.step,
    hyperparametersOf(family, hyper),
    hyper.nesterov,
    group.blockSize,
  ) as Tensor;
}
