/** Reductions over dimensions and over windows. */
import { listText, need, signature, typeOf, type Emitter, type Reduction } from "./emitter.js";
import { extremes } from "./literal.js";
import { range, sizeOf, typeText, type Element, type Ssa } from "./types.js";

/** What a reduction begins with. */
export function neutral(e: Emitter, how: Reduction, element: Element): Ssa {
  if (how === "maximum" || how === "minimum")
    return e.splat(extremes(element)[how === "maximum" ? 0 : 1] as string, element);
  return e.full(how === "multiply" || how === "and" ? 1 : 0, element);
}

const kept = (shape: readonly number[], dims: readonly number[]): number[] =>
  shape.map((n, i) => (dims.includes(i) ? 1 : n));

/** Over `dims`; `keep` leaves ones in their places. */
export function reduce(e: Emitter, how: Reduction, a: Ssa, dims: readonly number[], keep = false): Ssa {
  if (dims.length === 0) return a;
  const shape = a.shape.filter((_, i) => !dims.includes(i));
  const start = neutral(e, how, a.element);
  const made = e.op(
    a.element,
    shape,
    `stablehlo.reduce(${a.name} init: ${start.name}) applies stablehlo.${how} across dimensions = ${listText(dims)} : ${signature([a, start], typeText(a.element, shape))}`,
  );
  return keep ? e.reshape(made, kept(a.shape, dims)) : made;
}
export const sum = (e: Emitter, a: Ssa, dims: readonly number[], keep = false): Ssa => reduce(e, "add", a, dims, keep);

/** The region of one operation over two scalars. */
function region(e: Emitter, op: string, element: Element, result: Element = element): string {
  const [a, b, r] = [e.fresh(), e.fresh(), e.fresh()];
  const type = typeText(element, []);
  const as = result === element ? type : `(${type}, ${type}) -> ${typeText(result, [])}`;
  return `({ ^bb0(${a}: ${type}, ${b}: ${type}): ${r} = stablehlo.${op.replace("$", `${a}, ${b}`)} : ${as} stablehlo.return ${r} : ${typeText(result, [])} })`;
}
export const joining = (e: Emitter, how: string, element: Element): string => region(e, `${how} $`, element);

export interface Window {
  /** Of every dimension, batch and channels too. */
  readonly size: readonly number[];
  readonly stride: readonly number[];
  readonly dilation?: readonly number[];
  readonly padding: readonly (readonly [number, number])[];
}
const paddingText = (padding: Window["padding"]): string =>
  `padding = dense<[${padding.map((p) => listText(p)).join(", ")}]> : tensor<${padding.length}x2xi64>`;
const shapeText = (w: Window): string =>
  `window_dimensions = array<i64: ${w.size.join(", ")}>, window_strides = array<i64: ${w.stride.join(", ")}>`;

/** How many windows fit along a dimension. */
export const windowsIn = (n: number, size: number, stride: number, padding: number, dilation = 1): number =>
  Math.floor((n + padding - dilation * (size - 1) - 1) / stride) + 1;

export function reduceWindow(e: Emitter, how: Reduction, a: Ssa, w: Window): Ssa {
  const dilation = w.dilation ?? w.size.map(() => 1);
  const shape = a.shape.map((n, i) =>
    windowsIn(n, w.size[i], w.stride[i], w.padding[i][0] + w.padding[i][1], dilation[i]),
  );
  const start = neutral(e, how, a.element);
  return e.op(
    a.element,
    shape,
    `"stablehlo.reduce_window"(${a.name}, ${start.name}) <{${shapeText(w)}, window_dilations = array<i64: ${dilation.join(", ")}>, ${paddingText(w.padding)}}> ${joining(e, how, a.element)} : ${signature([a, start], typeText(a.element, shape))}`,
  );
}

/** Each window sends its value of `source` to its first greatest element; what comes to one element is added up. */
export function selectAndScatter(e: Emitter, a: Ssa, source: Ssa, w: Window): Ssa {
  need(
    (w.dilation ?? []).every((d) => d === 1),
    "windows with gaps",
  );
  const zero = e.full(0, a.element);
  const greatest = region(e, "compare GE, $, FLOAT", a.element, "i1");
  return e.op(
    a.element,
    a.shape,
    `"stablehlo.select_and_scatter"(${a.name}, ${source.name}, ${zero.name}) <{${shapeText(w)}, ${paddingText(w.padding)}}> ${greatest.slice(0, -1)}, ${joining(e, "add", a.element).slice(1)} : ${signature([a, source, zero], typeOf(a))}`,
  );
}

/** Sums of all elements up to each one, along a dimension. */
export function runningSum(e: Emitter, a: Ssa, dim: number): Ssa {
  const n = a.shape[dim];
  if (sizeOf(a.shape) === 0) return a;
  const at = <T>(one: T, others: T): T[] => range(a.shape.length).map((i) => (i === dim ? one : others));
  return reduceWindow(e, "add", a, { size: at(n, 1), stride: at(1, 1), padding: at([n - 1, 0], [0, 0]) });
}
