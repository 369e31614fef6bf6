/** Signals, images and volumes in other sizes. */
import { ArgumentError } from "../../errors.js";
import { byDefault, flag, oneOf, orNull } from "../../kinds.js";
import { aten } from "../../ops/aten.js";
import * as ops from "../../ops/index.js";
import { signature, type Call } from "../../signature.js";
import type { Tensor } from "../../tensor/tensor.js";
import { FACTOR, repeated, STEP, type Size } from "../sizes.js";
import { input, off, type InputArguments } from "./rows.js";

export type InterpolationMode =
  "nearest" | "nearest-exact" | "linear" | "bilinear" | "bicubic" | "trilinear" | "area" | "lanczos";
export interface UpsampleOptions {
  /** Of the result, spatial dimensions alone; this or `scaleFactor`. */
  readonly size?: Size | null;
  /** One number for all spatial dimensions, or one each; this or `size`. */
  readonly scaleFactor?: Size | null;
  /** Default "nearest". "linear" is for `[N, C, L]`, "trilinear" for `[N, C, D, H, W]`, "bilinear", "bicubic", "lanczos" for images. */
  readonly mode?: InterpolationMode;
  /** Corner pixels stay where they are; with linear and cubic modes alone. Default null: false. */
  readonly alignCorners?: boolean | null;
}
export interface InterpolateArguments extends UpsampleOptions, InputArguments {
  /** Scale by the ratio of whole sizes, rather than by `scaleFactor` itself. Default null: false. */
  readonly recomputeScaleFactor?: boolean | null;
  /** Smooth where it shrinks: "bilinear", "bicubic" and "lanczos", which needs it. Default false. */
  readonly antialias?: boolean;
}
/** @internal In the order in which `Upsample` takes them. */
export const UPSAMPLE = {
  size: byDefault(null, orNull(STEP)),
  scaleFactor: byDefault(null, orNull(FACTOR)),
  mode: byDefault(
    "nearest",
    oneOf("nearest", "nearest-exact", "linear", "bilinear", "bicubic", "trilinear", "area", "lanczos"),
  ),
  alignCorners: byDefault(null, orNull(flag)),
};
const readInterpolate = signature("interpolate", {
  input,
  ...UPSAMPLE,
  recomputeScaleFactor: byDefault(null, orNull(flag)),
  antialias: off,
});

type Ints = readonly number[];
/** To a size, or by factors: one of the two is null. */
type Resize = (x: Tensor, size: Ints | null, factors: Ints | null, corners: boolean) => Tensor;
/** An operator that has no function of its own, by its list form. */
function listForm(name: string, withCorners: boolean): Resize {
  return (x, size, factors, corners) => {
    const call = aten[name]?.["vec"];
    if (call === undefined) throw new ArgumentError("interpolate", "a libtorch with this mode", name);
    return withCorners ? call(x, size, corners, factors) : call(x, size, factors);
  };
}
/** By mode, then by the input's spatial dimensions. */
const RESIZE: Readonly<Record<InterpolationMode, readonly (Resize | null)[]>> = {
  nearest: [
    (x, size, factors) => ops.upsampleNearest1d(x, size, factors),
    (x, size, factors) => ops.upsampleNearest2d(x, size, factors),
    (x, size, factors) => ops.upsampleNearest3d(x, size, factors),
  ],
  "nearest-exact": [1, 2, 3].map((n) => listForm(`_upsample_nearest_exact${n}d`, false)),
  area: [
    (x, size) => ops.adaptiveAvgPool1d(x, size ?? []),
    (x, size) => ops.adaptiveAvgPool2d(x, size ?? []),
    (x, size) => ops.adaptiveAvgPool3d(x, size ?? []),
  ],
  linear: [(x, size, factors, corners) => ops.upsampleLinear1d(x, size, corners, factors), null, null],
  bilinear: [null, (x, size, factors, corners) => ops.upsampleBilinear2d(x, size, corners, factors), null],
  trilinear: [null, null, (x, size, factors, corners) => ops.upsampleTrilinear3d(x, size, corners, factors)],
  bicubic: [null, (x, size, factors, corners) => ops.upsampleBicubic2d(x, size, corners, factors), null],
  lanczos: [null, null, null],
};
const SMOOTH: Partial<Readonly<Record<InterpolationMode, Resize>>> = {
  bilinear: listForm("_upsample_bilinear2d_aa", true),
  bicubic: listForm("_upsample_bicubic2d_aa", true),
  lanczos: listForm("_upsample_lanczos2d_aa", true),
};
const WITHOUT_CORNERS: ReadonlySet<InterpolationMode> = new Set(["nearest", "nearest-exact", "area"]);
type Values = ReturnType<typeof readInterpolate>;

/** The size, or else the factors, in numbers for every spatial dimension. */
function sizeOrFactors(a: Values, spatial: Ints): readonly [size: Ints | null, factors: Ints | null] {
  const n = spatial.length;
  if (a.size !== null) {
    if (a.recomputeScaleFactor === true)
      throw new ArgumentError("interpolate", "recomputeScaleFactor with scaleFactor, not with size", true);
    return [repeated("interpolate", "size", a.size, n), null];
  }
  const factors = repeated("interpolate", "scaleFactor", a.scaleFactor as Size, n);
  if (a.recomputeScaleFactor !== true && a.mode !== "area") return [null, factors];
  return [spatial.map((size, d) => Math.trunc(size * (factors[d] as number))), null];
}

/**
 * `[N, C, …]` with one to three spatial dimensions in another size.
 *
 * @example interpolate(image, { scaleFactor: 2, mode: "bilinear", alignCorners: false })
 * @throws {ArgumentError} `interpolate: expected either size or scaleFactor. Received: …`
 */
export function interpolate(
  ...given: Call<
    InterpolateArguments,
    ["input", "size", "scaleFactor", "mode", "alignCorners", "recomputeScaleFactor", "antialias"],
    [
      input: Tensor,
      size?: Size | null,
      scaleFactor?: Size | null,
      mode?: InterpolationMode,
      alignCorners?: boolean | null,
      recomputeScaleFactor?: boolean | null,
      antialias?: boolean,
    ]
  >
): Tensor {
  return resized(readInterpolate(given));
}
function resized(a: Values): Tensor {
  const { input, mode, alignCorners, antialias } = a;
  if ((a.size === null) === (a.scaleFactor === null))
    throw new ArgumentError("interpolate", "either size or scaleFactor", { size: a.size, scaleFactor: a.scaleFactor });
  if (alignCorners !== null && WITHOUT_CORNERS.has(mode))
    throw new ArgumentError("interpolate", `alignCorners to be left out with mode "${mode}"`, alignCorners);
  const n = input.ndim - 2;
  const smooth = antialias && n === 2 ? SMOOTH[mode] : undefined;
  if (antialias && smooth === undefined)
    throw new ArgumentError(
      "interpolate",
      'antialias with "bilinear", "bicubic" or "lanczos" and an input of 4 dimensions',
      input,
    );
  if (mode === "lanczos" && (!antialias || alignCorners === true))
    throw new ArgumentError("interpolate", 'antialias, and no alignCorners, with mode "lanczos"', { antialias });
  const resize = smooth ?? RESIZE[mode][n - 1] ?? null;
  if (resize === null)
    throw new ArgumentError("interpolate", `an input [N, C, …] of the dimensions that "${mode}" is for`, input);
  const [size, factors] = sizeOrFactors(a, input.shape.slice(2));
  return resize(input, size, factors, alignCorners ?? false);
}

const readUpsample = signature("upsample", { input, ...UPSAMPLE });
/** {@link interpolate} under its old name. */
export function upsample(
  ...given: Call<
    UpsampleOptions & InputArguments,
    ["input", "size", "scaleFactor", "mode", "alignCorners"],
    [
      input: Tensor,
      size?: Size | null,
      scaleFactor?: Size | null,
      mode?: InterpolationMode,
      alignCorners?: boolean | null,
    ]
  >
): Tensor {
  return resized({ ...readUpsample(given), recomputeScaleFactor: null, antialias: false });
}
type SizeCall = Call<
  Pick<UpsampleOptions, "size" | "scaleFactor"> & InputArguments,
  ["input", "size", "scaleFactor"],
  [input: Tensor, size?: Size | null, scaleFactor?: Size | null]
>;
const SIZES = { input, size: UPSAMPLE.size, scaleFactor: UPSAMPLE.scaleFactor };
const readNearest = signature("upsampleNearest", SIZES);
const readBilinear = signature("upsampleBilinear", SIZES);
/** {@link interpolate} with mode "nearest", under its old name. */
export function upsampleNearest(...given: SizeCall): Tensor {
  const plain = { alignCorners: null, recomputeScaleFactor: null, antialias: false };
  return resized({ ...readNearest(given), mode: "nearest", ...plain });
}
/** {@link interpolate} with mode "bilinear" and `alignCorners`, under its old name. */
export function upsampleBilinear(...given: SizeCall): Tensor {
  const plain = { alignCorners: true, recomputeScaleFactor: null, antialias: false };
  return resized({ ...readBilinear(given), mode: "bilinear", ...plain });
}
