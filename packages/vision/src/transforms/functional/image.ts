/** What all functions of images share: shapes, ranges of dtypes, and the float32 in which operators compute. */
import { checkArguments, atMost, ArgumentError, isTensor, kinds, type DType, type Tensor } from "@nbit/torch";

/** What an image is to every function here: `[C, H, W]`, or a batch `[…, C, H, W]`. */
export function checkImage(fn: string, image: unknown, least = 2): asserts image is Tensor {
  if (!isTensor(image) || image.ndim < least)
    throw new ArgumentError(
      fn,
      `an image to be a tensor of ${least === 2 ? "[H, W] or " : ""}[…, C, H, W]`,
      isTensor(image) ? image.shape : image,
      isTensor(image) ? "" : "Read files by io.readImage, and arrays by tensor(…).",
    );
}

/** Channels, height and width. */
export function getDimensions(image: Tensor): [channels: number, height: number, width: number] {
  atMost("getDimensions", arguments, 1);
  checkImage("getDimensions", image);
  return [image.ndim === 2 ? 1 : image.size(-3), image.size(-2), image.size(-1)];
}
/** Width and height. */
export function getImageSize(image: Tensor): [width: number, height: number] {
  atMost("getImageSize", arguments, 1);
  checkImage("getImageSize", image);
  return [image.size(-1), image.size(-2)];
}
export function getImageNumChannels(image: Tensor): number {
  atMost("getImageNumChannels", arguments, 1);
  return getDimensions(image)[0];
}

/** @throws {ArgumentError} where channels are not those of a grey or coloured image. */
export function checkChannels(fn: string, image: Tensor): number {
  const [channels] = getDimensions(image);
  if (channels !== 1 && channels !== 3) throw new ArgumentError(fn, "an image of 1 or 3 channels", image.shape);
  return channels;
}

const MOST: Readonly<Partial<Record<DType, number>>> = {
  uint8: 255,
  int8: 127,
  int16: 32767,
  uint16: 65535,
  int32: 2147483647,
  int64: 2 ** 63,
};
/** White: the largest of a dtype of whole numbers; 1 of floats. */
export const maxValue = (dtype: DType): number => MOST[dtype] ?? 1;

/** The dtype itself where it is one of floats. */
export const floatOf = (image: Tensor): DType => (image.isFloatingPoint() ? image.dtype : "float32");

/**
 * An image in another dtype, with the range that goes with it: whole numbers from 0 to the dtype's largest, floats from
 * 0 to 1. Not from a float to whole numbers that it cannot hold.
 */
export function convertImageDtype(image: Tensor, dtype: DType = "float32"): Tensor {
  atMost("convertImageDtype", arguments, 2);
  checkImage("convertImageDtype", image);
  if (image.dtype === dtype) return image;
  const toFloat = ["float16", "bfloat16", "float32", "float64"].includes(dtype);
  const most = maxValue(dtype);
  if (image.isFloatingPoint()) {
    if (toFloat) return image.to(dtype);
    if ((image.dtype === "float32" && most > 65535) || (image.dtype === "float64" && dtype === "int64"))
      throw new ArgumentError("convertImageDtype", `a dtype whose numbers ${image.dtype} can hold`, dtype);
    return image.mul(most + 1 - 1e-3).to(dtype);
  }
  const from = maxValue(image.dtype);
  if (toFloat) return image.to(dtype).div_(from);
  if (from > most) return image.div(Math.floor((from + 1) / (most + 1)), { roundingMode: "floor" }).to(dtype);
  return image.to(dtype).mul(Math.floor((most + 1) / (from + 1)));
}

/** Run `fn` on a batch of floats; the result is of the image's dtype again, rounded, and of as many dimensions. */
export function inFloats(image: Tensor, dtypes: readonly DType[], fn: (batch: Tensor) => Tensor): Tensor {
  const { dtype } = image;
  const batch = image.ndim < 4 ? image.unsqueeze(0) : image;
  const floats = dtypes.includes(dtype) ? batch : batch.to(dtypes[0] as DType);
  let result = fn(floats);
  if (image.ndim < 4) result = result.squeeze(0);
  if (dtypes.includes(dtype)) return result;
  return (MOST[dtype] === undefined ? result : result.round()).to(dtype);
}

/** As Python rounds: halves to even. */
export function round(x: number): number {
  const below = Math.floor(x);
  const half = x - below;
  return half < 0.5 || (half === 0.5 && below % 2 === 0) ? below : below + 1;
}

/** One size for both, or height and width. */
export type ImageSize = number | readonly [number] | readonly [height: number, width: number];
export const imageSize = kinds.such<ImageSize>(
  "a whole number ≥ 1, or [height, width]",
  (v) => isCount(v) || (Array.isArray(v) && (v.length === 1 || v.length === 2) && v.every(isCount)),
);
const isCount = (v: unknown): boolean => typeof v === "number" && Number.isSafeInteger(v) && v >= 1;
export function bothSizes(size: ImageSize, fn = "size"): [height: number, width: number] {
  checkArguments(fn, { size }, { size: imageSize });
  return typeof size === "number" ? [size, size] : [size[0], size[1] ?? size[0]];
}

/** One number for all channels, or one for each. */
export type Fill = number | readonly number[];
export const fillKind = kinds.either<number, readonly number[]>(kinds.real(), kinds.listOf(kinds.real()));

export type Interpolation = "nearest" | "nearest-exact" | "bilinear" | "bicubic";
/** The ways to read between pixels, as PyTorch names them. */
export const InterpolationMode = {
  NEAREST: "nearest",
  NEAREST_EXACT: "nearest-exact",
  BILINEAR: "bilinear",
  BICUBIC: "bicubic",
} as const;
export const interpolationKind = kinds.oneOf("nearest", "nearest-exact", "bilinear", "bicubic");
export const gridInterpolation = kinds.oneOf("nearest", "bilinear");

/** Rows from `top` and columns from `left`. */
export const window = (image: Tensor, top: number, left: number, height: number, width: number): Tensor =>
  image.narrow(-2, top, height).narrow(-1, left, width);
