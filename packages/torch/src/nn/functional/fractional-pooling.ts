/** Max pooling over windows of drawn places. Graham, 2014. */
import { ArgumentError } from "../../errors.js";
import { byDefault, either, listOf, orNull, real } from "../../kinds.js";
import * as ops from "../../ops/index.js";
import { signature, type Call } from "../../signature.js";
import type { Tensor } from "../../tensor/tensor.js";
import { expand, repeated, STEP, type Size } from "../sizes.js";
import { input, none, off, type InputArguments } from "./rows.js";

export type Ratio = number | readonly number[];
export interface FractionalPoolOptions {
  /** Places of the output; this or `outputRatio`. */
  readonly outputSize?: Size | null;
  /** Of the input's size, in (0, 1); this or `outputSize`. */
  readonly outputRatio?: Ratio | null;
  /** Of U(0, 1), `[N, C, rank]`; they decide where windows stand. Default null: drawn. */
  readonly _randomSamples?: Tensor | null;
}
export interface FractionalPoolArguments extends FractionalPoolOptions, InputArguments {
  readonly kernelSize: Size;
  /** Give where the maxima stand, too: `[output, indices]`. Default false. */
  readonly returnIndices?: false;
}
export interface FractionalPoolIndicesArguments extends Omit<FractionalPoolArguments, "returnIndices"> {
  readonly returnIndices: true;
}
type Order = ["input", "kernelSize", "outputSize", "outputRatio", "returnIndices", "_randomSamples"];
type Windows = [input: Tensor, kernelSize: Size, outputSize?: Size | null, outputRatio?: Ratio | null];
type PlainCall = Call<
  FractionalPoolArguments,
  Order,
  [...rest: Windows, returnIndices?: false, _randomSamples?: Tensor | null]
>;
type IndicesCall = Call<
  FractionalPoolIndicesArguments,
  Order,
  [...rest: Required<Windows>, returnIndices: true, _randomSamples?: Tensor | null]
>;
interface FractionalPool {
  (...given: PlainCall): Tensor;
  (...given: IndicesCall): [output: Tensor, indices: Tensor];
}
type FractionalPoolIndices = (...given: PlainCall | IndicesCall) => [output: Tensor, indices: Tensor];

const share = real("(0, 1)");
/** @internal In the order in which the modules take them. */
export const FRACTIONAL = {
  kernelSize: STEP,
  outputSize: byDefault(null, orNull(STEP)),
  outputRatio: byDefault(null, orNull(either(share, listOf(share)))),
  returnIndices: off,
  _randomSamples: none,
};
const POOLS = { 2: ops.fractionalMaxPool2d, 3: ops.fractionalMaxPool3d } as const;

/** @internal Exactly one of the two. */
export function checkOneOf(fn: string, given: FractionalPoolOptions): void {
  const [size, ratio] = [given.outputSize ?? null, given.outputRatio ?? null];
  if ((size === null) === (ratio === null))
    throw new ArgumentError(fn, "either outputSize or outputRatio", { outputSize: size, outputRatio: ratio });
}

function fractional(rank: 2 | 3): readonly [plain: FractionalPool, withIndices: FractionalPoolIndices] {
  const read = signature(`fractionalMaxPool${rank}d`, { input, ...FRACTIONAL });
  const run = (given: readonly unknown[], name: string): readonly [[Tensor, Tensor], boolean] => {
    const { input, kernelSize, returnIndices, ...rest } = read(given, name);
    if (input.ndim !== rank + 1 && input.ndim !== rank + 2)
      throw new ArgumentError(name, `an input of ${rank + 1} or ${rank + 2} dimensions`, input);
    if (rest.outputSize === null) checkOneOf(name, rest);
    const spatial = input.shape.slice(-rank);
    const size =
      rest.outputSize === null
        ? repeated(name, "outputRatio", rest.outputRatio as Ratio, rank).map((ratio, i) =>
            Math.trunc((spatial[i] as number) * ratio),
          )
        : expand(name, "outputSize", rest.outputSize, rank);
    const channels = input.size(-rank - 1);
    const samples =
      rest._randomSamples ??
      ops.rand([input.ndim === rank + 1 ? 1 : input.size(0), channels, rank], {
        dtype: input.dtype,
        device: input.device,
      });
    const kernel = expand(name, "kernelSize", kernelSize, rank);
    return [POOLS[rank](input, kernel, size, samples), returnIndices];
  };
  const plain = (...given: readonly unknown[]): Tensor | [Tensor, Tensor] => {
    const [[output, indices], both] = run(given, `fractionalMaxPool${rank}d`);
    if (both) return [output, indices];
    indices.dispose();
    return output;
  };
  return [plain as FractionalPool, (...given) => run(given, `fractionalMaxPool${rank}dWithIndices`)[0]];
}
const [plain2, indices2] = fractional(2);
const [plain3, indices3] = fractional(3);
/** The largest values of windows of drawn places in `[N, C, H, W]` or `[C, H, W]`; draws from the input's device. */
export const fractionalMaxPool2d = plain2;
/** The largest values of windows of drawn places in `[N, C, D, H, W]` or `[C, D, H, W]`. */
export const fractionalMaxPool3d = plain3;
/** {@link fractionalMaxPool2d} with the places of the maxima, int64. */
export const fractionalMaxPool2dWithIndices = indices2;
/** {@link fractionalMaxPool3d} with the places of the maxima, int64. */
export const fractionalMaxPool3dWithIndices = indices3;
