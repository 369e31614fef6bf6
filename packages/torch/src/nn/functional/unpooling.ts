/** The way back from max pooling: values at the places that it told, 0 elsewhere. */
import { ArgumentError } from "../../errors.js";
import { byDefault, listOf, orNull, whole } from "../../kinds.js";
import * as ops from "../../ops/index.js";
import { signature, type Call } from "../../signature.js";
import { tensorKind } from "../../tensor/kinds.js";
import type { Tensor } from "../../tensor/tensor.js";
import { expand, SIZE, STEP, type Size } from "../sizes.js";
import { input, type InputArguments } from "./rows.js";

export interface MaxUnpoolArguments extends InputArguments {
  /** int64, of the input's shape: from max pooling with `returnIndices`. */
  readonly indices: Tensor;
  readonly kernelSize: Size;
  /** Default null: the kernel size. */
  readonly stride?: Size | null;
  /** Default 0. */
  readonly padding?: Size;
  /** Of the result, with the dimensions of batch and channels or without. Default null: the smallest that was pooled. */
  readonly outputSize?: readonly number[] | null;
}
type MaxUnpool = (
  ...given: Call<
    MaxUnpoolArguments,
    ["input", "indices", "kernelSize", "stride", "padding", "outputSize"],
    [
      input: Tensor,
      indices: Tensor,
      kernelSize: Size,
      stride?: Size | null,
      padding?: Size,
      outputSize?: readonly number[] | null,
    ]
  >
) => Tensor;
const ROWS = {
  input,
  indices: tensorKind,
  kernelSize: STEP,
  stride: byDefault(null, orNull(STEP)),
  padding: byDefault(0, SIZE),
  outputSize: byDefault(null, orNull(listOf(whole("[0, ∞)")))),
};

function unpooledSize(
  fn: string,
  x: Tensor,
  kernel: readonly number[],
  stride: readonly number[],
  padding: readonly number[],
  asked: readonly number[] | null,
): number[] {
  const rank = kernel.length;
  const spatial = x.shape.slice(-rank);
  const smallest = kernel.map(
    (k, d) => ((spatial[d] as number) - 1) * (stride[d] as number) + k - 2 * (padding[d] as number),
  );
  if (asked === null) {
    if (smallest.some((size) => size < 0)) throw new ArgumentError(fn, "padding that leaves a size ≥ 0", padding);
    return smallest;
  }
  const size = asked.length === rank + 2 ? asked.slice(2) : asked;
  if (size.length !== rank) throw new ArgumentError(fn, `outputSize to have ${rank} or ${rank + 2} elements`, asked);
  size.forEach((each, d) => {
    const [middle, step] = [smallest[d] as number, stride[d] as number];
    if (each <= middle - step || each >= middle + step)
      throw new ArgumentError(
        fn,
        `outputSize[${d}] between ${middle - step} and ${middle + step}, both excluded`,
        each,
      );
  });
  return [...size];
}

function maxUnpool(rank: 1 | 2 | 3): MaxUnpool {
  const name = `maxUnpool${rank}d`;
  const read = signature(name, ROWS);
  return (...given) => {
    const { input, indices, outputSize, ...rest } = read(given);
    if (input.ndim !== rank + 1 && input.ndim !== rank + 2)
      throw new ArgumentError(name, `an input of ${rank + 1} or ${rank + 2} dimensions`, input);
    const kernel = expand(name, "kernelSize", rest.kernelSize, rank);
    const stride = rest.stride === null ? kernel : expand(name, "stride", rest.stride, rank);
    const padding = expand(name, "padding", rest.padding, rank);
    const size = unpooledSize(name, input, kernel, stride, padding, outputSize);
    if (rank === 3) return ops.maxUnpool3d(input, indices, size, stride, padding);
    if (rank === 2) return ops.maxUnpool2d(input, indices, size);
    return ops.maxUnpool2d(input.unsqueeze(-1), indices.unsqueeze(-1), [...size, 1]).squeeze(-1);
  };
}
/** Undoes `maxPool1d`: `[N, C, L]` or `[C, L]`. */
export const maxUnpool1d = maxUnpool(1);
/** Undoes `maxPool2d`: `[N, C, H, W]` or `[C, H, W]`. */
export const maxUnpool2d = maxUnpool(2);
/** Undoes `maxPool3d`: `[N, C, D, H, W]` or `[C, D, H, W]`. */
export const maxUnpool3d = maxUnpool(3);
