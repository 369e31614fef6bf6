/** Reading and writing elements by index. */
import { need, signature, typeOf, type Emitter } from "./emitter.js";
import { joining } from "./reduce.js";
import { sizeOf, typeText, type Ssa } from "./types.js";

/** How elements that come to one place meet there. */
export type Meeting = "replace" | "add" | "multiply" | "maximum" | "minimum";

/**
 * `a[index]` over the first dimensions, whole over the others. The last dimension of `index` has one coordinate for each
 * of them.
 */
export function gatherAt(e: Emitter, a: Ssa, index: Ssa): Ssa {
  const [places, coordinates] = [index.shape.slice(0, -1), index.shape[index.shape.length - 1]];
  const rest = a.shape.slice(coordinates);
  const shape = [...places, ...rest];
  if (sizeOf(shape) === 0) return e.full(0, a.element, shape);
  need(sizeOf(a.shape) > 0, "an index into nothing");
  const list = (n: number, from = 0): string => Array.from({ length: n }, (_, i) => i + from).join(", ");
  const numbers = `offset_dims = [${list(rest.length, places.length)}], collapsed_slice_dims = [${list(coordinates)}], start_index_map = [${list(coordinates)}], index_vector_dim = ${places.length}`;
  const sizes = a.shape.map((n, i) => (i < coordinates ? 1 : n)).join(", ");
  return e.op(
    a.element,
    shape,
    `"stablehlo.gather"(${a.name}, ${index.name}) <{dimension_numbers = #stablehlo.gather<${numbers}>, slice_sizes = array<i64: ${sizes}>, indices_are_sorted = false}> : ${signature([a, index], typeText(a.element, shape))}`,
  );
}

/** `into[index] = updates` (or +=, …), with indices as in {@link gatherAt}. Indices out of range write nothing. */
export function scatterAt(e: Emitter, into: Ssa, index: Ssa, updates: Ssa, how: Meeting): Ssa {
  if (sizeOf(updates.shape) === 0 || sizeOf(into.shape) === 0) return into;
  const [places, coordinates] = [index.shape.length - 1, index.shape[index.shape.length - 1]];
  const rest = into.shape.length - coordinates;
  const list = (n: number, from = 0): string => Array.from({ length: n }, (_, i) => i + from).join(", ");
  const numbers = `update_window_dims = [${list(rest, places)}], inserted_window_dims = [${list(coordinates)}], scatter_dims_to_operand_dims = [${list(coordinates)}], index_vector_dim = ${places}`;
  const body = how === "replace" ? replacing(e, into) : joining(e, how, into.element);
  return e.op(
    into.element,
    into.shape,
    `"stablehlo.scatter"(${into.name}, ${index.name}, ${updates.name}) <{scatter_dimension_numbers = #stablehlo.scatter<${numbers}>, indices_are_sorted = false, unique_indices = false}> ${body} : ${signature([into, index, updates], typeOf(into))}`,
  );
}
function replacing(e: Emitter, into: Ssa): string {
  const [a, b, type] = [e.fresh(), e.fresh(), typeText(into.element, [])];
  return `({ ^bb0(${a}: ${type}, ${b}: ${type}): stablehlo.return ${b} : ${type} })`;
}

/** A part of `a` replaced, at a place that is known. */
export function updateSlice(e: Emitter, a: Ssa, part: Ssa, at: readonly number[]): Ssa {
  return updateSliceAt(
    e,
    a,
    part,
    at.map((i) => e.full(i, "i32")),
  );
}
/** The same at a place that the program computes. */
export function updateSliceAt(e: Emitter, a: Ssa, part: Ssa, at: readonly Ssa[]): Ssa {
  const names = [a, part, ...at].map((v) => v.name).join(", ");
  return e.op(
    a.element,
    a.shape,
    `stablehlo.dynamic_update_slice ${names} : ${signature([a, part, ...at], typeOf(a))}`,
  );
}
export function sliceAt(e: Emitter, a: Ssa, at: readonly Ssa[], sizes: readonly number[]): Ssa {
  return e.op(
    a.element,
    sizes,
    `stablehlo.dynamic_slice ${[a, ...at].map((v) => v.name).join(", ")}, sizes = [${sizes.join(", ")}] : ${signature([a, ...at], typeText(a.element, sizes))}`,
  );
}
