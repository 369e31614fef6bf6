/** Kinds that the functions of many families share. */
import { byDefault, flag, orNull, real, whole } from "../../kinds.js";
import { signature, type Call, type Signature } from "../../signature.js";
import { tensorKind } from "../../tensor/kinds.js";
import type { Tensor } from "../../tensor/tensor.js";

export const input = tensorKind;
export const number = real();
/** Infinity too. */
export const anyNumber = real("[-∞, ∞]");
export const probability = real("[0, 1]");
export const dimension = whole();
export const off = byDefault(false, flag);
export const on = byDefault(true, flag);
export const none = byDefault(null, orNull(tensorKind));

export interface InputArguments {
  readonly input: Tensor;
}
export type InputCall = Call<InputArguments, ["input"], [input: Tensor]>;
export const readInput = (name: string): Signature<{ readonly input: typeof input }> => signature(name, { input });

export interface InplaceArguments extends InputArguments {
  /** Write over the input. Default false. */
  readonly inplace?: boolean;
}
export type InplaceCall = Call<InplaceArguments, ["input", "inplace"], [input: Tensor, inplace?: boolean]>;
const INPLACE = { input, inplace: off };
export const readInplace = (name: string): Signature<typeof INPLACE> => signature(name, INPLACE);
