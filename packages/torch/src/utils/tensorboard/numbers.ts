/** Values as writers of summaries take them. */
import { ArgumentError } from "../../errors.js";
import { such, type Kind } from "../../kinds.js";
import { MOST_ELEMENTS } from "../../read-once.js";
import { isTensor } from "../../tensor/handle.js";
import { scope } from "../../tensor/scope.js";
import type { Tensor } from "../../tensor/tensor.js";

/** Numbers of any shape: a tensor on any device, or an array. */
export type Numbers = Tensor | readonly number[] | Float64Array | Float32Array | Int32Array | Uint8Array;
/** One number, or a tensor of one element. */
export type Scalar = number | Tensor;

export const numbersKind: Kind<Numbers> = such(
  "a tensor, or an array of numbers",
  (v) =>
    isTensor(v) ||
    v instanceof Float64Array ||
    v instanceof Float32Array ||
    v instanceof Int32Array ||
    v instanceof Uint8Array ||
    (Array.isArray(v) && v.length <= MOST_ELEMENTS && v.every((x) => typeof x === "number")),
);
export const scalarKind: Kind<Scalar> = such(
  "a number, or a tensor of one element",
  (v) => typeof v === "number" || (isTensor(v) && v.numel() === 1),
);

/** As doubles. Waits for the device of a tensor. @throws {ArgumentError} for a tensor of complex numbers. */
export function doublesOf(fn: string, name: string, values: Numbers): Float64Array {
  if (!isTensor(values)) return Float64Array.from(values);
  if (values.isComplex()) throw new ArgumentError(fn, `${name} to be real numbers`, values);
  return scope(
    () => values.detach().to({ device: "cpu", dtype: "float64" }).reshape([-1]).toTypedArray() as Float64Array,
  );
}

export function numberOf(fn: string, name: string, value: Scalar): number {
  return typeof value === "number" ? value : (doublesOf(fn, name, value)[0] as number);
}
