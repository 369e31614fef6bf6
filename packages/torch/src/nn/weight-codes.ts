import type { DType } from "../tensor/dtype.js";
import type { Tensor } from "../tensor/tensor.js";

/**
 * How a layer's weight travels where sharding gathers it: in codes of one byte, by a scale that all ranks share. While
 * the layer has them, its weight has a shape and no memory.
 */
export interface WeightCodes {
  readonly weight: Tensor;
  /** Of codes: one byte each. */
  readonly dtype: DType;
  /** The largest magnitude of some elements: float32, `[]`. */
  amaxOf(part: Tensor): Tensor;
  /** The largest of all elements, whenever they have changed; null: the layer makes codes by itself again. */
  setAmax(amax: Tensor | null): void;
  /** Codes of some elements, in one dimension. Called for every part, also one without elements. */
  encode(part: Tensor): Tensor;
  /** All codes, in the weight's shape; null: they are freed. */
  setCodes(codes: Tensor | null): void;
}
