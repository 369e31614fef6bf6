/** Transforms made of others, and the plainest. */
import {
  atMost,
  kinds,
  randperm,
  rand,
  scope,
  signature,
  type Call,
  type DType,
  type OptionNames,
  type Tensor,
  dtypeKind,
  tensor,
} from "@nbit/torch";
import { checkImage, convertImageDtype } from "./functional/image.js";
import { normalize } from "./functional/color.js";
import { apply, probability, stepKind, Transform, type Step } from "./transform.js";

const steps = kinds.listOf(stepKind);
export interface ComposeArguments {
  readonly transforms: readonly Step[];
}
const readCompose = signature("Compose", { transforms: steps } satisfies OptionNames<ComposeArguments>);
type ComposeCall = Call<ComposeArguments, ["transforms"], [transforms: readonly Step[]]>;

/**
 * One transform after the other; what is made on the way is freed. What goes in and comes out is the caller's to say, since steps may make lists, numbers
 * or anything of an image.
 * @example new Compose([new Resize(256), new CenterCrop(224), new ToTensor()])
 */
export class Compose<I = Tensor, O = Tensor> extends Transform<I, O> {
  readonly transforms: readonly Step[];
  constructor(...given: ComposeCall) {
    super();
    this.transforms = readCompose(given, new.target.name).transforms;
  }
  forward(image: I): O {
    atMost(`${this.constructor.name}.forward`, arguments, 1);
    return scope(() => this.transforms.reduce<unknown>((value, step) => apply(step, value), image)) as O;
  }
}

/**
 * uint8 `[C, H, W]` from 0 to 255 becomes the default float dtype from 0 to 1; other dtypes stay. (Images are tensors of
 * that shape here from the beginning, so nothing is moved.)
 */
export class ToTensor extends Transform {
  constructor(...given: readonly []) {
    super();
    readNone(given, new.target.name);
  }
  forward(image: Tensor): Tensor {
    atMost(`${this.constructor.name}.forward`, arguments, 1);
    checkImage("ToTensor", image);
    return image.dtype === "uint8" ? convertImageDtype(image) : image;
  }
}
const readNone = signature("transform", {});
/** The image as it is: for pipelines that come from torchvision. */
export class PILToTensor extends Transform {
  constructor(...given: readonly []) {
    super();
    readNone(given, new.target.name);
  }
  forward(image: Tensor): Tensor {
    atMost(`${this.constructor.name}.forward`, arguments, 1);
    return image;
  }
}

export interface ConvertImageDtypeArguments {
  readonly dtype: DType;
}
const readConvert = signature("ConvertImageDtype", {
  dtype: dtypeKind,
} satisfies OptionNames<ConvertImageDtypeArguments>);
/** Another dtype, with its range: see `functional.convertImageDtype`. */
export class ConvertImageDtype extends Transform {
  readonly dtype: DType;
  constructor(...given: Call<ConvertImageDtypeArguments, ["dtype"], [dtype: DType]>) {
    super();
    this.dtype = readConvert(given, new.target.name).dtype;
  }
  forward(image: Tensor): Tensor {
    atMost(`${this.constructor.name}.forward`, arguments, 1);
    return convertImageDtype(image, this.dtype);
  }
}

export interface LambdaArguments<I, O> {
  readonly lambd: (value: I) => O;
}
const readLambda = signature("Lambda", { lambd: kinds.callable });
/** A function as a transform. For workers of a loader it must be one that a module exports. */
export class Lambda<I = Tensor, O = Tensor> extends Transform<I, O> {
  readonly lambd: (value: I) => O;
  constructor(...given: Call<LambdaArguments<I, O>, ["lambd"], [lambd: (value: I) => O]>) {
    super();
    this.lambd = readLambda(given, new.target.name).lambd as (value: I) => O;
  }
  forward(value: I): O {
    atMost(`${this.constructor.name}.forward`, arguments, 1);
    return this.lambd(value);
  }
}

const numbers = kinds.listOf(kinds.real());
export interface NormalizeArguments {
  /** For each channel. */
  readonly mean: readonly number[];
  readonly std: readonly number[];
  /** Write into the image that is given. Default false. */
  readonly inplace?: boolean;
}
const readNormalize = signature("Normalize", {
  mean: numbers,
  std: numbers,
  inplace: kinds.byDefault(false, kinds.flag),
} satisfies OptionNames<NormalizeArguments>);
type NormalizeCall = Call<
  NormalizeArguments,
  ["mean", "std", "inplace"],
  [mean: readonly number[], std: readonly number[], inplace?: boolean]
>;
/** `(image − mean) / std`, channel by channel, of floats. */
export class Normalize extends Transform {
  readonly mean: readonly number[];
  readonly std: readonly number[];
  readonly inplace: boolean;
  constructor(...given: NormalizeCall) {
    super();
    const a = readNormalize(given, new.target.name);
    this.mean = a.mean;
    this.std = a.std;
    this.inplace = a.inplace;
  }
  forward(image: Tensor): Tensor {
    atMost(`${this.constructor.name}.forward`, arguments, 1);
    return normalize(image, this.mean, this.std, this.inplace);
  }
}

export interface RandomApplyArguments extends ComposeArguments {
  /** How often. Default 0.5. */
  readonly p?: number;
}
const readApply = signature("RandomApply", {
  transforms: steps,
  p: kinds.byDefault(0.5, probability),
} satisfies OptionNames<RandomApplyArguments>);
/** All of the transforms, or none. */
export class RandomApply extends Transform {
  readonly transforms: readonly Step[];
  readonly p: number;
  constructor(...given: Call<RandomApplyArguments, ["transforms", "p"], [transforms: readonly Step[], p?: number]>) {
    super();
    const a = readApply(given, new.target.name);
    this.transforms = a.transforms;
    this.p = a.p;
  }
  forward(image: Tensor): Tensor {
    atMost(`${this.constructor.name}.forward`, arguments, 1);
    // torchvision asks whether p < the draw, so that an equal one counts.
    const draw = scope(() => rand([1]).item() as number);
    if (Math.fround(this.p) < draw) return image;
    return scope(() => this.transforms.reduce<unknown>((value, step) => apply(step, value), image)) as Tensor;
  }
}

export interface RandomChoiceArguments extends ComposeArguments {
  /** How often each, in any unit. Default: all alike. */
  readonly p?: readonly number[] | null;
}
const readChoice = signature("RandomChoice", {
  transforms: steps,
  p: kinds.byDefault(null, kinds.orNull(kinds.listOf(kinds.real("[0, ∞)")))),
} satisfies OptionNames<RandomChoiceArguments>);
/** One of the transforms. (torchvision draws it by Python's generator: here by the default one.) */
export class RandomChoice extends Transform {
  readonly transforms: readonly Step[];
  readonly p: readonly number[] | null;
  constructor(
    ...given: Call<
      RandomChoiceArguments,
      ["transforms", "p"],
      [transforms: readonly Step[], p?: readonly number[] | null]
    >
  ) {
    super();
    const a = readChoice(given, new.target.name);
    this.transforms = a.transforms;
    this.p = a.p;
  }
  forward(image: Tensor): Tensor {
    atMost(`${this.constructor.name}.forward`, arguments, 1);
    const weights = this.p ?? this.transforms.map(() => 1);
    const at = scope(() =>
      Number(
        tensor([...weights])
          .multinomial(1)
          .item(),
      ),
    );
    return apply(this.transforms[at] as Step, image) as Tensor;
  }
}
/** All of the transforms, in an order that is drawn. (torchvision draws it by Python's generator.) */
export class RandomOrder extends Transform {
  readonly transforms: readonly Step[];
  constructor(...given: ComposeCall) {
    super();
    this.transforms = readCompose(given, new.target.name).transforms;
  }
  forward(image: Tensor): Tensor {
    atMost(`${this.constructor.name}.forward`, arguments, 1);
    const order = scope(() => randperm(this.transforms.length).tolist() as (number | bigint)[]);
    return scope(() =>
      order.reduce<unknown>((value, i) => apply(this.transforms[Number(i)] as Step, value), image),
    ) as Tensor;
  }
}
