/** Argument types of the generated declarations. */
import type { Tensor } from "../tensor/tensor.js";
import type { TensorList } from "../tensor/list.js";

/** A whole number; a bigint where 53 bits are not enough. */
export type Int = number | bigint;
export type Ints = readonly Int[];
export type Tensors = readonly Tensor[] | TensorList;
export type Layout =
  "strided" | "sparseCoo" | "sparseCsr" | "sparseCsc" | "sparseBsr" | "sparseBsc" | "mkldnn" | "jagged";
export type MemoryFormat = "contiguousFormat" | "preserveFormat" | "channelsLast" | "channelsLast3d";
