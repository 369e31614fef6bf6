/** Transforms of where pixels are. */
import {
  checkArguments,
  atMost,
  ArgumentError,
  kinds,
  log,
  scope,
  signature,
  tensor,
  type Call,
  type OptionNames,
  type Tensor,
} from "@nbit/torch";
import * as F from "./functional/geometry.js";
import {
  bothSizes,
  fillKind,
  getDimensions,
  gridInterpolation,
  imageSize,
  interpolationKind,
  round,
  type Fill,
  type ImageSize,
  type Interpolation,
} from "./functional/image.js";
import {
  checkRange,
  expUniform,
  happens,
  integer,
  probability,
  range,
  Transform,
  uniform,
  type Range,
} from "./transform.js";

const pair = kinds.such<readonly [number, number]>(
  "two numbers",
  (v) => Array.isArray(v) && v.length === 2 && v.every((n) => typeof n === "number"),
);

export interface ResizeArguments {
  /** Of the smaller edge, the other in proportion; or `[height, width]`. */
  readonly size: ImageSize;
  /** Default "bilinear". */
  readonly interpolation?: Interpolation;
  readonly maxSize?: number | null;
  /** Default true: read every pixel that a new one covers. */
  readonly antialias?: boolean | null;
}
const readResize = signature("Resize", {
  size: imageSize,
  interpolation: kinds.byDefault("bilinear", interpolationKind),
  maxSize: kinds.byDefault(null, kinds.orNull(kinds.whole("[1, ∞)"))),
  antialias: kinds.byDefault(true, kinds.orNull(kinds.flag)),
} satisfies OptionNames<ResizeArguments>);
type ResizeCall = Call<
  ResizeArguments,
  ["size", "interpolation", "maxSize", "antialias"],
  [size: ImageSize, interpolation?: Interpolation, maxSize?: number | null, antialias?: boolean | null]
>;
/** Another size. The numbers are those of `interpolate`, with antialias, as torchvision's of tensors. */
export class Resize extends Transform {
  readonly size: ImageSize;
  readonly interpolation: Interpolation;
  readonly maxSize: number | null;
  readonly antialias: boolean | null;
  constructor(...given: ResizeCall) {
    super();
    const a = readResize(given, new.target.name);
    this.size = a.size;
    this.interpolation = a.interpolation;
    this.maxSize = a.maxSize;
    this.antialias = a.antialias;
  }
  forward(image: Tensor): Tensor {
    atMost(`${this.constructor.name}.forward`, arguments, 1);
    return F.resize(image, this.size, this.interpolation, this.maxSize, this.antialias);
  }
}

export interface CropArguments {
  readonly size: ImageSize;
}
const readSize = signature("CenterCrop", { size: imageSize } satisfies OptionNames<CropArguments>);
type SizeCall = Call<CropArguments, ["size"], [size: ImageSize]>;
/** The middle; 0 around it where the image is smaller. */
export class CenterCrop extends Transform {
  readonly size: readonly [height: number, width: number];
  constructor(...given: SizeCall) {
    super();
    this.size = bothSizes(readSize(given, new.target.name).size);
  }
  forward(image: Tensor): Tensor {
    atMost(`${this.constructor.name}.forward`, arguments, 1);
    return F.centerCrop(image, this.size);
  }
}
/** Four corners and the middle, in a list. */
export class FiveCrop extends Transform<Tensor, Tensor[]> {
  readonly size: readonly [height: number, width: number];
  constructor(...given: SizeCall) {
    super();
    this.size = bothSizes(readSize(given, new.target.name).size);
  }
  forward(image: Tensor): Tensor[] {
    atMost(`${this.constructor.name}.forward`, arguments, 1);
    return F.fiveCrop(image, this.size);
  }
}
export interface TenCropArguments extends CropArguments {
  /** Default false: the other five are of the image mirrored left to right. */
  readonly verticalFlip?: boolean;
}
const readTen = signature("TenCrop", {
  size: imageSize,
  verticalFlip: kinds.byDefault(false, kinds.flag),
} satisfies OptionNames<TenCropArguments>);
export class TenCrop extends Transform<Tensor, Tensor[]> {
  readonly size: readonly [height: number, width: number];
  readonly verticalFlip: boolean;
  constructor(...given: Call<TenCropArguments, ["size", "verticalFlip"], [size: ImageSize, verticalFlip?: boolean]>) {
    super();
    const a = readTen(given, new.target.name);
    this.size = bothSizes(a.size);
    this.verticalFlip = a.verticalFlip;
  }
  forward(image: Tensor): Tensor[] {
    atMost(`${this.constructor.name}.forward`, arguments, 1);
    return F.tenCrop(image, this.size, this.verticalFlip);
  }
}

export interface PadArguments {
  /** All sides; left-right and top-bottom; or left, top, right, bottom. */
  readonly padding: F.Padding;
  /** Default 0. */
  readonly fill?: number;
  /** Default "constant". */
  readonly paddingMode?: F.PaddingMode;
}
const readPad = signature("Pad", {
  padding: F.paddingKind,
  fill: kinds.byDefault(0, kinds.real()),
  paddingMode: kinds.byDefault("constant", F.paddingMode),
} satisfies OptionNames<PadArguments>);
export class Pad extends Transform {
  readonly padding: F.Padding;
  readonly fill: number;
  readonly paddingMode: F.PaddingMode;
  constructor(
    ...given: Call<
      PadArguments,
      ["padding", "fill", "paddingMode"],
      [padding: F.Padding, fill?: number, paddingMode?: F.PaddingMode]
    >
  ) {
    super();
    const a = readPad(given, new.target.name);
    this.padding = a.padding;
    this.fill = a.fill;
    this.paddingMode = a.paddingMode;
  }
  forward(image: Tensor): Tensor {
    atMost(`${this.constructor.name}.forward`, arguments, 1);
    return F.pad(image, this.padding, this.fill, this.paddingMode);
  }
}

export interface RandomCropArguments {
  readonly size: ImageSize;
  readonly padding?: F.Padding | null;
  /** Pad images that are smaller. Default false. */
  readonly padIfNeeded?: boolean;
  readonly fill?: number;
  readonly paddingMode?: F.PaddingMode;
}
const readCrop = signature("RandomCrop", {
  size: imageSize,
  padding: kinds.byDefault(null, kinds.orNull(F.paddingKind)),
  padIfNeeded: kinds.byDefault(false, kinds.flag),
  fill: kinds.byDefault(0, kinds.real()),
  paddingMode: kinds.byDefault("constant", F.paddingMode),
} satisfies OptionNames<RandomCropArguments>);
type RandomCropCall = Call<
  RandomCropArguments,
  ["size", "padding", "padIfNeeded", "fill", "paddingMode"],
  [size: ImageSize, padding?: F.Padding | null, padIfNeeded?: boolean, fill?: number, paddingMode?: F.PaddingMode]
>;
/** A part at a place that is drawn. */
export class RandomCrop extends Transform {
  readonly size: readonly [height: number, width: number];
  readonly padding: F.Padding | null;
  readonly padIfNeeded: boolean;
  readonly fill: number;
  readonly paddingMode: F.PaddingMode;
  constructor(...given: RandomCropCall) {
    super();
    const a = readCrop(given, new.target.name);
    this.size = bothSizes(a.size);
    this.padding = a.padding;
    this.padIfNeeded = a.padIfNeeded;
    this.fill = a.fill;
    this.paddingMode = a.paddingMode;
  }
  /** Top, left, height and width. */
  static getParams(
    image: Tensor,
    outputSize: readonly [height: number, width: number],
  ): [top: number, left: number, height: number, width: number] {
    atMost("RandomCrop.getParams", arguments, 2);
    const [, h, w] = getDimensions(image);
    checkArguments("RandomCrop.getParams", { outputSize }, { outputSize: pair });
    const [th, tw] = outputSize;
    if (h < th || w < tw) throw new ArgumentError("RandomCrop", `an image of at least [${th}, ${tw}]`, image.shape);
    if (w === tw && h === th) return [0, 0, h, w];
    const top = integer(0, h - th + 1);
    return [top, integer(0, w - tw + 1), th, tw];
  }
  forward(image: Tensor): Tensor {
    atMost(`${this.constructor.name}.forward`, arguments, 1);
    return scope(() => {
      const pad = (img: Tensor, padding: F.Padding): Tensor => F.pad(img, padding, this.fill, this.paddingMode);
      let padded = this.padding === null ? image : pad(image, this.padding);
      const [, height, width] = getDimensions(padded);
      const [th, tw] = this.size;
      if (this.padIfNeeded && width < tw) padded = pad(padded, [tw - width, 0]);
      if (this.padIfNeeded && height < th) padded = pad(padded, [0, th - height]);
      return F.crop(padded, ...RandomCrop.getParams(padded, this.size));
    });
  }
}

export interface ProbabilityArguments {
  /** How often. Default 0.5. */
  readonly p?: number;
}
const readP = signature("RandomHorizontalFlip", {
  p: kinds.byDefault(0.5, probability),
} satisfies OptionNames<ProbabilityArguments>);
type ProbabilityCall = Call<ProbabilityArguments, ["p"], [p?: number]>;
export class RandomHorizontalFlip extends Transform {
  readonly p: number;
  constructor(...given: ProbabilityCall) {
    super();
    this.p = readP(given, new.target.name).p;
  }
  forward(image: Tensor): Tensor {
    atMost(`${this.constructor.name}.forward`, arguments, 1);
    return happens(this.p) ? F.hflip(image) : image;
  }
}
export class RandomVerticalFlip extends Transform {
  readonly p: number;
  constructor(...given: ProbabilityCall) {
    super();
    this.p = readP(given, new.target.name).p;
  }
  forward(image: Tensor): Tensor {
    atMost(`${this.constructor.name}.forward`, arguments, 1);
    return happens(this.p) ? F.vflip(image) : image;
  }
}

export interface RandomResizedCropArguments {
  readonly size: ImageSize;
  /** Share of the image's area. Default [0.08, 1]. */
  readonly scale?: Range;
  /** Width over height. Default [3/4, 4/3]. */
  readonly ratio?: Range;
  readonly interpolation?: Interpolation;
  readonly antialias?: boolean | null;
}
const readResizedCrop = signature("RandomResizedCrop", {
  size: imageSize,
  scale: kinds.byDefault([0.08, 1], range),
  ratio: kinds.byDefault([3 / 4, 4 / 3], range),
  interpolation: kinds.byDefault("bilinear", interpolationKind),
  antialias: kinds.byDefault(true, kinds.orNull(kinds.flag)),
} satisfies OptionNames<RandomResizedCropArguments>);
type RandomResizedCropCall = Call<
  RandomResizedCropArguments,
  ["size", "scale", "ratio", "interpolation", "antialias"],
  [size: ImageSize, scale?: Range, ratio?: Range, interpolation?: Interpolation, antialias?: boolean | null]
>;
/** A part of a size, shape and place that are drawn, brought to one size. */
export class RandomResizedCrop extends Transform {
  readonly size: readonly [height: number, width: number];
  readonly scale: Range;
  readonly ratio: Range;
  readonly interpolation: Interpolation;
  readonly antialias: boolean | null;
  constructor(...given: RandomResizedCropCall) {
    super();
    const a = readResizedCrop(given, new.target.name);
    this.size = bothSizes(a.size);
    checkRange("RandomResizedCrop", "scale", a.scale);
    checkRange("RandomResizedCrop", "ratio", a.ratio);
    this.scale = a.scale;
    this.ratio = a.ratio;
    this.interpolation = a.interpolation;
    this.antialias = a.antialias;
  }
  /** Top, left, height and width; after ten draws that do not fit, the middle. */
  static getParams(
    image: Tensor,
    scale: Range,
    ratio: Range,
  ): [top: number, left: number, height: number, width: number] {
    atMost("RandomResizedCrop.getParams", arguments, 3);
    const [, height, width] = getDimensions(image);
    checkArguments("RandomResizedCrop.getParams", { scale, ratio }, { scale: pair, ratio: pair });
    const [low, high] = logarithms(ratio);
    for (let i = 0; i < 10; i++) {
      const area = height * width * uniform(scale[0], scale[1]);
      const aspect = expUniform(low, high);
      const w = round(Math.sqrt(area * aspect));
      const h = round(Math.sqrt(area / aspect));
      if (w <= 0 || w > width || h <= 0 || h > height) continue;
      const top = integer(0, height - h + 1);
      return [top, integer(0, width - w + 1), h, w];
    }
    const least = Math.min(...ratio);
    const most = Math.max(...ratio);
    const is = width / height;
    const w = is > most ? round(height * most) : width;
    const h = is < least ? round(width / least) : height;
    return [Math.floor((height - h) / 2), Math.floor((width - w) / 2), h, w];
  }
  forward(image: Tensor): Tensor {
    atMost(`${this.constructor.name}.forward`, arguments, 1);
    const part = RandomResizedCrop.getParams(image, this.scale, this.ratio);
    return F.resizedCrop(image, ...part, this.size, this.interpolation, this.antialias);
  }
}
/** In float32, as torchvision takes them. */
export const logarithms = ([low, high]: Range): [number, number] =>
  scope(() => log(tensor([low, high])).tolist() as [number, number]);

type Angles = number | Range;
const angles = kinds.either<number, Range>(kinds.real("[0, ∞)"), range);
const both = (degrees: Angles): Range => (typeof degrees === "number" ? [-degrees, degrees] : degrees);
const fillFor = (fill: Fill, image: Tensor): readonly number[] =>
  typeof fill === "number" ? new Array<number>(getDimensions(image)[0]).fill(fill) : fill;

export interface RandomRotationArguments {
  /** From −degrees to degrees; or `[least, most]`. */
  readonly degrees: Angles;
  /** Default "nearest". */
  readonly interpolation?: "nearest" | "bilinear";
  readonly expand?: boolean;
  readonly center?: readonly [x: number, y: number] | null;
  /** Default 0. */
  readonly fill?: Fill;
}
const readRotation = signature("RandomRotation", {
  degrees: angles,
  interpolation: kinds.byDefault("nearest", gridInterpolation),
  expand: kinds.byDefault(false, kinds.flag),
  center: F.center,
  fill: kinds.byDefault(0, fillKind),
} satisfies OptionNames<RandomRotationArguments>);
type RotationCall = Call<
  RandomRotationArguments,
  ["degrees", "interpolation", "expand", "center", "fill"],
  [
    degrees: Angles,
    interpolation?: "nearest" | "bilinear",
    expand?: boolean,
    center?: readonly [number, number] | null,
    fill?: Fill,
  ]
>;
/** Turned by an angle that is drawn. */
export class RandomRotation extends Transform {
  readonly degrees: Range;
  readonly interpolation: "nearest" | "bilinear";
  readonly expand: boolean;
  readonly center: readonly [number, number] | null;
  readonly fill: Fill;
  constructor(...given: RotationCall) {
    super();
    const a = readRotation(given, new.target.name);
    this.degrees = both(a.degrees);
    this.interpolation = a.interpolation;
    this.expand = a.expand;
    this.center = a.center;
    this.fill = a.fill;
  }
  static getParams(degrees: Range): number {
    atMost("RandomRotation.getParams", arguments, 1);
    checkArguments("RandomRotation.getParams", { degrees }, { degrees: pair });
    return uniform(degrees[0], degrees[1]);
  }
  forward(image: Tensor): Tensor {
    atMost(`${this.constructor.name}.forward`, arguments, 1);
    const angle = RandomRotation.getParams(this.degrees);
    return F.rotate(image, angle, this.interpolation, this.expand, this.center, fillFor(this.fill, image));
  }
}

export interface RandomAffineArguments {
  readonly degrees: Angles;
  /** Largest shares of width and height that the image is moved by. */
  readonly translate?: Range | null;
  readonly scale?: Range | null;
  /** Degrees along x, from −shear to shear; `[least, most]`; or least and most along x, then along y. */
  readonly shear?: number | Range | readonly [number, number, number, number] | null;
  readonly interpolation?: "nearest" | "bilinear";
  readonly fill?: Fill;
  readonly center?: readonly [x: number, y: number] | null;
}
const readAffine = signature("RandomAffine", {
  degrees: angles,
  translate: kinds.byDefault(
    null,
    kinds.orNull(
      kinds.such<Range>(
        "[x, y], each from 0 to 1",
        (v) => range.accepts(v) && (v as Range).every((x) => x >= 0 && x <= 1),
      ),
    ),
  ),
  scale: kinds.byDefault(
    null,
    kinds.orNull(
      kinds.such<Range>("[least, most], both > 0", (v) => range.accepts(v) && (v as Range).every((x) => x > 0)),
    ),
  ),
  shear: kinds.byDefault(
    null,
    kinds.orNull(
      kinds.either<number, readonly number[]>(
        kinds.real("[0, ∞)"),
        kinds.such("a list of 2 or 4 numbers", (v) => Array.isArray(v) && (v.length === 2 || v.length === 4)),
      ),
    ),
  ),
  interpolation: kinds.byDefault("nearest", gridInterpolation),
  fill: kinds.byDefault(0, fillKind),
  center: F.center,
} satisfies OptionNames<RandomAffineArguments>);
type RandomAffineCall = Call<
  RandomAffineArguments,
  ["degrees", "translate", "scale", "shear", "interpolation", "fill", "center"],
  [
    degrees: Angles,
    translate?: Range | null,
    scale?: Range | null,
    shear?: number | Range | readonly [number, number, number, number] | null,
    interpolation?: "nearest" | "bilinear",
    fill?: Fill,
    center?: readonly [number, number] | null,
  ]
>;
/** Turned, moved, scaled and sheared by amounts that are drawn. */
export class RandomAffine extends Transform {
  readonly degrees: Range;
  readonly translate: Range | null;
  readonly scale: Range | null;
  readonly shear: readonly number[] | null;
  readonly interpolation: "nearest" | "bilinear";
  readonly fill: Fill;
  readonly center: readonly [number, number] | null;
  constructor(...given: RandomAffineCall) {
    super();
    const a = readAffine(given, new.target.name);
    this.degrees = both(a.degrees);
    this.translate = a.translate;
    this.scale = a.scale;
    this.shear = typeof a.shear === "number" ? [-a.shear, a.shear] : a.shear;
    this.interpolation = a.interpolation;
    this.fill = a.fill;
    this.center = a.center;
  }
  forward(image: Tensor): Tensor {
    atMost(`${this.constructor.name}.forward`, arguments, 1);
    const [, height, width] = getDimensions(image);
    const angle = uniform(...this.degrees);
    const moved: [number, number] = [0, 0];
    if (this.translate !== null) {
      const [dx, dy] = [this.translate[0] * width, this.translate[1] * height];
      moved[0] = round(uniform(-dx, dx));
      moved[1] = round(uniform(-dy, dy));
    }
    const scale = this.scale === null ? 1 : uniform(...this.scale);
    const [x0, x1, y0, y1] = this.shear ?? [];
    const shear: [number, number] = [0, 0];
    if (x0 !== undefined && x1 !== undefined) shear[0] = uniform(x0, x1);
    if (y0 !== undefined && y1 !== undefined) shear[1] = uniform(y0, y1);
    return F.affine(image, angle, moved, scale, shear, {
      interpolation: this.interpolation,
      fill: fillFor(this.fill, image),
      center: this.center,
    });
  }
}
