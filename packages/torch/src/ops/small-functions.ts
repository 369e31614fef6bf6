/** Functions of PyTorch's top level that are no operators, or have other names as such. */
import { ArgumentError } from "../errors.js";
import * as generated from "../generated/functions.js";
import { byDefault, either, listOf, real, whole, type Kind } from "../kinds.js";
import { atMost, checkArguments } from "../options.js";
import { signature, type Call } from "../signature.js";
import { isTensor } from "../tensor/handle.js";
import { tensorKind } from "../tensor/kinds.js";
import type { Tensor } from "../tensor/tensor.js";

const anyTensor = (fn: string, input: unknown): Tensor => {
  checkArguments(fn, { input: input as Tensor }, { input: tensorKind });
  return input as Tensor;
};
/** The index of the GPU that a tensor is on; -1 on the CPU. */
export function getDevice(input: Tensor): number {
  atMost("getDevice", arguments, 1);
  return anyTensor("getDevice", input).getDevice();
}
/** Whether a tensor is a view that conjugates. */
export function isConj(input: Tensor): boolean {
  atMost("isConj", arguments, 1);
  return anyTensor("isConj", input).isConj();
}
/** Whether a tensor is a view that negates. */
export function isNeg(input: Tensor): boolean {
  atMost("isNeg", arguments, 1);
  return anyTensor("isNeg", input).isNeg();
}
export function isSigned(input: Tensor): boolean {
  atMost("isSigned", arguments, 1);
  return anyTensor("isSigned", input).isSigned();
}
/** Whether a tensor was made in inference mode. */
export function isInference(input: Tensor): boolean {
  atMost("isInference", arguments, 1);
  return anyTensor("isInference", input).isInference;
}
export function isSameSize(input: Tensor, other: Tensor): boolean {
  atMost("isSameSize", arguments, 2);
  return anyTensor("isSameSize", input).isSameSize(anyTensor("isSameSize", other));
}
/** How many elements a tensor has. */
export function numel(input: Tensor): number {
  atMost("numel", arguments, 1);
  return anyTensor("numel", input).numel();
}
/** The complex conjugate, as a view. */
export function conj(input: Tensor): Tensor {
  atMost("conj", arguments, 1);
  return anyTensor("conj", input).conj();
}
/** Whether a value is a storage: there are none here, and a tensor's bytes are `toBytes()`. */
export function isStorage(_obj: unknown): boolean {
  atMost("isStorage", arguments, 1);
  return false;
}
/** What a value is called: "FloatTensor" and the like of tensors, the class's name of other objects. */
export function typename(obj: unknown): string {
  atMost("typename", arguments, 1);
  if (isTensor(obj)) return obj.constructor.name;
  if (typeof obj !== "object" || obj === null) return obj === null ? "null" : typeof obj;
  return obj.constructor.name;
}

/** A sparse matrix times a matrix. `mm` is the same. */
export function spmm(mat1: Tensor, mat2: Tensor): Tensor {
  atMost("spmm", arguments, 2);
  return generated.mm(mat1, mat2);
}
export interface SaddmmArguments {
  readonly mat: Tensor;
  readonly mat1: Tensor;
  readonly mat2: Tensor;
  /** Default 1. */
  readonly beta?: number;
  /** Default 1. */
  readonly alpha?: number;
}
const readSaddmm = signature(
  "saddmm",
  { mat: tensorKind, mat1: tensorKind, mat2: tensorKind, beta: byDefault(1, real()), alpha: byDefault(1, real()) },
  3,
);
/** beta · mat + alpha · mat1 · mat2 with a sparse mat1. */
export function saddmm(
  ...given: Call<SaddmmArguments, ["mat", "mat1", "mat2"], [mat: Tensor, mat1: Tensor, mat2: Tensor]>
): Tensor {
  const { mat, mat1, mat2, beta, alpha } = readSaddmm(given);
  return generated.addmm(mat, mat1, mat2, { beta, alpha });
}

const SHAPE: Kind<number | readonly number[]> = either(whole("[0, ∞)"), listOf(whole("[0, ∞)")));
export interface UnravelIndexArguments {
  /** Of whole numbers: positions in row-major order. */
  readonly indices: Tensor;
  readonly shape: number | readonly number[];
}
const readUnravel = signature("unravelIndex", { indices: tensorKind, shape: SHAPE });
/**
 * Positions in row-major order as one tensor of indices per dimension of a shape.
 * @example unravelIndex(tensor([5], { dtype: "int64" }), [2, 3]); // [tensor([1]), tensor([2])]
 */
export function unravelIndex(
  ...given: Call<UnravelIndexArguments, ["indices", "shape"], [indices: Tensor, shape: number | readonly number[]]>
): Tensor[] {
  const { indices, shape } = readUnravel(given);
  if (indices.isFloatingPoint() || indices.isComplex() || indices.dtype === "bool")
    throw new ArgumentError("unravelIndex", "indices of an integer dtype", indices);
  const sizes = typeof shape === "number" ? [shape] : shape;
  let step = sizes.reduce((product, size) => product * size, 1);
  return sizes.map((size) => {
    step /= Math.max(1, size);
    return indices.div(Math.max(1, step), { roundingMode: "floor" }).remainder(Math.max(1, size));
  });
}
