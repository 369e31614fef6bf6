/** Transforms of what pixels are. */
import {
  atMost,
  ArgumentError,
  empty,
  kinds,
  randperm,
  scope,
  signature,
  tensor,
  type Call,
  type OptionNames,
  type Tensor,
} from "@nbit/torch";
import * as F from "./functional/color.js";
import { bothSizes, getDimensions, round, type ImageSize } from "./functional/image.js";
import { logarithms } from "./geometry.js";
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

/** Around 1 (around 0 for the hue) by so much; or `[least, most]`. */
export type Jitter = number | Range;
const jitter = kinds.either<number, Range>(kinds.real("[0, ∞)"), range);
export interface ColorJitterArguments {
  readonly brightness?: Jitter;
  readonly contrast?: Jitter;
  readonly saturation?: Jitter;
  /** At most 0.5. */
  readonly hue?: Jitter;
}
const readJitter = signature("ColorJitter", {
  brightness: kinds.byDefault(0, jitter),
  contrast: kinds.byDefault(0, jitter),
  saturation: kinds.byDefault(0, jitter),
  hue: kinds.byDefault(0, jitter),
} satisfies OptionNames<ColorJitterArguments>);

/** What is drawn from; null where nothing would change. */
function spread(name: string, given: Jitter, center: number, [low, high]: Range): Range | null {
  const [a, b] = typeof given === "number" ? [center - given, center + given] : given;
  const least = typeof given === "number" && center === 1 ? Math.max(a, 0) : a;
  if (!(low <= least && least <= b && b <= high))
    throw new ArgumentError("ColorJitter", `${name} to be from ${low} to ${high}, the least first`, given);
  return least === center && b === center ? null : [least, b];
}

/** Brightness, contrast, saturation and hue changed by factors that are drawn, in an order that is drawn. */
export class ColorJitter extends Transform {
  readonly brightness: Range | null;
  readonly contrast: Range | null;
  readonly saturation: Range | null;
  readonly hue: Range | null;
  constructor(
    ...given: Call<
      ColorJitterArguments,
      ["brightness", "contrast", "saturation", "hue"],
      [brightness?: Jitter, contrast?: Jitter, saturation?: Jitter, hue?: Jitter]
    >
  ) {
    super();
    const a = readJitter(given, new.target.name);
    this.brightness = spread("brightness", a.brightness, 1, [0, Infinity]);
    this.contrast = spread("contrast", a.contrast, 1, [0, Infinity]);
    this.saturation = spread("saturation", a.saturation, 1, [0, Infinity]);
    this.hue = spread("hue", a.hue, 0, [-0.5, 0.5]);
  }
  forward(image: Tensor): Tensor {
    atMost(`${this.constructor.name}.forward`, arguments, 1);
    const order = scope(() => (randperm(4).tolist() as (number | bigint)[]).map(Number));
    const factors = [this.brightness, this.contrast, this.saturation, this.hue].map((r) =>
      r === null ? null : uniform(...r),
    );
    const change = [F.adjustBrightness, F.adjustContrast, F.adjustSaturation, F.adjustHue];
    return scope(() =>
      order.reduce((img, i) => {
        const factor = factors[i] ?? null;
        return factor === null ? img : (change[i] as typeof F.adjustHue)(img, factor);
      }, image),
    );
  }
}

export interface GrayscaleArguments {
  /** 1 (the default) or 3. */
  readonly numOutputChannels?: number;
}
const readGrey = signature("Grayscale", {
  numOutputChannels: kinds.byDefault(1, kinds.oneOf<number>(1, 3)),
} satisfies OptionNames<GrayscaleArguments>);
export class Grayscale extends Transform {
  readonly numOutputChannels: number;
  constructor(...given: Call<GrayscaleArguments, ["numOutputChannels"], [numOutputChannels?: number]>) {
    super();
    this.numOutputChannels = readGrey(given, new.target.name).numOutputChannels;
  }
  forward(image: Tensor): Tensor {
    atMost(`${this.constructor.name}.forward`, arguments, 1);
    return F.rgbToGrayscale(image, this.numOutputChannels);
  }
}

export interface RandomArguments {
  /** How often. Default 0.5; of RandomGrayscale 0.1. */
  readonly p?: number;
}
type PCall = Call<RandomArguments, ["p"], [p?: number]>;
const half = signature("transform", { p: kinds.byDefault(0.5, probability) } satisfies OptionNames<RandomArguments>);
const tenth = signature("transform", { p: kinds.byDefault(0.1, probability) } satisfies OptionNames<RandomArguments>);

/** Grey, in as many channels. */
export class RandomGrayscale extends Transform {
  readonly p: number;
  constructor(...given: PCall) {
    super();
    this.p = tenth(given, new.target.name).p;
  }
  forward(image: Tensor): Tensor {
    atMost(`${this.constructor.name}.forward`, arguments, 1);
    return happens(this.p) ? F.rgbToGrayscale(image, getDimensions(image)[0]) : image;
  }
}
export class RandomInvert extends Transform {
  readonly p: number;
  constructor(...given: PCall) {
    super();
    this.p = half(given, new.target.name).p;
  }
  forward(image: Tensor): Tensor {
    atMost(`${this.constructor.name}.forward`, arguments, 1);
    return happens(this.p) ? F.invert(image) : image;
  }
}
export class RandomAutocontrast extends Transform {
  readonly p: number;
  constructor(...given: PCall) {
    super();
    this.p = half(given, new.target.name).p;
  }
  forward(image: Tensor): Tensor {
    atMost(`${this.constructor.name}.forward`, arguments, 1);
    return happens(this.p) ? F.autocontrast(image) : image;
  }
}
export class RandomEqualize extends Transform {
  readonly p: number;
  constructor(...given: PCall) {
    super();
    this.p = half(given, new.target.name).p;
  }
  forward(image: Tensor): Tensor {
    atMost(`${this.constructor.name}.forward`, arguments, 1);
    return happens(this.p) ? F.equalize(image) : image;
  }
}

export interface RandomPosterizeArguments extends RandomArguments {
  /** Bits that are kept. */
  readonly bits: number;
}
const readPosterize = signature("RandomPosterize", {
  bits: kinds.whole("[0, 8]"),
  p: kinds.byDefault(0.5, probability),
} satisfies OptionNames<RandomPosterizeArguments>);
export class RandomPosterize extends Transform {
  readonly bits: number;
  readonly p: number;
  constructor(...given: Call<RandomPosterizeArguments, ["bits", "p"], [bits: number, p?: number]>) {
    super();
    const a = readPosterize(given, new.target.name);
    this.bits = a.bits;
    this.p = a.p;
  }
  forward(image: Tensor): Tensor {
    atMost(`${this.constructor.name}.forward`, arguments, 1);
    return happens(this.p) ? F.posterize(image, this.bits) : image;
  }
}
export interface RandomSolarizeArguments extends RandomArguments {
  readonly threshold: number;
}
const readSolarize = signature("RandomSolarize", {
  threshold: kinds.real(),
  p: kinds.byDefault(0.5, probability),
} satisfies OptionNames<RandomSolarizeArguments>);
export class RandomSolarize extends Transform {
  readonly threshold: number;
  readonly p: number;
  constructor(...given: Call<RandomSolarizeArguments, ["threshold", "p"], [threshold: number, p?: number]>) {
    super();
    const a = readSolarize(given, new.target.name);
    this.threshold = a.threshold;
    this.p = a.p;
  }
  forward(image: Tensor): Tensor {
    atMost(`${this.constructor.name}.forward`, arguments, 1);
    return happens(this.p) ? F.solarize(image, this.threshold) : image;
  }
}
export interface RandomAdjustSharpnessArguments extends RandomArguments {
  readonly sharpnessFactor: number;
}
const readSharpness = signature("RandomAdjustSharpness", {
  sharpnessFactor: kinds.real("[0, ∞)"),
  p: kinds.byDefault(0.5, probability),
} satisfies OptionNames<RandomAdjustSharpnessArguments>);
export class RandomAdjustSharpness extends Transform {
  readonly sharpnessFactor: number;
  readonly p: number;
  constructor(
    ...given: Call<RandomAdjustSharpnessArguments, ["sharpnessFactor", "p"], [sharpnessFactor: number, p?: number]>
  ) {
    super();
    const a = readSharpness(given, new.target.name);
    this.sharpnessFactor = a.sharpnessFactor;
    this.p = a.p;
  }
  forward(image: Tensor): Tensor {
    atMost(`${this.constructor.name}.forward`, arguments, 1);
    return happens(this.p) ? F.adjustSharpness(image, this.sharpnessFactor) : image;
  }
}

export interface GaussianBlurArguments {
  /** Odd; `[x, y]` or one for both. */
  readonly kernelSize: ImageSize;
  /** One, or `[least, most]` to draw from. Default [0.1, 2]. */
  readonly sigma?: number | Range;
}
const readBlur = signature("GaussianBlur", {
  kernelSize: kinds.such<ImageSize>("an odd whole number ≥ 1, or two", (v) =>
    (typeof v === "number" ? [v] : Array.isArray(v) ? v : [0]).every(
      (k) => Number.isSafeInteger(k) && k >= 1 && k % 2 === 1,
    ),
  ),
  sigma: kinds.byDefault([0.1, 2], kinds.either<number, Range>(kinds.real("(0, ∞)"), range)),
} satisfies OptionNames<GaussianBlurArguments>);
export class GaussianBlur extends Transform {
  readonly kernelSize: readonly [x: number, y: number];
  readonly sigma: Range;
  constructor(
    ...given: Call<GaussianBlurArguments, ["kernelSize", "sigma"], [kernelSize: ImageSize, sigma?: number | Range]>
  ) {
    super();
    const a = readBlur(given, new.target.name);
    this.kernelSize = bothSizes(a.kernelSize);
    this.sigma = typeof a.sigma === "number" ? [a.sigma, a.sigma] : a.sigma;
    if (!(this.sigma[0] > 0)) throw new ArgumentError("GaussianBlur", "sigma > 0", a.sigma);
    checkRange("GaussianBlur", "sigma", this.sigma);
  }
  forward(image: Tensor): Tensor {
    atMost(`${this.constructor.name}.forward`, arguments, 1);
    const sigma = uniform(...this.sigma);
    return F.gaussianBlur(image, this.kernelSize, [sigma, sigma]);
  }
}

export interface RandomErasingArguments extends RandomArguments {
  /** Share of the image's area. Default [0.02, 0.33]. */
  readonly scale?: Range;
  /** Height over width. Default [0.3, 3.3]. */
  readonly ratio?: Range;
  /** What takes its place: a number, one for each channel, or "random". Default 0. */
  readonly value?: number | readonly number[] | "random";
  readonly inplace?: boolean;
}
const readErasing = signature("RandomErasing", {
  p: kinds.byDefault(0.5, probability),
  scale: kinds.byDefault(
    [0.02, 0.33],
    kinds.such<Range>(
      "[least, most], from 0 to 1",
      (v) => range.accepts(v) && (v as Range)[0] >= 0 && (v as Range)[1] <= 1,
    ),
  ),
  ratio: kinds.byDefault([0.3, 3.3], range),
  value: kinds.byDefault(
    0,
    kinds.such<number | readonly number[] | "random">(
      'a number, one for each channel, or "random"',
      (v) => v === "random" || (Array.isArray(v) ? v : [v]).every((x) => typeof x === "number"),
    ),
  ),
  inplace: kinds.byDefault(false, kinds.flag),
} satisfies OptionNames<RandomErasingArguments>);
type ErasingCall = Call<
  RandomErasingArguments,
  ["p", "scale", "ratio", "value", "inplace"],
  [p?: number, scale?: Range, ratio?: Range, value?: number | readonly number[] | "random", inplace?: boolean]
>;
/** A rectangle that is drawn is overwritten. Zhong et al., 2017, arXiv:1708.04896. */
export class RandomErasing extends Transform {
  readonly p: number;
  readonly scale: Range;
  readonly ratio: Range;
  readonly value: number | readonly number[] | "random";
  readonly inplace: boolean;
  constructor(...given: ErasingCall) {
    super();
    const a = readErasing(given, new.target.name);
    checkRange("RandomErasing", "scale", a.scale);
    checkRange("RandomErasing", "ratio", a.ratio);
    this.p = a.p;
    this.scale = a.scale;
    this.ratio = a.ratio;
    this.value = a.value;
    this.inplace = a.inplace;
  }
  forward(image: Tensor): Tensor {
    atMost(`${this.constructor.name}.forward`, arguments, 1);
    if (!happens(this.p)) return image;
    const [channels, height, width] = getDimensions(image);
    const { value } = this;
    const values = value === "random" ? null : typeof value === "number" ? [value] : value;
    if (values !== null && values.length !== 1 && values.length !== channels)
      throw new ArgumentError("RandomErasing", `value to be one, or one for each of ${channels} channels`, values);
    const [low, high] = logarithms(this.ratio);
    for (let i = 0; i < 10; i++) {
      const area = height * width * uniform(this.scale[0], this.scale[1]);
      const aspect = expUniform(low, high);
      const h = round(Math.sqrt(area * aspect));
      const w = round(Math.sqrt(area / aspect));
      if (h >= height || w >= width) continue;
      return scope(() => {
        const v = values === null ? empty([channels, h, w]).normal_() : tensor([...values]).view([-1, 1, 1]);
        const top = integer(0, height - h + 1);
        return F.erase(image, top, integer(0, width - w + 1), h, w, v, this.inplace);
      });
    }
    return this.inplace ? image : image.clone();
  }
}
