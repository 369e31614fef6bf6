/** What stands around a tensor. */
import { byDefault, listOf, oneOf, orNull, whole } from "../../kinds.js";
import * as ops from "../../ops/index.js";
import { signature, type Call } from "../../signature.js";
import type { Tensor } from "../../tensor/tensor.js";
import { anyNumber, input, type InputArguments } from "./rows.js";

export type PaddingMode = "constant" | "reflect" | "replicate" | "circular";
export interface PadArguments extends InputArguments {
  /** Before and behind the last dimension, then those of the one before it, …; negative numbers cut. */
  readonly pad: readonly number[];
  /** Default "constant". The others are for the last dimensions of `[N, C, …]` or `[C, …]`. */
  readonly mode?: PaddingMode;
  /** With "constant". Default null: 0. */
  readonly value?: number | null;
}
const readPad = signature("pad", {
  input,
  pad: listOf(whole()),
  mode: byDefault("constant", oneOf("constant", "reflect", "replicate", "circular")),
  value: byDefault(null, orNull(anyNumber)),
});
/** @example pad(ones([1, 2]), [1, 0]).tolist(); // [[0, 1, 1]] */
export function pad(
  ...given: Call<
    PadArguments,
    ["input", "pad", "mode", "value"],
    [input: Tensor, pad: readonly number[], mode?: PaddingMode, value?: number | null]
  >
): Tensor {
  const { input, pad, mode, value } = readPad(given);
  return ops.pad(input, pad, mode, value);
}
