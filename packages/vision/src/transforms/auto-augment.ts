/** Augmentations that others have searched for: AutoAugment, RandAugment, TrivialAugment. */
import {
  atMost,
  ArgumentError,
  arange,
  kinds,
  linspace,
  rand,
  randint,
  scope,
  signature,
  type Call,
  type OptionNames,
  type Tensor,
} from "@nbit/torch";
import * as C from "./functional/color.js";
import { affine, rotate } from "./functional/geometry.js";
import { fillKind, getDimensions, gridInterpolation, type Fill } from "./functional/image.js";
import { POLICIES } from "./policies.js";
import { integer, Transform } from "./transform.js";

type Mode = "nearest" | "bilinear";
interface How {
  readonly interpolation: Mode;
  readonly fill: readonly number[] | null;
}
const degrees = (slope: number): number => (Math.atan(slope) * 180) / Math.PI;

/** What an operation does to an image at a magnitude. */
const OPERATIONS: Readonly<Record<string, (image: Tensor, magnitude: number, how: How) => Tensor>> = {
  Identity: (image) => image,
  ShearX: (image, m, how) => affine(image, 0, [0, 0], 1, [degrees(m), 0], { ...how, center: [0, 0] }),
  ShearY: (image, m, how) => affine(image, 0, [0, 0], 1, [0, degrees(m)], { ...how, center: [0, 0] }),
  TranslateX: (image, m, how) => affine(image, 0, [Math.trunc(m), 0], 1, [0, 0], how),
  TranslateY: (image, m, how) => affine(image, 0, [0, Math.trunc(m)], 1, [0, 0], how),
  Rotate: (image, m, how) => rotate(image, m, how),
  Brightness: (image, m) => C.adjustBrightness(image, 1 + m),
  Color: (image, m) => C.adjustSaturation(image, 1 + m),
  Contrast: (image, m) => C.adjustContrast(image, 1 + m),
  Sharpness: (image, m) => C.adjustSharpness(image, 1 + m),
  Posterize: (image, m) => C.posterize(image, Math.trunc(m)),
  Solarize: (image, m) => C.solarize(image, m),
  AutoContrast: (image) => C.autocontrast(image),
  Equalize: (image) => C.equalize(image),
  Invert: (image) => C.invert(image),
};
const perform = (name: string, image: Tensor, magnitude: number, how: How): Tensor =>
  scope(() => OPERATIONS[name]?.(image, magnitude, how) ?? image);

/** Magnitudes of an operation, from none to the most; null where it has none. Signed ones go either way. */
interface Levels {
  readonly levels: readonly number[] | null;
  readonly signed: boolean;
}
type Space = Readonly<Record<string, Levels>>;
interface Most {
  readonly shear: number;
  readonly x: number;
  readonly y: number;
  readonly rotate: number;
  readonly blend: number;
  /** Bits that posterizing takes away, in quarters or sixths of the levels. */
  readonly bits: number;
}
function space(bins: number, most: Most): Space {
  const up = (to: number): Levels => ({
    levels: scope(() => linspace(0, to, bins).tolist() as number[]),
    signed: true,
  });
  const down = (levels: readonly number[] | null): Levels => ({ levels, signed: false });
  const bits = scope(
    () =>
      arange(bins, { dtype: "float32" })
        .div((bins - 1) / most.bits)
        .round()
        .tolist() as number[],
  );
  return {
    Identity: down(null),
    ShearX: up(most.shear),
    ShearY: up(most.shear),
    TranslateX: up(most.x),
    TranslateY: up(most.y),
    Rotate: up(most.rotate),
    Brightness: up(most.blend),
    Color: up(most.blend),
    Contrast: up(most.blend),
    Sharpness: up(most.blend),
    Posterize: down(bits.map((b) => 8 - b)),
    Solarize: down(scope(() => linspace(255, 0, bins).tolist() as number[])),
    AutoContrast: down(null),
    Equalize: down(null),
  };
}
const ofImage = (image: Tensor, bins: number): Space => {
  const [, height, width] = getDimensions(image);
  return space(bins, { shear: 0.3, x: (150 / 331) * width, y: (150 / 331) * height, rotate: 30, blend: 0.9, bits: 4 });
};
function howOf(interpolation: Mode, fill: Fill | null, image: Tensor): How {
  const list = typeof fill === "number" ? new Array<number>(getDimensions(image)[0]).fill(fill) : fill;
  return { interpolation, fill: list };
}

/** What was searched on. */
export const AutoAugmentPolicy = { IMAGENET: "imagenet", CIFAR10: "cifar10", SVHN: "svhn" } as const;
export type AutoAugmentPolicy = keyof typeof POLICIES;
export interface AutoAugmentArguments {
  /** Default "imagenet". */
  readonly policy?: AutoAugmentPolicy;
  readonly interpolation?: Mode;
  readonly fill?: Fill | null;
}
const interpolation = kinds.byDefault("nearest", gridInterpolation);
const fill = kinds.byDefault(null, kinds.orNull(fillKind));
const readAuto = signature("AutoAugment", {
  policy: kinds.byDefault("imagenet", kinds.oneOf("imagenet", "cifar10", "svhn")),
  interpolation,
  fill,
} satisfies OptionNames<AutoAugmentArguments>);

/** One of 25 pairs of operations, each with its probability. uint8 images. Cubuk et al., 2018, arXiv:1805.09501. */
export class AutoAugment extends Transform {
  readonly policy: AutoAugmentPolicy;
  readonly interpolation: Mode;
  readonly fill: Fill | null;
  constructor(
    ...given: Call<
      AutoAugmentArguments,
      ["policy", "interpolation", "fill"],
      [policy?: AutoAugmentPolicy, interpolation?: Mode, fill?: Fill | null]
    >
  ) {
    super();
    const a = readAuto(given, new.target.name);
    this.policy = a.policy;
    this.interpolation = a.interpolation;
    this.fill = a.fill;
  }
  forward(image: Tensor): Tensor {
    atMost(`${this.constructor.name}.forward`, arguments, 1);
    const all = POLICIES[this.policy];
    const pair = (all[integer(0, all.length)] as string).split(", ");
    const chances = scope(() => rand([2]).tolist() as number[]);
    const signs = scope(() => (randint(0, 2, [2]).tolist() as (number | bigint)[]).map(Number));
    const known: Space = { ...ofImage(image, 10), Invert: { levels: null, signed: false } };
    const how = howOf(this.interpolation, this.fill, image);
    return scope(() =>
      pair.reduce((img, operation, i) => {
        const [name = "", tenths = "", level = "-"] = operation.split(" ");
        if ((chances[i] as number) > Math.fround(Number(tenths) / 10)) return img;
        const { levels, signed } = known[name] as Levels;
        const magnitude = level === "-" ? 0 : (levels?.[Number(level)] ?? 0);
        return perform(name, img, signed && signs[i] === 0 ? -magnitude : magnitude, how);
      }, image),
    );
  }
}

export interface RandAugmentArguments {
  /** Operations one after the other. Default 2. */
  readonly numOps?: number;
  /** Which level of each. Default 9. */
  readonly magnitude?: number;
  /** Levels in all. Default 31. */
  readonly numMagnitudeBins?: number;
  readonly interpolation?: Mode;
  readonly fill?: Fill | null;
}
const readRand = signature("RandAugment", {
  numOps: kinds.byDefault(2, kinds.whole("[0, ∞)")),
  magnitude: kinds.byDefault(9, kinds.whole("[0, ∞)")),
  numMagnitudeBins: kinds.byDefault(31, kinds.whole("[2, 65536]")),
  interpolation,
  fill,
} satisfies OptionNames<RandAugmentArguments>);
/** Operations that are drawn, all at one magnitude. uint8 images. Cubuk et al., 2019, arXiv:1909.13719. */
export class RandAugment extends Transform {
  readonly numOps: number;
  readonly magnitude: number;
  readonly numMagnitudeBins: number;
  readonly interpolation: Mode;
  readonly fill: Fill | null;
  constructor(
    ...given: Call<
      RandAugmentArguments,
      ["numOps", "magnitude", "numMagnitudeBins", "interpolation", "fill"],
      [numOps?: number, magnitude?: number, numMagnitudeBins?: number, interpolation?: Mode, fill?: Fill | null]
    >
  ) {
    super();
    const a = readRand(given, new.target.name);
    if (a.magnitude >= a.numMagnitudeBins)
      throw new ArgumentError("RandAugment", `magnitude to be below ${a.numMagnitudeBins}, the levels`, a.magnitude);
    this.numOps = a.numOps;
    this.magnitude = a.magnitude;
    this.numMagnitudeBins = a.numMagnitudeBins;
    this.interpolation = a.interpolation;
    this.fill = a.fill;
  }
  forward(image: Tensor): Tensor {
    atMost(`${this.constructor.name}.forward`, arguments, 1);
    const known = ofImage(image, this.numMagnitudeBins);
    const names = Object.keys(known);
    const how = howOf(this.interpolation, this.fill, image);
    return scope(() => {
      let result = image;
      for (let i = 0; i < this.numOps; i++) {
        const name = names[integer(0, names.length)] as string;
        const { levels, signed } = known[name] as Levels;
        const magnitude = levels?.[this.magnitude] ?? 0;
        result = perform(name, result, signed && integer(0, 2) === 1 ? -magnitude : magnitude, how);
      }
      return result;
    });
  }
}

export interface TrivialAugmentWideArguments {
  readonly numMagnitudeBins?: number;
  readonly interpolation?: Mode;
  readonly fill?: Fill | null;
}
const readTrivial = signature("TrivialAugmentWide", {
  numMagnitudeBins: kinds.byDefault(31, kinds.whole("[2, 65536]")),
  interpolation,
  fill,
} satisfies OptionNames<TrivialAugmentWideArguments>);
/** One operation at a magnitude, both drawn. uint8 images. Müller and Hutter, 2021, arXiv:2103.10158. */
export class TrivialAugmentWide extends Transform {
  readonly numMagnitudeBins: number;
  readonly interpolation: Mode;
  readonly fill: Fill | null;
  constructor(
    ...given: Call<
      TrivialAugmentWideArguments,
      ["numMagnitudeBins", "interpolation", "fill"],
      [numMagnitudeBins?: number, interpolation?: Mode, fill?: Fill | null]
    >
  ) {
    super();
    const a = readTrivial(given, new.target.name);
    this.numMagnitudeBins = a.numMagnitudeBins;
    this.interpolation = a.interpolation;
    this.fill = a.fill;
  }
  forward(image: Tensor): Tensor {
    atMost(`${this.constructor.name}.forward`, arguments, 1);
    const most: Most = { shear: 0.99, x: 32, y: 32, rotate: 135, blend: 0.99, bits: 6 };
    const known = space(this.numMagnitudeBins, most);
    const names = Object.keys(known);
    const name = names[integer(0, names.length)] as string;
    const { levels, signed } = known[name] as Levels;
    const magnitude = levels === null ? 0 : (levels[integer(0, levels.length)] as number);
    const how = howOf(this.interpolation, this.fill, image);
    return perform(name, image, signed && integer(0, 2) === 1 ? -magnitude : magnitude, how);
  }
}
