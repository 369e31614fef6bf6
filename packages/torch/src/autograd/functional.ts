/** Derivatives of functions as a whole, as in torch.autograd.functional. */
import { ArgumentError } from "../errors.js";
import { byDefault, callable, flag, listOf as kindOfLists, oneOf, orNull, such, type Kind } from "../kinds.js";
import { onesLike, stack, zerosLike } from "../ops/index.js";
import { signature, type Call } from "../signature.js";
import { isTensor } from "../tensor/handle.js";
import { tensorKind } from "../tensor/kinds.js";
import type { Tensor } from "../tensor/tensor.js";
import { grad } from "./backward.js";
import { enableGrad } from "./modes.js";

/** One tensor, or several. */
export type TensorOrTensors = Tensor | readonly Tensor[];
type Func = (...inputs: Tensor[]) => TensorOrTensors;

const TENSORS = kindOfLists(tensorKind);
const tensorsKind: Kind<TensorOrTensors> = such(
  "a tensor or an array of tensors",
  (v) => isTensor(v) || (Array.isArray(v) && v.length > 0 && TENSORS.accepts(v)),
);
const FUNC: Kind<Func> = callable as Kind<Func>;
const GRAPH = { createGraph: byDefault(false, flag), strict: byDefault(false, flag) };

export interface DerivativeOptions {
  /** Make the results differentiable themselves. Default false. */
  readonly createGraph?: boolean;
  /** Throw where an output does not depend on an input, instead of giving zeros. Default false. */
  readonly strict?: boolean;
}
export interface JacobianArguments extends DerivativeOptions {
  /** Of as many tensors as there are inputs; returns a tensor or several. */
  readonly func: Func;
  readonly inputs: TensorOrTensors;
  /** Taken, and without effect: rows are computed one by one here. Default false. */
  readonly vectorize?: boolean;
  /** The result is the same for both. Default "reverse-mode". */
  readonly strategy?: "reverse-mode" | "forward-mode";
}
const STRATEGY = byDefault("reverse-mode", oneOf("reverse-mode", "forward-mode"));
const readJacobian = signature("jacobian", {
  func: FUNC,
  inputs: tensorsKind,
  ...GRAPH,
  vectorize: byDefault(false, flag),
  strategy: STRATEGY,
});
const readHessian = signature("hessian", {
  func: FUNC,
  inputs: tensorsKind,
  ...GRAPH,
  vectorize: byDefault(false, flag),
  outerJacobianStrategy: STRATEGY,
});
const READ_PRODUCT = { func: FUNC, inputs: tensorsKind, v: byDefault(null, orNull(tensorsKind)), ...GRAPH };
const readProduct = signature("vjp", READ_PRODUCT);
export interface ProductArguments extends DerivativeOptions {
  readonly func: Func;
  readonly inputs: TensorOrTensors;
  /** The vector, of the shape of outputs (vjp) or of inputs (jvp, hvp, vhp). May be left out for one number. */
  readonly v?: TensorOrTensors | null;
}
export type ProductCall = Call<
  ProductArguments,
  ["func", "inputs", "v", "createGraph", "strict"],
  [func: Func, inputs: TensorOrTensors, v?: TensorOrTensors | null, createGraph?: boolean, strict?: boolean]
>;

const listOf = (value: TensorOrTensors): readonly Tensor[] => (isTensor(value) ? [value] : value);
/** As many as were given: one for one. */
const likeGiven = <T>(list: readonly T[], given: TensorOrTensors): T | T[] =>
  isTensor(given) ? (list[0] as T) : [...list];

/** Inputs that the function's graph begins at; with `createGraph` it goes on behind them. */
const leaves = (inputs: readonly Tensor[], createGraph: boolean): Tensor[] =>
  inputs.map((t) => (createGraph && t.requiresGrad ? t.viewAs(t) : t.detach().requiresGrad_()));

function outputsOf(
  fn: string,
  func: Func,
  inputs: readonly Tensor[],
): { list: readonly Tensor[]; given: TensorOrTensors } {
  const given = func(...inputs);
  if (!tensorsKind.accepts(given)) throw new ArgumentError(fn, "func to return a tensor or an array of tensors", given);
  return { list: listOf(given), given };
}
const finished = (t: Tensor, createGraph: boolean): Tensor => (createGraph ? t : t.detach());

/** Gradients with zeros where there is no path, or an error that says which. */
function filled(
  fn: string,
  found: readonly (Tensor | null)[],
  inputs: readonly Tensor[],
  strict: boolean,
  what: string,
): Tensor[] {
  return found.map((g, i) => {
    if (g !== null) return g;
    if (strict)
      throw new ArgumentError(fn, `${what} to depend on input ${i}`, inputs[i], "strict: false gives zeros instead.");
    return zerosLike(inputs[i] as Tensor);
  });
}
function gradients(
  outputs: readonly Tensor[],
  inputs: readonly Tensor[],
  gradOutputs: readonly (Tensor | null)[] | null,
  createGraph: boolean,
): (Tensor | null)[] {
  const at = outputs.flatMap((t, i) => (t.requiresGrad ? [i] : []));
  if (at.length === 0) return inputs.map(() => null);
  return grad(
    at.map((i) => outputs[i] as Tensor),
    inputs,
    {
      gradOutputs: gradOutputs === null ? null : at.map((i) => gradOutputs[i] ?? null),
      retainGraph: true,
      createGraph,
      allowUnused: true,
    },
  );
}

function jacobians(
  fn: string,
  func: Func,
  given: readonly Tensor[],
  createGraph: boolean,
  strict: boolean,
): { rows: Tensor[][]; outputs: TensorOrTensors } {
  return enableGrad(() => {
    const inputs = leaves(given, createGraph);
    const { list, given: outputs } = outputsOf(fn, func, inputs);
    const rows = list.map((out, o) => {
      const flat = out.reshape(-1);
      const n = flat.numel();
      const columns: Tensor[][] = inputs.map(() => []);
      for (let j = 0; j < n; j++) {
        const found = filled(
          fn,
          gradients([flat.select(0, j)], inputs, null, createGraph),
          inputs,
          strict,
          `output ${o}`,
        );
        found.forEach((g, i) => (columns[i] as Tensor[]).push(finished(g, createGraph)));
      }
      return inputs.map((input, i) => {
        const each = columns[i] as Tensor[];
        const shape = [...out.shape, ...input.shape];
        return each.length === 0 ? input.newZeros(shape) : stack(each, 0).view(shape);
      });
    });
    return { rows, outputs };
  });
}

/**
 * All derivatives of outputs by inputs.
 *
 * @returns For one output and one input a tensor `[...output.shape, ...input.shape]`; for several inputs, or outputs, an
 *   array by input, by output, or by output and then by input. Costs a backward per element of the output.
 * @example jacobian((x) => x.exp(), tensor([0, 1])); // diag(exp(x))
 */
export function jacobian(
  ...given: Call<
    JacobianArguments,
    ["func", "inputs", "createGraph", "strict", "vectorize", "strategy"],
    [
      func: Func,
      inputs: TensorOrTensors,
      createGraph?: boolean,
      strict?: boolean,
      vectorize?: boolean,
      strategy?: "reverse-mode" | "forward-mode",
    ]
  >
): Tensor | Tensor[] | Tensor[][] {
  const a = readJacobian(given);
  const { rows, outputs } = jacobians("jacobian", a.func, listOf(a.inputs), a.createGraph, a.strict);
  const byOutput = rows.map((row) => likeGiven(row, a.inputs));
  return (isTensor(outputs) ? byOutput[0] : byOutput) as Tensor | Tensor[] | Tensor[][];
}

/** The function with its one output, which must be one number. */
function scalar(fn: string, func: Func): (...inputs: Tensor[]) => Tensor {
  return (...inputs) => {
    const output = func(...inputs);
    const single = isTensor(output) ? output : output.length === 1 ? output[0] : undefined;
    if (!isTensor(single) || single.numel() !== 1)
      throw new ArgumentError(fn, "func to return a tensor of one element", output);
    return single.reshape([]);
  };
}

export interface HessianArguments extends DerivativeOptions {
  /** Returns one number. */
  readonly func: Func;
  readonly inputs: TensorOrTensors;
  /** Taken, and without effect. Default false. */
  readonly vectorize?: boolean;
  readonly outerJacobianStrategy?: "reverse-mode" | "forward-mode";
}
/**
 * All second derivatives of a number: `[...input.shape, ...input.shape]`; for several inputs an array by both of them.
 * @example hessian((x) => x.pow(3).sum(), tensor([1, 2])); // diag(6x)
 */
export function hessian(
  ...given: Call<
    HessianArguments,
    ["func", "inputs", "createGraph", "strict", "vectorize", "outerJacobianStrategy"],
    [
      func: Func,
      inputs: TensorOrTensors,
      createGraph?: boolean,
      strict?: boolean,
      vectorize?: boolean,
      outerJacobianStrategy?: "reverse-mode" | "forward-mode",
    ]
  >
): Tensor | Tensor[][] {
  const a = readHessian(given);
  const single = scalar("hessian", a.func);
  const first: Func = (...inputs) => {
    const [row] = jacobians("hessian", single, inputs, true, a.strict).rows;
    return row as Tensor[];
  };
  const { rows } = jacobians("hessian", first, listOf(a.inputs), a.createGraph, a.strict);
  return isTensor(a.inputs) ? ((rows[0] as Tensor[])[0] as Tensor) : rows;
}

/** The vector, checked against what it stands beside; ones for one number where none is given. */
function vectorFor(fn: string, v: TensorOrTensors | null, beside: readonly Tensor[]): Tensor[] {
  if (v === null) {
    const [only] = beside;
    if (beside.length !== 1 || only?.numel() !== 1)
      throw new ArgumentError(fn, "v, because there is more than one number", v);
    return [onesLike(only)];
  }
  const list = listOf(v);
  if (list.length !== beside.length) throw new ArgumentError(fn, `v of ${beside.length} tensors`, v);
  list.forEach((t, i) => {
    const { shape } = beside[i] as Tensor;
    if (t.numel() !== (beside[i] as Tensor).numel() || t.shape.join() !== shape.join())
      throw new ArgumentError(fn, `v to have the shape [${shape.join(", ")}]`, t);
  });
  return [...list];
}
type Product = [outputs: Tensor | Tensor[], product: Tensor | Tensor[]];
function results(
  outputs: TensorOrTensors,
  product: readonly Tensor[],
  like: TensorOrTensors,
  createGraph: boolean,
): Product {
  return [
    likeGiven(
      listOf(outputs).map((t) => finished(t, createGraph)),
      outputs,
    ),
    likeGiven(
      product.map((t) => finished(t, createGraph)),
      like,
    ),
  ];
}

/** `[outputs, vᵀJ]`: a backward with `v` as the gradient of the outputs. */
export function vjp(...given: ProductCall): Product {
  const a = readProduct(given, "vjp");
  return enableGrad(() => {
    const inputs = leaves(listOf(a.inputs), a.createGraph);
    const { list, given: outputs } = outputsOf("vjp", a.func, inputs);
    const v = vectorFor("vjp", a.v, list);
    const found = filled("vjp", gradients(list, inputs, v, a.createGraph), inputs, a.strict, "an output");
    return results(outputs, found, a.inputs, a.createGraph);
  });
}

/** `[outputs, Jv]`, by differentiating vᵀJ by v: two backwards. */
export function jvp(...given: ProductCall): Product {
  const a = readProduct(given, "jvp");
  return enableGrad(() => {
    const inputs = leaves(listOf(a.inputs), a.createGraph);
    const v = vectorFor("jvp", a.v, listOf(a.inputs));
    const { list, given: outputs } = outputsOf("jvp", a.func, inputs);
    const weights = list.map((t) => zerosLike(t).requiresGrad_());
    const rows = filled("jvp", gradients(list, inputs, weights, true), inputs, a.strict, "an output");
    const found = filled("jvp", gradients(rows, weights, v, a.createGraph), weights, a.strict, "an output");
    return results(outputs, found, outputs, a.createGraph);
  });
}

/** `[output, vᵀH]` of a function of one number. */
export function vhp(...given: ProductCall): Product {
  const a = readProduct(given, "vhp");
  return enableGrad(() => {
    const inputs = leaves(listOf(a.inputs), a.createGraph);
    const v = vectorFor("vhp", a.v, listOf(a.inputs));
    const output = scalar("vhp", a.func)(...inputs);
    const first = filled("vhp", gradients([output], inputs, null, true), inputs, a.strict, "the output");
    const found = filled("vhp", gradients(first, inputs, v, a.createGraph), inputs, a.strict, "the gradient");
    return results(output, found, a.inputs, a.createGraph);
  });
}

/** `[output, Hv]` of a function of one number, without its symmetry: dearer than {@link vhp}, which gives the same. */
export function hvp(...given: ProductCall): Product {
  const a = readProduct(given, "hvp");
  return enableGrad(() => {
    const inputs = leaves(listOf(a.inputs), a.createGraph);
    const v = vectorFor("hvp", a.v, listOf(a.inputs));
    const output = scalar("hvp", a.func)(...inputs);
    const first = filled("hvp", gradients([output], inputs, null, true), inputs, a.strict, "the output");
    const weights = inputs.map((t) => zerosLike(t).requiresGrad_());
    const second = filled("hvp", gradients(first, inputs, weights, true), inputs, a.strict, "the gradient");
    const found = filled("hvp", gradients(second, weights, v, a.createGraph), weights, a.strict, "the gradient");
    return results(output, found, a.inputs, a.createGraph);
  });
}
