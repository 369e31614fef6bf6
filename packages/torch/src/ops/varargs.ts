/** Functions that PyTorch gives their tensors one by one: `meshgrid(a, b)`. An array of them is the same. */
import { ArgumentError } from "../errors.js";
import { listOf, oneOf } from "../kinds.js";
import * as generated from "../generated/functions.js";
import { checkOptions, type OptionNames } from "../options.js";
import { isPlain } from "../realm.js";
import { isTensor } from "../tensor/handle.js";
import { tensorKind } from "../tensor/kinds.js";
import { TensorList } from "../tensor/list.js";
import type { Tensor } from "../tensor/tensor.js";
import type { Ints, Tensors } from "./types.js";

const TENSORS = listOf(tensorKind);
type OneByOne = readonly [tensors: Tensors] | readonly Tensor[];

/** The tensors of a call, however they stand in it. */
function tensorsOf(fn: string, given: readonly unknown[]): Tensors {
  const [first, ...rest] = given;
  const isOne = rest.length === 0 && (Array.isArray(first) || first instanceof TensorList);
  const list: unknown = isOne ? first : given;
  if (list instanceof TensorList) return list;
  if (!TENSORS.accepts(list))
    throw new ArgumentError(
      fn,
      "tensors, or one array of tensors",
      isOne ? first : (given.find((t) => !isTensor(t)) ?? given),
    );
  return list as readonly Tensor[];
}

/**
 * Sums of products by Einstein's convention.
 * @example einsum("bij,bjk->bik", a, b); // a.bmm(b)
 */
export function einsum(
  equation: string,
  ...operands: readonly [tensors: Tensors, options?: { readonly path?: Ints | null }] | readonly Tensor[]
): Tensor {
  const last = operands[operands.length - 1];
  const options = isPlain(last) ? (last as { readonly path?: Ints | null }) : undefined;
  const tensors = tensorsOf("einsum", options === undefined ? operands : operands.slice(0, -1));
  return options === undefined ? generated.einsum(equation, tensors) : generated.einsum(equation, tensors, options);
}

export interface MeshgridOptions {
  /** "ij": the first tensor varies along the first dimension; "xy": along the second. Default "ij". */
  readonly indexing?: "ij" | "xy";
}
const MESHGRID: OptionNames<MeshgridOptions> = { indexing: oneOf("ij", "xy") };
/** Coordinates of a grid: views of the tensors, which have at most one dimension, expanded to its shape. */
export function meshgrid(
  ...given:
    | readonly [tensors: Tensors, options?: MeshgridOptions]
    | readonly Tensor[]
    | readonly [...tensors: readonly Tensor[], options: MeshgridOptions]
): Tensor[] {
  const last = given[given.length - 1];
  const options: MeshgridOptions = isPlain(last) ? last : {};
  if (isPlain(last)) checkOptions("meshgrid", options, MESHGRID);
  const tensors = tensorsOf("meshgrid", isPlain(last) ? given.slice(0, -1) : given);
  return generated.meshgrid(tensors, { indexing: options.indexing ?? "ij" });
}

/** Views of the tensors, expanded to the shape that they broadcast to. */
export function broadcastTensors(...tensors: OneByOne): Tensor[] {
  return generated.broadcastTensors(tensorsOf("broadcastTensors", tensors));
}
/** A matrix with the tensors along its diagonal. */
export function blockDiag(...tensors: OneByOne): Tensor {
  return generated.blockDiag(tensorsOf("blockDiag", tensors));
}
/** Every choice of one element of each tensor, as rows. */
export function cartesianProd(...tensors: OneByOne): Tensor {
  return generated.cartesianProd(tensorsOf("cartesianProd", tensors));
}

interface AtLeast {
  (tensor: Tensor): Tensor;
  (...tensors: OneByOne): Tensor[];
}
function atLeast(fn: string, of: { (self: Tensor): Tensor; (tensors: Tensors): Tensor[] }): AtLeast {
  function call(tensor: Tensor): Tensor;
  function call(...tensors: OneByOne): Tensor[];
  function call(...given: readonly unknown[]): Tensor | Tensor[] {
    const [first] = given;
    return given.length === 1 && isTensor(first) ? of(first) : of(tensorsOf(fn, given));
  }
  return call;
}
/** Views of at least one dimension: of one tensor, or of several as an array. */
export const atleast1d = atLeast("atleast1d", generated.atleast1d);
export const atleast2d = atLeast("atleast2d", generated.atleast2d);
export const atleast3d = atLeast("atleast3d", generated.atleast3d);
