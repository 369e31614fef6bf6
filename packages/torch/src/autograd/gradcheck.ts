/** Gradients against differences: whether a backward is right. */
import { NbitError, ArgumentError } from "../errors.js";
import { anything, byDefault, callable, either, flag, listOf, orNull, real, type Kind } from "../kinds.js";
import { randn, viewAsComplex, viewAsReal, zerosLike } from "../ops/index.js";
import { signature, type Call } from "../signature.js";
import { isTensor } from "../tensor/handle.js";
import { tensorKind } from "../tensor/kinds.js";
import { scope } from "../tensor/scope.js";
import type { Tensor } from "../tensor/tensor.js";
import { grad } from "./backward.js";
import { enableGrad, noGrad } from "./modes.js";
import type { TensorOrTensors } from "./functional.js";

/** A gradient is not what differences say. */
export class GradcheckError extends NbitError {
  constructor(message: string) {
    super(message, "ERR_GRADCHECK");
  }
}

type Func = (...inputs: never[]) => TensorOrTensors;
type Inputs = readonly unknown[] | Tensor;
export interface GradcheckArguments {
  /** A function of the inputs that returns a tensor or several. */
  readonly func: Func;
  /** float64 for sharp answers; those that want no gradient, and what is no tensor, stay as they are. */
  readonly inputs: Inputs;
  /** How far an element is moved to each side. Default 1e-6. */
  readonly eps?: number;
  /** Default 1e-5. */
  readonly atol?: number;
  /** Default 1e-3. */
  readonly rtol?: number;
  /** false: return false instead. Default true. */
  readonly raiseException?: boolean;
  /** How far two backwards of the same may differ. Default 0. */
  readonly nondetTol?: number;
  /** Taken: every element is looked at here, which is what PyTorch's slow mode does. Default false. */
  readonly fastMode?: boolean;
}
const FUNC: Kind<Func> = callable;
const INPUTS: Kind<Inputs> = either(tensorKind, listOf(anything));
const TOLERANCES = {
  eps: byDefault(1e-6, real("(0, ∞)")),
  atol: byDefault(1e-5, real("[0, ∞)")),
  rtol: byDefault(1e-3, real("[0, ∞)")),
};
const LATER = { raiseException: byDefault(true, flag), nondetTol: byDefault(0, real("[0, ∞)")) };
const readCheck = signature("gradcheck", {
  func: FUNC,
  inputs: INPUTS,
  ...TOLERANCES,
  ...LATER,
  fastMode: byDefault(false, flag),
});
type Tolerances = { readonly eps: number; readonly atol: number; readonly rtol: number; readonly nondetTol: number };

const isDifferentiable = (v: unknown): v is Tensor => isTensor(v) && v.requiresGrad;
const outputsOf = (value: TensorOrTensors): Tensor[] =>
  (isTensor(value) ? [value] : [...value]).filter((t) => t.isFloatingPoint() || t.isComplex());
/** Complex numbers as pairs of real ones. */
const asReal = (t: Tensor): Tensor => (t.isComplex() ? viewAsReal(t.resolveConj()) : t);
/** [1, 0] of a flat place. */
function placeOf(flat: number, shape: readonly number[]): string {
  const index: number[] = [];
  let rest = flat;
  for (const size of shape.toReversed()) {
    index.unshift(rest % size);
    rest = Math.floor(rest / size);
  }
  return `[${index.join(", ")}]`;
}

function check(fn: string, func: Func, given: Inputs, tolerances: Tolerances): string | null {
  const inputs: readonly unknown[] = isTensor(given) ? [given] : given;
  const wanted = inputs.filter(isDifferentiable);
  if (wanted.length === 0) throw new ArgumentError(fn, "at least one input that requires a gradient", given);
  if (wanted.some((t) => t.dtype !== "float64" && t.dtype !== "complex128"))
    process.emitWarning(`${fn}: an input is not float64, which differences of ${tolerances.eps} need.`, {
      type: "NbitWarning",
      code: "WARN_GRADCHECK",
    });
  const run = (values: readonly unknown[]): Tensor[] => outputsOf(func(...(values as never[]))).map((t) => asReal(t));
  const outputs = enableGrad(() => run(inputs));
  const analytic = (t: Tensor, j: number): (Tensor | null)[] => {
    if (!t.requiresGrad) return wanted.map(() => null);
    const weights = zerosLike(t);
    weights.view([-1]).select(0, j).fill_(1);
    return grad(t, wanted, { gradOutputs: weights, retainGraph: true, allowUnused: true });
  };
  const numbers = (t: Tensor | null, like: Tensor): Float64Array =>
    asReal(t ?? zerosLike(like))
      .detach()
      .to("float64")
      .contiguous()
      .toTypedArray() as Float64Array;
  for (const [i, input] of wanted.entries()) {
    const differences = differencesBy(run, inputs, input, tolerances.eps);
    for (const [o, output] of outputs.entries()) {
      for (let j = 0; j < output.numel(); j++) {
        const row = scope(() => numbers(analytic(output, j)[i] ?? null, input));
        if (tolerances.nondetTol >= 0) {
          const again = scope(() => numbers(analytic(output, j)[i] ?? null, input));
          const off = again.findIndex((x, k) => Math.abs(x - (row[k] as number)) > tolerances.nondetTol);
          if (off !== -1)
            return `${fn}: expected backward of output ${o}, element ${placeOf(j, output.shape)} to be the same twice, within nondetTol. Received: ${row[off]}, then ${again[off]}.`;
        }
        for (const [k, a] of row.entries()) {
          const n = ((differences[k] as Float64Array[])[o] as Float64Array)[j] as number;
          if (Math.abs(a - n) <= tolerances.atol + tolerances.rtol * Math.abs(n)) continue;
          return `${fn}: expected the derivative of output ${o}, element ${placeOf(j, output.shape)}, by input ${inputs.indexOf(input)}, element ${placeOf(k, asReal(input).shape)}, to be ${n}, as differences say. Received: ${a} from backward.`;
        }
      }
    }
  }
  return null;
}

/** Of every output, by each element of an input: (f(x + ε) − f(x − ε)) / 2ε. */
function differencesBy(
  run: (values: readonly unknown[]) => Tensor[],
  inputs: readonly unknown[],
  input: Tensor,
  eps: number,
): Float64Array[][] {
  return noGrad(() =>
    scope(() => {
      const at = inputs.indexOf(input);
      const moved = asReal(input.detach().clone().contiguous());
      const flat = moved.view([-1]);
      const own = input.isComplex() ? viewAsComplex(moved) : moved;
      const values = inputs.map((v, i) => (i === at ? own.view(input.shape) : v));
      const read = (): Float64Array[] =>
        run(values).map((t) => t.detach().to("float64").contiguous().toTypedArray() as Float64Array);
      return Array.from({ length: flat.numel() }, (_, k) => {
        const element = flat.select(0, k);
        const before = element.clone();
        element.copy_(before.add(eps));
        const above = scope(read);
        element.copy_(before.sub(eps));
        const below = scope(read);
        element.copy_(before);
        return above.map((list, o) => list.map((x, j) => (x - ((below[o] as Float64Array)[j] as number)) / (2 * eps)));
      });
    }),
  );
}

/**
 * Compare the gradients of a function with differences: every derivative of every output by every input that requires
 * one. A real and an imaginary part count as two numbers each.
 *
 * @returns true; false where they differ and `raiseException` is false.
 * @throws {GradcheckError} `gradcheck: expected the derivative of output 0, element [1], by input 0, element [0], to be
 * 0.5, as differences say. Received: 1 from backward.`
 * @example gradcheck((x: Tensor) => x.sin(), [randn([3], { dtype: "float64", requiresGrad: true })]);
 */
export function gradcheck(
  ...given: Call<
    GradcheckArguments,
    ["func", "inputs", "eps", "atol", "rtol", "raiseException", "nondetTol"],
    [
      func: Func,
      inputs: Inputs,
      eps?: number,
      atol?: number,
      rtol?: number,
      raiseException?: boolean,
      nondetTol?: number,
    ]
  >
): boolean {
  const a = readCheck(given);
  return settled(
    scope(() => check("gradcheck", a.func, a.inputs, a)),
    a.raiseException,
  );
}
function settled(wrong: string | null, raise: boolean): boolean {
  if (wrong !== null && raise) throw new GradcheckError(wrong);
  return wrong === null;
}

export interface GradgradcheckArguments extends GradcheckArguments {
  /** Gradients of the outputs. Default: random ones. */
  readonly gradOutputs?: TensorOrTensors | null;
}
const readSecond = signature("gradgradcheck", {
  func: FUNC,
  inputs: INPUTS,
  gradOutputs: byDefault(null, orNull(either(tensorKind, listOf(tensorKind)))),
  ...TOLERANCES,
  ...LATER,
  fastMode: byDefault(false, flag),
});
/** The same of the gradients themselves: whether a backward can be differentiated. */
export function gradgradcheck(
  ...given: Call<
    GradgradcheckArguments,
    ["func", "inputs", "gradOutputs", "eps", "atol", "rtol", "raiseException", "nondetTol"],
    [
      func: Func,
      inputs: Inputs,
      gradOutputs?: TensorOrTensors | null,
      eps?: number,
      atol?: number,
      rtol?: number,
      raiseException?: boolean,
      nondetTol?: number,
    ]
  >
): boolean {
  const a = readSecond(given);
  const inputs: readonly unknown[] = isTensor(a.inputs) ? [a.inputs] : a.inputs;
  const wrong = scope(() => {
    const outputs = enableGrad(() => outputsOf(a.func(...(inputs as never[]))));
    const weights =
      a.gradOutputs === null
        ? outputs.map((t) => randn(t.shape, { dtype: t.dtype, device: t.device }).requiresGrad_())
        : (isTensor(a.gradOutputs) ? [a.gradOutputs] : a.gradOutputs).map((t) => t.detach().requiresGrad_());
    const gradients = (...values: readonly unknown[]): Tensor[] =>
      enableGrad(() => {
        const own = values
          .slice(0, inputs.length)
          .map((v, i) =>
            isDifferentiable(inputs[i]) && isTensor(v) && !v.requiresGrad ? v.detach().requiresGrad_() : v,
          );
        const wanted = own.filter(isDifferentiable);
        const made = outputsOf(a.func(...(own as never[])));
        const found = grad(made, wanted, {
          gradOutputs: values.slice(inputs.length) as Tensor[],
          createGraph: true,
          allowUnused: true,
        });
        return found.map((g, i) => g ?? zerosLike(wanted[i] as Tensor));
      });
    return check("gradgradcheck", gradients as Func, [...inputs, ...weights], a);
  });
  return settled(wrong, a.raiseException);
}
