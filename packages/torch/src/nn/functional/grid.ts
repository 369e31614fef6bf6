/** Images looked at through grids of places. */
import { ArgumentError } from "../../errors.js";
import { byDefault, flag, listOf, oneOf, orNull } from "../../kinds.js";
import * as ops from "../../ops/index.js";
import { signature, type Call } from "../../signature.js";
import { tensorKind } from "../../tensor/kinds.js";
import type { Tensor } from "../../tensor/tensor.js";
import { positive } from "../kernels.js";
import { input, type InputArguments } from "./rows.js";

export type GridMode = "bilinear" | "nearest" | "bicubic";
export type GridPadding = "zeros" | "border" | "reflection";
const MODES: Readonly<Record<GridMode, number>> = { bilinear: 0, nearest: 1, bicubic: 2 };
const PADDINGS: Readonly<Record<GridPadding, number>> = { zeros: 0, border: 1, reflection: 2 };

export interface GridSampleArguments extends InputArguments {
  /** `[N, H′, W′, 2]` or `[N, D′, H′, W′, 3]`: x, y(, z) of each place, from -1 to 1 across the image. */
  readonly grid: Tensor;
  /** Between pixels. Default "bilinear". */
  readonly mode?: GridMode;
  /** Beyond the edge. Default "zeros". */
  readonly paddingMode?: GridPadding;
  /** ±1 are the centres of the corner pixels, rather than their edges. Default null: false. */
  readonly alignCorners?: boolean | null;
}
const readGrid = signature("gridSample", {
  input,
  grid: tensorKind,
  mode: byDefault("bilinear", oneOf("bilinear", "nearest", "bicubic")),
  paddingMode: byDefault("zeros", oneOf("zeros", "border", "reflection")),
  alignCorners: byDefault(null, orNull(flag)),
});
/** What `[N, C, H, W]` or `[N, C, D, H, W]` is at the places of a grid. Jaderberg et al., 2015. */
export function gridSample(
  ...given: Call<
    GridSampleArguments,
    ["input", "grid", "mode", "paddingMode", "alignCorners"],
    [input: Tensor, grid: Tensor, mode?: GridMode, paddingMode?: GridPadding, alignCorners?: boolean | null]
  >
): Tensor {
  const { input, grid, mode, paddingMode, alignCorners } = readGrid(given);
  return ops.gridSampler(input, grid, MODES[mode], PADDINGS[paddingMode], alignCorners ?? false);
}

export interface AffineGridArguments {
  /** `[N, 2, 3]` or `[N, 3, 4]`, floating point. */
  readonly theta: Tensor;
  /** Of the images to be: `[N, C, H, W]` or `[N, C, D, H, W]`. */
  readonly size: readonly number[];
  /** ±1 are the centres of the corner pixels, rather than their edges. Default null: false. */
  readonly alignCorners?: boolean | null;
}
const readAffine = signature("affineGrid", {
  theta: tensorKind,
  size: listOf(positive),
  alignCorners: byDefault(null, orNull(flag)),
});
/** The grid for {@link gridSample} that affine maps make: `[N, H, W, 2]` or `[N, D, H, W, 3]`. */
export function affineGrid(
  ...given: Call<
    AffineGridArguments,
    ["theta", "size", "alignCorners"],
    [theta: Tensor, size: readonly number[], alignCorners?: boolean | null]
  >
): Tensor {
  const { theta, size, alignCorners } = readAffine(given);
  if (size.length !== 4 && size.length !== 5)
    throw new ArgumentError("affineGrid", "size to have 4 or 5 elements", size);
  const rank = size.length - 2;
  const shape = theta.shape;
  if (!theta.isFloatingPoint() || shape.length !== 3 || shape[1] !== rank || shape[2] !== rank + 1)
    throw new ArgumentError("affineGrid", `theta to be of floats, [N, ${rank}, ${rank + 1}]`, theta);
  return ops.affineGridGenerator(theta, size, alignCorners ?? false);
}
