/** MNIST and those of its format. */
import { existsSync } from "node:fs";
import { join } from "node:path";
import {
  atMost,
  ArgumentError,
  Dataset,
  keep,
  kinds,
  loadIdx,
  signature,
  type Call,
  type OptionNames,
  type Tensor,
} from "@nbit/torch";
import { VisionError } from "../errors.js";
import type { Step } from "../transforms/transform.js";
import { sample, transform, type Sample, type VisionArguments } from "./vision.js";

export interface TrainArguments extends VisionArguments {
  /** The images to train with, or those to test with. Default true. */
  readonly train?: boolean;
  /** Must be false: nothing is downloaded. */
  readonly download?: boolean;
}
/** @internal */
export const readTrain = signature("MNIST", {
  root: kinds.filled,
  train: kinds.byDefault(true, kinds.flag),
  transform,
  targetTransform: transform,
  download: kinds.byDefault(
    false,
    kinds.such<boolean>("false: put the data set's files below root yourself", (v) => v === false),
  ),
} satisfies OptionNames<TrainArguments>);
export type TrainCall = Call<
  TrainArguments,
  ["root", "train", "transform", "targetTransform", "download"],
  [root: string, train?: boolean, transform?: Step | null, targetTransform?: Step | null, download?: boolean]
>;

/**
 * Handwritten digits, from the original files in `root/MNIST/raw`, as they are or with `.gz`. Element i is an image,
 * uint8 `[1, 28, 28]`, or what `transform` makes of it, and its class.
 *
 * @throws {VisionError} `VISION_NOT_FOUND` with the files that were looked for.
 */
export class MNIST extends Dataset<Sample> {
  static readonly classes: readonly string[] = [
    "zero",
    "one",
    "two",
    "three",
    "four",
    "five",
    "six",
    "seven",
    "eight",
    "nine",
  ].map((word, i) => `${i} - ${word}`);
  readonly root: string;
  readonly train: boolean;
  readonly transform: Step | null;
  readonly targetTransform: Step | null;
  readonly classes: readonly string[];
  /** uint8, `[N, 28, 28]`. */
  readonly data: Tensor;
  /** int64, `[N]`. */
  readonly targets: Tensor;

  constructor(...given: TrainCall) {
    super();
    const a = readTrain(given, new.target.name);
    this.root = a.root;
    this.train = a.train;
    this.transform = a.transform;
    this.targetTransform = a.targetTransform;
    this.classes = new.target.classes;
    const part = a.train ? "train" : "t10k";
    const folder = join(a.root, new.target.name, "raw");
    this.data = keep(load(folder, `${part}-images-idx3-ubyte`));
    const labels = load(folder, `${part}-labels-idx1-ubyte`);
    this.targets = keep(labels.to("int64"));
    labels.dispose();
    if (this.data.ndim !== 3 || this.targets.ndim !== 1 || this.data.size(0) !== this.targets.size(0))
      throw new VisionError(
        `${folder}: images of shape [${this.data.shape.join(", ")}] and labels of shape [${this.targets.shape.join(", ")}] do not belong together`,
        "VISION_DATA",
      );
  }
  get length(): number {
    return this.data.size(0);
  }
  get classToIdx(): Readonly<Record<string, number>> {
    return Object.fromEntries(this.classes.map((name, i) => [name, i]));
  }
  get(index: number): Sample {
    atMost(`${this.constructor.name}.get`, arguments, 1);
    if (!Number.isInteger(index) || index < 0 || index >= this.length)
      throw new ArgumentError(`${this.constructor.name}.get`, `index to be from 0 to ${this.length - 1}`, index);
    return sample(this.data.at(index).unsqueeze(0), Number(this.targets.at(index).item()), this);
  }
}

function load(folder: string, name: string): Tensor {
  const found = [join(folder, name), join(folder, `${name}.gz`)].find((path) => existsSync(path));
  if (found !== undefined) return loadIdx(found);
  throw new VisionError(`neither ${join(folder, name)} nor ${name}.gz beside it is there`, "VISION_NOT_FOUND");
}

/** Pieces of clothing, in MNIST's format, from `root/FashionMNIST/raw`. */
export class FashionMNIST extends MNIST {
  static override readonly classes = [
    "T-shirt/top",
    "Trouser",
    "Pullover",
    "Dress",
    "Coat",
    "Sandal",
    "Shirt",
    "Sneaker",
    "Bag",
    "Ankle boot",
  ];
}
/** Japanese letters, in MNIST's format, from `root/KMNIST/raw`. */
export class KMNIST extends MNIST {
  static override readonly classes = ["o", "ki", "su", "tsu", "na", "ha", "ma", "ya", "re", "wo"];
}
