/** Where pixels are: crops, flips, padding, other sizes, rotation. */
import {
  isTensor,
  checkArguments,
  atMost,
  ArgumentError,
  aten,
  cat,
  constantPadNd,
  gridSampler2d,
  kinds,
  linspace,
  ones,
  reflectionPad2d,
  replicationPad2d,
  scope,
  signature,
  stack,
  tensor,
  upsampleBicubic2d,
  upsampleBilinear2d,
  upsampleNearest2d,
  where,
  type DType,
  type OptionNames,
  type Tensor,
} from "@nbit/torch";
import {
  bothSizes,
  checkImage,
  fillKind,
  floatOf,
  getDimensions,
  gridInterpolation,
  imageSize,
  inFloats,
  interpolationKind,
  round,
  window,
  type Fill,
  type ImageSize,
  type Interpolation,
} from "./image.js";

export function hflip(image: Tensor): Tensor {
  atMost("hflip", arguments, 1);
  checkImage("hflip", image);
  return image.flip([-1]);
}
export function vflip(image: Tensor): Tensor {
  atMost("vflip", arguments, 1);
  checkImage("vflip", image);
  return image.flip([-2]);
}

const WINDOW = { top: kinds.whole(), left: kinds.whole(), height: kinds.whole(), width: kinds.whole() };
/** A part of an image; what lies outside of it is 0. */
export function crop(image: Tensor, top: number, left: number, height: number, width: number): Tensor {
  atMost("crop", arguments, 5);
  checkImage("crop", image);
  checkArguments("crop", { top, left, height, width }, WINDOW);
  const [, h, w] = getDimensions(image);
  const right = left + width;
  const bottom = top + height;
  if (left >= 0 && top >= 0 && right <= w && bottom <= h) return window(image, top, left, height, width);
  return scope(() => {
    const [t, l] = [Math.max(top, 0), Math.max(left, 0)];
    const inside = window(
      image,
      Math.min(t, h),
      Math.min(l, w),
      Math.max(0, Math.min(bottom, h) - t),
      Math.max(0, Math.min(right, w) - l),
    );
    return pad(inside, [
      Math.max(-left + Math.min(0, right), 0),
      Math.max(-top + Math.min(0, bottom), 0),
      Math.max(right - Math.max(w, left), 0),
      Math.max(bottom - Math.max(h, top), 0),
    ]);
  });
}

/** The middle of an image, with 0 around it where it is smaller. */
export function centerCrop(image: Tensor, outputSize: ImageSize): Tensor {
  atMost("centerCrop", arguments, 2);
  checkImage("centerCrop", image);
  const [height, width] = bothSizes(outputSize, "centerCrop");
  return scope(() => {
    let [, h, w] = getDimensions(image);
    let padded = image;
    if (width > w || height > h) {
      const [dx, dy] = [Math.max(width - w, 0), Math.max(height - h, 0)];
      padded = pad(image, [Math.floor(dx / 2), Math.floor(dy / 2), Math.floor((dx + 1) / 2), Math.floor((dy + 1) / 2)]);
      [, h, w] = getDimensions(padded);
      if (width === w && height === h) return padded;
    }
    return crop(padded, round((h - height) / 2), round((w - width) / 2), height, width);
  });
}

/** Four corners and the middle. */
export function fiveCrop(image: Tensor, size: ImageSize): [Tensor, Tensor, Tensor, Tensor, Tensor] {
  atMost("fiveCrop", arguments, 2);
  const [, h, w] = getDimensions(image);
  const [height, width] = bothSizes(size, "fiveCrop");
  if (width > w || height > h)
    throw new ArgumentError("fiveCrop", `a size of at most [${h}, ${w}], the image's`, [height, width]);
  return [
    crop(image, 0, 0, height, width),
    crop(image, 0, w - width, height, width),
    crop(image, h - height, 0, height, width),
    crop(image, h - height, w - width, height, width),
    centerCrop(image, [height, width]),
  ];
}
/** The same of the image and of its mirror image. */
export function tenCrop(image: Tensor, size: ImageSize, verticalFlip = false): Tensor[] {
  atMost("tenCrop", arguments, 3);
  checkImage("tenCrop", image);
  return [...fiveCrop(image, size), ...fiveCrop(verticalFlip ? vflip(image) : hflip(image), size)];
}

export type PaddingMode = "constant" | "edge" | "reflect" | "symmetric";
/** One for all sides; left-right and top-bottom; or left, top, right, bottom. */
export type Padding =
  | number
  | readonly [number]
  | readonly [x: number, y: number]
  | readonly [left: number, top: number, right: number, bottom: number];
export const paddingKind = kinds.such<Padding>(
  "a whole number, or a list of 1, 2 or 4",
  (v) => Number.isSafeInteger(v) || (Array.isArray(v) && [1, 2, 4].includes(v.length) && v.every(Number.isSafeInteger)),
);
export const paddingMode = kinds.oneOf("constant", "edge", "reflect", "symmetric");

function sides(padding: Padding): [left: number, right: number, top: number, bottom: number] {
  const list = typeof padding === "number" ? [padding] : padding;
  const [a = 0, b = a, c = a, d = b] = list;
  return [a, c, b, d];
}

/** More pixels around an image, or, where padding is negative, fewer. */
export function pad(image: Tensor, padding: Padding, fill: number | null = 0, mode: PaddingMode = "constant"): Tensor {
  atMost("pad", arguments, 4);
  checkImage("pad", image);
  checkArguments("pad", { padding }, { padding: paddingKind });
  const around = sides(padding);
  if (mode === "symmetric") return padSymmetric(image, around);
  if (mode === "constant") return constantPadNd(image, around, fill ?? 0);
  return inFloats(image, ["float32", "float64"], (batch) =>
    mode === "edge" ? replicationPad2d(batch, around) : reflectionPad2d(batch, around),
  );
}
function padSymmetric(image: Tensor, [left, right, top, bottom]: readonly [number, number, number, number]): Tensor {
  const cropped = Math.min(left, right, top, bottom) < 0;
  const [l, r, t, b] = [left, right, top, bottom].map((x) => Math.max(0, -x)) as [number, number, number, number];
  const inner = cropped ? window(image, t, l, image.size(-2) - t - b, image.size(-1) - l - r) : image;
  const mirrored = (n: number, before: number, after: number): Tensor =>
    tensor(
      [
        ...Array.from({ length: Math.max(before, 0) }, (_, i) => Math.max(before, 0) - 1 - i),
        ...Array.from({ length: n }, (_, i) => i),
        ...Array.from({ length: Math.max(after, 0) }, (_, i) => n - 1 - i),
      ],
      { dtype: "int64", device: image.device },
    );
  return inner
    .indexSelect(-2, mirrored(inner.size(-2), top, bottom))
    .indexSelect(-1, mirrored(inner.size(-1), left, right));
}

/** The size that `resize` makes of `[height, width]`. */
export function outputSize(
  [h, w]: readonly [number, number],
  size: ImageSize,
  maxSize: number | null,
): [height: number, width: number] {
  if (typeof size !== "number" && size.length === 2) return [size[0], size[1]];
  const wanted = typeof size === "number" ? size : size[0];
  const [short, long] = w <= h ? [w, h] : [h, w];
  let [newShort, newLong] = [wanted, Math.trunc((wanted * long) / short)];
  if (maxSize !== null) {
    if (maxSize <= wanted)
      throw new ArgumentError("resize", `maxSize to be greater than ${wanted}, the size of the smaller edge`, maxSize);
    if (newLong > maxSize) [newShort, newLong] = [Math.trunc((maxSize * newShort) / newLong), maxSize];
  }
  return w <= h ? [newLong, newShort] : [newShort, newLong];
}

export interface ResizeArguments {
  readonly image: Tensor;
  /** Of the smaller edge, the other in proportion; or height and width. */
  readonly size: ImageSize;
  /** Default "bilinear". */
  readonly interpolation?: Interpolation;
  /** The longer edge is at most this, where `size` is of the smaller. */
  readonly maxSize?: number | null;
  /** Read all pixels that a new one covers, as PIL does. Default true; for bilinear and bicubic only. */
  readonly antialias?: boolean | null;
}
const readResize = signature("resize", {
  image: kinds.such<Tensor>("a tensor of […, C, H, W]", (v) => typeof v === "object"),
  size: imageSize,
  interpolation: kinds.byDefault("bilinear", interpolationKind),
  maxSize: kinds.byDefault(null, kinds.orNull(kinds.whole("[1, ∞)"))),
  antialias: kinds.byDefault(true, kinds.orNull(kinds.flag)),
} satisfies OptionNames<ResizeArguments>);

/**
 * An image of another size: the numbers of `interpolate`, of bytes too. Other whole numbers are computed in float32 and
 * rounded.
 * @throws {ArgumentError} `resize: expected maxSize only with the size of the smaller edge. Received: 10.`
 */
export function resize(
  image: Tensor,
  size: ImageSize,
  interpolation?: Interpolation,
  maxSize?: number | null,
  antialias?: boolean | null,
): Tensor;
export function resize(image: Tensor, size: ImageSize, options: Omit<ResizeArguments, "image" | "size">): Tensor;
export function resize(...given: readonly unknown[]): Tensor {
  const a = readResize(given);
  checkImage("resize", a.image);
  if (a.maxSize !== null && typeof a.size !== "number" && a.size.length === 2)
    throw new ArgumentError("resize", "maxSize only with the size of the smaller edge", a.maxSize);
  const [, h, w] = getDimensions(a.image);
  const to = outputSize([h, w], a.size, a.maxSize);
  if (to[0] === h && to[1] === w) return a.image;
  if (to[0] < 1 || to[1] < 1) throw new ArgumentError("resize", "a size that leaves pixels", to);
  const { image, interpolation, antialias } = a;
  // libtorch has kernels for bytes, which round as PIL does.
  const dtypes: readonly DType[] = image.dtype === "uint8" ? ["uint8"] : ["float32", "float64"];
  return scope(() => inFloats(image, dtypes, (batch) => interpolate(batch, to, interpolation, antialias === true)));
}
function interpolate(batch: Tensor, size: readonly [number, number], mode: Interpolation, antialias: boolean): Tensor {
  switch (mode) {
    case "nearest":
      return upsampleNearest2d(batch, [...size]);
    case "nearest-exact":
      return aten["_upsample_nearest_exact2d"]?.(batch, [...size]) as Tensor;
    case "bilinear":
      return antialias
        ? (aten["_upsample_bilinear2d_aa"]?.(batch, [...size], false) as Tensor)
        : upsampleBilinear2d(batch, [...size], false);
    case "bicubic":
      return antialias
        ? (aten["_upsample_bicubic2d_aa"]?.(batch, [...size], false) as Tensor)
        : upsampleBicubic2d(batch, [...size], false);
  }
}

export function resizedCrop(
  image: Tensor,
  top: number,
  left: number,
  height: number,
  width: number,
  size: ImageSize,
  interpolation: Interpolation = "bilinear",
  antialias: boolean | null = true,
): Tensor {
  atMost("resizedCrop", arguments, 8);
  return scope(() => resize(crop(image, top, left, height, width), size, interpolation, null, antialias));
}

// ---------------------------------------------------------------- affine maps
type Matrix = [number, number, number, number, number, number];
const radians = (degrees: number): number => (degrees * Math.PI) / 180;

/** Where each pixel of the result comes from: the inverse of translation · center · rotation, scale and shear · center⁻¹. */
function inverseAffine(
  [cx, cy]: readonly [number, number],
  angle: number,
  [tx, ty]: readonly [number, number],
  scale: number,
  shear: readonly [number, number],
): Matrix {
  const rotation = radians(angle);
  const [sx, sy] = [radians(shear[0]), radians(shear[1])];
  const a = Math.cos(rotation - sy) / Math.cos(sy);
  const b = (-Math.cos(rotation - sy) * Math.tan(sx)) / Math.cos(sy) - Math.sin(rotation);
  const c = Math.sin(rotation - sy) / Math.cos(sy);
  const d = (-Math.sin(rotation - sy) * Math.tan(sx)) / Math.cos(sy) + Math.cos(rotation);
  const m = [d, -b, 0, -c, a, 0].map((x) => x / scale) as Matrix;
  m[2] += m[0] * (-cx - tx) + m[1] * (-cy - ty);
  m[5] += m[3] * (-cx - tx) + m[4] * (-cy - ty);
  m[2] += cx;
  m[5] += cy;
  return m;
}

/** The points of the image that a result of `[oh, ow]` shows, from −1 to 1. */
function affineGrid(image: Tensor, matrix: Matrix, [oh, ow]: readonly [number, number]): Tensor {
  const dtype = floatOf(image);
  const { device } = image;
  const x = linspace(-ow * 0.5 + 0.5, ow * 0.5 + 0.5 - 1, ow, { device })
    .to(dtype)
    .expand([oh, ow]);
  const y = linspace(-oh * 0.5 + 0.5, oh * 0.5 + 0.5 - 1, oh, { device })
    .to(dtype)
    .unsqueeze(-1)
    .expand([oh, ow]);
  const base = stack([x, y, ones([oh, ow], { dtype, device })], -1).view([1, oh * ow, 3]);
  const theta = tensor(matrix, { dtype, device }).reshape([1, 2, 3]);
  const scaled = theta.transpose(1, 2).div(tensor([0.5 * image.size(-1), 0.5 * image.size(-2)], { dtype, device }));
  return base.bmm(scaled).view([1, oh, ow, 2]);
}

/** The image at the points of a grid; `fill` where the grid leaves it. */
function atGrid(image: Tensor, grid: Tensor, mode: "nearest" | "bilinear", fill: Fill | null): Tensor {
  return inFloats(image, [grid.dtype], (batch) => {
    const [n, , h, w] = batch.shape as [number, number, number, number];
    const { dtype, device } = batch;
    const points = n > 1 ? grid.expand([n, -1, -1, -1]) : grid;
    const sample = (pixels: Tensor): Tensor => gridSampler2d(pixels, points, mode === "nearest" ? 1 : 0, 0, false);
    if (fill === null) return sample(batch);
    const both = sample(cat([batch, ones([n, 1, h, w], { dtype, device })], 1));
    const channels = both.size(1) - 1;
    const mask = both.narrow(1, channels, 1);
    const pixels = both.narrow(1, 0, channels);
    const list = typeof fill === "number" ? [fill] : fill;
    const colour = tensor([...list], { dtype, device })
      .view([1, list.length, 1, 1])
      .expandAs(pixels);
    return mode === "nearest"
      ? where(mask.lt(0.5), colour, pixels)
      : pixels.mul(mask).add(mask.neg().add(1).mul(colour));
  });
}

export interface RotateArguments {
  readonly image: Tensor;
  /** Degrees, counter-clockwise. */
  readonly angle: number;
  /** "nearest" (the default) or "bilinear". */
  readonly interpolation?: "nearest" | "bilinear";
  /** Make the result large enough for all of the image. Default false. */
  readonly expand?: boolean;
  /** `[x, y]` in pixels from the upper left. Default: the middle. */
  readonly center?: readonly [x: number, y: number] | null;
  /** The colour outside. Default null: 0. */
  readonly fill?: Fill | null;
}
const point = kinds.such<readonly [number, number]>(
  "two numbers, [x, y]",
  (v) => Array.isArray(v) && v.length === 2 && v.every((x) => typeof x === "number" && Number.isFinite(x)),
);
export const center = kinds.byDefault(null, kinds.orNull(point));
const anImage = kinds.such<Tensor>("a tensor of […, C, H, W]", (v) => typeof v === "object");
const readRotate = signature("rotate", {
  image: anImage,
  angle: kinds.real(),
  interpolation: kinds.byDefault("nearest", gridInterpolation),
  expand: kinds.byDefault(false, kinds.flag),
  center,
  fill: kinds.byDefault(null, kinds.orNull(fillKind)),
} satisfies OptionNames<RotateArguments>);

/** An image turned around a point. */
export function rotate(image: Tensor, angle: number, options?: Omit<RotateArguments, "image" | "angle">): Tensor;
export function rotate(
  image: Tensor,
  angle: number,
  interpolation?: "nearest" | "bilinear",
  expand?: boolean,
  center?: readonly [number, number] | null,
  fill?: Fill | null,
): Tensor;
export function rotate(...given: readonly unknown[]): Tensor {
  const a = readRotate(given);
  checkImage("rotate", a.image);
  const [, h, w] = getDimensions(a.image);
  const at: [number, number] = a.center === null ? [0, 0] : [a.center[0] - w * 0.5, a.center[1] - h * 0.5];
  const matrix = inverseAffine(at, -a.angle, [0, 0], 1, [0, 0]);
  const { image, interpolation, fill } = a;
  return scope(() => {
    const size: [number, number] = a.expand ? expandedSize(matrix, h, w) : [h, w];
    return atGrid(image, affineGrid(image, matrix, size), interpolation, fill);
  });
}
/** Height and width of what holds all of a turned image. */
function expandedSize(matrix: Matrix, h: number, w: number): [height: number, width: number] {
  const corners = tensor([
    [-0.5 * w, -0.5 * h, 1],
    [-0.5 * w, 0.5 * h, 1],
    [0.5 * w, 0.5 * h, 1],
    [0.5 * w, -0.5 * h, 1],
  ]);
  const moved = corners.matmul(tensor(matrix).view([2, 3]).t()).add(tensor([w * 0.5, h * 0.5]));
  // Cut off behind the fourth digit, or 4.0000001 would be 5 pixels.
  const cut = (t: Tensor): Tensor => t.div(1e-4).trunc().mul(1e-4);
  const size = cut(moved.amax([0]))
    .ceil()
    .sub(cut(moved.amin([0])).floor());
  return [Math.trunc(size.at(1).item() as number), Math.trunc(size.at(0).item() as number)];
}

export interface AffineArguments {
  readonly image: Tensor;
  /** Degrees, clockwise. */
  readonly angle: number;
  /** Pixels, `[x, y]`. */
  readonly translate: readonly [x: number, y: number];
  /** > 0. */
  readonly scale: number;
  /** Degrees: along x, or along x and y. */
  readonly shear: number | readonly [number] | readonly [x: number, y: number];
  readonly interpolation?: "nearest" | "bilinear";
  readonly fill?: Fill | null;
  readonly center?: readonly [x: number, y: number] | null;
}
const readAffine = signature("affine", {
  image: anImage,
  angle: kinds.real(),
  translate: point,
  scale: kinds.real("(0, ∞)"),
  shear: kinds.either<number, readonly [number] | readonly [number, number]>(
    kinds.real(),
    kinds.such("a list of 1 or 2 numbers", (v) => Array.isArray(v) && (v.length === 1 || v.length === 2)),
  ),
  interpolation: kinds.byDefault("nearest", gridInterpolation),
  fill: kinds.byDefault(null, kinds.orNull(fillKind)),
  center,
} satisfies OptionNames<AffineArguments>);

/** An image rotated, moved, scaled and sheared. */
export function affine(...given: readonly [Omit<AffineArguments, never>]): Tensor;
export function affine(
  image: Tensor,
  angle: number,
  translate: readonly [number, number],
  scale: number,
  shear: AffineArguments["shear"],
  options?: Pick<AffineArguments, "interpolation" | "fill" | "center">,
): Tensor;
export function affine(...given: readonly unknown[]): Tensor {
  const a = readAffine(given);
  checkImage("affine", a.image);
  const [, h, w] = getDimensions(a.image);
  const at: [number, number] = a.center === null ? [0, 0] : [a.center[0] - w * 0.5, a.center[1] - h * 0.5];
  const shear: [number, number] =
    typeof a.shear === "number" ? [a.shear, 0] : [a.shear[0], a.shear.length === 1 ? a.shear[0] : a.shear[1]];
  const matrix = inverseAffine(at, a.angle, a.translate, a.scale, shear);
  const { image, interpolation, fill } = a;
  return scope(() => atGrid(image, affineGrid(image, matrix, [h, w]), interpolation, fill));
}

/** Each pixel's distance from the middle, −1 to 1, moved by `displacement` `[1, H, W, 2]`. */
export function elasticTransform(
  image: Tensor,
  displacement: Tensor,
  interpolation: "nearest" | "bilinear" = "bilinear",
  fill: Fill | null = null,
): Tensor {
  atMost("elasticTransform", arguments, 4);
  checkImage("elasticTransform", image);
  checkArguments(
    "elasticTransform",
    { displacement },
    { displacement: kinds.such<Tensor>("a tensor of [1, H, W, 2]", isTensor) },
  );
  const [, h, w] = getDimensions(image);
  return scope(() => {
    const [ys, xs] = [h, w].map((n) => linspace((-n + 1) / n, (n - 1) / n, n)) as [Tensor, Tensor];
    const identity = stack([xs.expand([h, w]), ys.unsqueeze(-1).expand([h, w])], -1).unsqueeze(0);
    return atGrid(image, identity.to(image.device).add(displacement.to(image.device)), interpolation, fill);
  });
}
