/** Steps of low-bit optimizers on a GPU: few kernels for all parameters, nothing read back, capturable in a CUDA graph. */
import { empty, full, isTensor, operators, type optim, outsideScopes, scope, zeros, type Tensor } from "@nbit/torch";
import { hyperparametersOf, type Family, type Hyper } from "./families.js";
import type { StateFormat } from "./state-format.js";

/** What a step needs of a parameter group, apart from its rate. */
export interface DeviceHyper extends Omit<Hyper, "step"> {
  readonly blockSize: number;
  readonly keepPositive: boolean;
}
/** What may be a tensor, so that a recorded graph reads today's value. */
export interface DeviceInputs {
  readonly rate: number | Tensor;
  readonly gradScale: Tensor | null;
  readonly foundInf: Tensor | null;
}

const KERNEL = "low_bit_step_device_";
const STEPS = "low_bit_steps_device_";

/** Whether these parameters' steps run in the GPU kernel. */
export function onDevice(params: readonly Tensor[]): boolean {
  return params.length > 0 && params.every((p) => p.device.type === "cuda") && operators("nbit")[KERNEL] !== undefined;
}

const maps = new Map<string, Tensor>();
/** A format's map on a device; it lives as long as the process. */
export function mapOn(format: StateFormat, signed: boolean, like: Tensor): Tensor | null {
  const host = format.map(signed);
  if (host === null || like.device.type === "cpu") return host;
  const key = `${format.name} ${String(signed)} ${like.device.toString()}`;
  let found = maps.get(key);
  if (found === undefined || found.disposed) {
    found = outsideScopes(() => host.to(like.device));
    maps.set(key, found);
  }
  return found;
}

/** State of zeros, made where the parameter is: codes and absmax. */
export function zeroState(
  format: StateFormat,
  signed: boolean,
  p: Tensor,
  blockSize: number,
): { readonly codes: Tensor; readonly absmax: Tensor } {
  const n = p.numel();
  const absmax = zeros([Math.ceil(n / blockSize)], { dtype: "float32", device: p.device });
  if (format.map(signed) === null)
    return { codes: zeros([...p.shape], { dtype: "float32", device: p.device }).to("float8_e4m3fn"), absmax };
  const code = scope(() => Number(format.quantize(zeros([1]), { signed, blockSize }).codes.item()));
  const codes =
    format.bits === 4
      ? full([Math.ceil(n / 2)], code * 17, { dtype: "uint8", device: p.device })
      : full([...p.shape], code, { dtype: "uint8", device: p.device });
  return { codes, absmax };
}

/** A step number on the device, at `step`. */
export function stepTensor(p: Tensor, step: number): Tensor {
  return full([], step, { dtype: "float32", device: p.device });
}

/** Counts the step on the device; undone where the step is skipped. */
export function countSteps(steps: readonly Tensor[], foundInf: Tensor | null, phase: "before" | "after"): void {
  const { _foreach_add_: add, _foreach_sub_: sub } = operators("aten");
  if (phase === "before") add?.(steps, 1);
  else if (foundInf !== null) {
    const flag = foundInf.reshape([]);
    sub?.(
      steps,
      steps.map(() => flag),
    );
  }
}

/**
 * What one parameter's step reads and changes. `states` and `absmax` may be copies that lie on the device for this step
 * only.
 */
export interface DeviceStep {
  readonly family: Family;
  readonly p: Tensor;
  readonly grad: Tensor;
  readonly states: readonly Tensor[];
  readonly absmax: readonly Tensor[];
  readonly qmaps: readonly Tensor[];
  /** The step's number, on the device. */
  readonly step: Tensor;
  readonly hyper: DeviceHyper;
  readonly inputs: DeviceInputs;
  /** Where `p` is a part of a parameter: {@link deviceSums} over all of it. */
  readonly sums: Tensor | null;
}
/** Sums of squares of parameter and update, of which a layerwise family makes its ratio: float64, `[2]`. */
export function deviceSums({ family, p, grad, states, absmax, qmaps, step, hyper, inputs }: DeviceStep): Tensor {
  const numbers = hyperparametersOf(family, hyper);
  const { nesterov, blockSize } = hyper;
  return operators("nbit")["low_bit_sums_device"]?.(
    p.detach().contiguous(),
    grad.contiguous(),
    states,
    absmax,
    qmaps,
    family.fused,
    step,
    numbers,
    nesterov,
    blockSize,
    inputs.gradScale,
    inputs.foundInf,
  ) as Tensor;
}
/** The rate where it is a tensor, and the family's numbers. */
function numbersOf(family: Family, hyper: DeviceHyper, { rate }: DeviceInputs): readonly [Tensor | null, number[]] {
  const [tensor, lr] = isTensor(rate) ? [rate, hyper.lr] : [null, rate];
  return [tensor, hyperparametersOf(family, { ...hyper, lr })];
}
/** A parameter's values one after the other: its own memory, or a copy that is written back after the step. */
function denseOf(p: Tensor): readonly [dense: Tensor, writeBack: (() => void) | null] {
  const target = p.detach();
  if (target.isContiguous()) return [target, null];
  const dense = target.contiguous();
  return [dense, () => void target.copy_(dense)];
}

/** Steps many parameters together, of a family that takes each element by itself. All have one family and group. */
export function deviceSteps(steps: readonly Omit<DeviceStep, "sums">[]): void {
  const [first] = steps;
  if (first === undefined) return;
  const { family, hyper, inputs } = first;
  const [rate, numbers] = numbersOf(family, hyper, inputs);
  const dense = steps.map((s) => denseOf(s.p));
  operators("nbit")[STEPS]?.(
    dense.map(([d]) => d),
    steps.map((s) => s.grad.contiguous()),
    steps.flatMap((s) => s.states),
    steps.flatMap((s) => s.absmax),
    steps.flatMap((s) => s.qmaps),
    family.fused,
    steps.map((s) => s.step),
    rate,
    numbers,
    hyper.nesterov,
    hyper.blockSize,
    hyper.keepPositive,
    inputs.gradScale,
    inputs.foundInf,
  );
  for (const [, writeBack] of dense) writeBack?.();
}
/** Steps one parameter. */
export function deviceStep({ family, p, grad, states, absmax, qmaps, step, hyper, inputs, sums }: DeviceStep): void {
  const [dense, writeBack] = denseOf(p);
  const [rate, numbers] = numbersOf(family, hyper, inputs);
  const { nesterov, blockSize, keepPositive } = hyper;
  operators("nbit")[KERNEL]?.(
    dense,
    grad.contiguous(),
    states,
    absmax,
    qmaps,
    family.fused,
    step,
    rate,
    numbers,
    nesterov,
    blockSize,
    keepPositive,
    inputs.gradScale,
    inputs.foundInf,
    sums,
  );
  writeBack?.();
}

const nothing = new Map<string, Tensor>();
/** An empty tensor on a device, for as long as the process lives. */
function nothingOn(like: Tensor): Tensor {
  const key = like.device.toString();
  let found = nothing.get(key);
  if (found === undefined || found.disposed) {
    found = outsideScopes(() => empty([0], { dtype: "float32", device: like.device }));
    nothing.set(key, found);
  }
  return found;
}

/**
 * Tensors of a parameter's state by kind, in the order of the states. Formats without a map or scale have none; an empty
 * tensor keeps the place.
 */
export function stateLists(
  s: optim.ParameterState,
  count: number,
  like: Tensor,
): { readonly states: Tensor[]; readonly absmax: Tensor[]; readonly qmaps: Tensor[] } {
  const of = (name: string): Tensor[] =>
    Array.from({ length: count }, (_, i) => {
      const value = s[`${name}${i + 1}`];
      return isTensor(value) ? value : nothingOn(like);
    });
  return { states: of("state"), absmax: of("absmax"), qmaps: of("qmap") };
}
