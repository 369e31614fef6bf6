/** Sliding windows of images as columns, and their sum again. */
import { byDefault } from "../../kinds.js";
import * as ops from "../../ops/index.js";
import { signature, type Call } from "../../signature.js";
import type { Tensor } from "../../tensor/tensor.js";
import { expand, SIZE, STEP, type Size } from "../sizes.js";
import { input, type InputArguments } from "./rows.js";

export interface UnfoldOptions {
  readonly kernelSize: Size;
  /** Distance between the elements of a window. Default 1. */
  readonly dilation?: Size;
  /** Zeros around the image. Default 0. */
  readonly padding?: Size;
  /** Distance between windows. Default 1. */
  readonly stride?: Size;
}
export interface FoldOptions extends UnfoldOptions {
  /** `[H, W]` of the image. */
  readonly outputSize: Size;
}
/** @internal In the order in which the modules take them. */
export const UNFOLD = {
  kernelSize: STEP,
  dilation: byDefault(1, STEP),
  padding: byDefault(0, SIZE),
  stride: byDefault(1, STEP),
};
/** @internal */
export const FOLD = { outputSize: STEP, ...UNFOLD };
const readUnfold = signature("unfold", { input, ...UNFOLD });
const readFold = signature("fold", { input, ...FOLD });
type Windows = [kernelSize: Size, dilation?: Size, padding?: Size, stride?: Size];
type WindowOrder = ["kernelSize", "dilation", "padding", "stride"];

function windows(fn: string, a: Required<UnfoldOptions>): readonly [number[], number[], number[], number[]] {
  const pair = (name: keyof UnfoldOptions): number[] => expand(fn, name, a[name], 2);
  return [pair("kernelSize"), pair("dilation"), pair("padding"), pair("stride")];
}

/** `[N, C, H, W]` → `[N, C · kernel elements, windows]`; without the batch as well. */
export function unfold(
  ...given: Call<UnfoldOptions & InputArguments, ["input", ...WindowOrder], [input: Tensor, ...rest: Windows]>
): Tensor {
  const a = readUnfold(given);
  return ops.im2col(a.input, ...windows("unfold", a));
}
/** `[N, C · kernel elements, windows]` → `[N, C, H, W]`, where windows that overlap are summed. */
export function fold(
  ...given: Call<
    FoldOptions & InputArguments,
    ["input", "outputSize", ...WindowOrder],
    [input: Tensor, outputSize: Size, ...rest: Windows]
  >
): Tensor {
  const a = readFold(given);
  return ops.col2im(a.input, expand("fold", "outputSize", a.outputSize, 2), ...windows("fold", a));
}
