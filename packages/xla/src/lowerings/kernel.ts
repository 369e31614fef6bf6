/** What is computed element by element. */
import type { Lowering, Operation, Out } from "../lower/operation.js";
import type { Emitter } from "../stablehlo/emitter.js";
import { accumulator, bitsOf, isFloat, type Element, type Operand, type Ssa } from "../stablehlo/types.js";

/** Arguments of an operator by name, in the type that it computes in. */
export interface Reader {
  /** A tensor, or a number. */
  x(name: string): Operand;
  xOr(name: string): Operand | null;
  /** A number that is the same at each step. */
  number(name: string): number;
  flag(name: string): boolean;
  text(name: string): string;
}
/** One element's arithmetic. `element`: the type to compute in. */
export type Kernel = (e: Emitter, r: Reader, element: Element) => Operand;
export type KernelTable = Readonly<Record<string, Kernel>>;

/** A result in the recorded type and shape. */
export function finish(e: Emitter, value: Operand, out: Out): Ssa {
  if (typeof value === "number") return e.full(value, out.element, out.shape);
  return e.expand(e.convert(value, out.element), out.shape);
}

export const inElement = (e: Emitter, v: Operand, element: Element): Operand =>
  typeof v === "number" ? v : e.convert(v, element);
/** A number as a value. */
export const asValue = (e: Emitter, v: Operand, element: Element): Ssa =>
  typeof v === "number" ? e.full(v, element) : e.convert(v, element);

/** Reads an operation's arguments in one type. */
export function reader(e: Emitter, o: Operation, element: Element): Reader {
  return {
    x: (name) => inElement(e, o.operand(name), element),
    xOr: (name) => {
      const v = o.operandOr(name);
      return v === null ? null : inElement(e, v, element);
    },
    number: (name) => o.number(name),
    flag: (name) => o.flag(name),
    text: (name) => o.text(name),
  };
}

/** Computed in the accumulation type of the recorded result and rounded once, as libtorch's kernels do. */
export const pointwise =
  (kernel: Kernel): Lowering =>
  (e, o) => {
    const out = o.out(0);
    const element = accumulator(out.element);
    return [finish(e, kernel(e, reader(e, o, element), element), out)];
  };

const category = (element: Element): number => (isFloat(element) ? 2 : element === "i1" ? 0 : 1);
function wider(a: Element, b: Element): Element {
  if (a === b) return a;
  if (category(a) !== category(b)) return category(a) > category(b) ? a : b;
  if (isFloat(a) && bitsOf(a) === bitsOf(b)) return "f32"; // float16 with bfloat16
  const [wide, narrow] = bitsOf(a) >= bitsOf(b) ? [a, b] : [b, a];
  if (isFloat(a) || wide.startsWith("u") === narrow.startsWith("u") || narrow.startsWith("u"))
    return bitsOf(a) === bitsOf(b) ? "i16" : wide;
  return "i16"; // int8 with uint8: the one unsigned type that PyTorch promotes
}

/** The type in which PyTorch computes with these: tensors count before single elements, those before numbers. */
export function promoted(operands: readonly Operand[]): Element {
  let result: Element = "i1";
  const join = (element: Element): void => {
    result = wider(result, element);
  };
  const tensors = operands.filter((v): v is Ssa => typeof v !== "number");
  for (const v of tensors) if (v.shape.length > 0) join(v.element);
  const none = tensors.every((v) => v.shape.length === 0);
  for (const v of tensors)
    if (v.shape.length === 0 && (none || category(v.element) > category(result))) join(v.element);
  for (const v of operands)
    if (typeof v === "number" && !Number.isInteger(v) && category(result) < 2) result = "f32";
    else if (typeof v === "number" && category(result) < 1) result = "i64";
  return result;
}
