/** CIFAR-10 and CIFAR-100, from their binary files or from those for Python. */
import { atMost, ArgumentError, Dataset, keep, tensor, type Tensor } from "@nbit/torch";
import { VisionError } from "../errors.js";
import type { Step } from "../transforms/transform.js";
import { readCifar, type CifarFiles } from "./cifar-files.js";
import { readTrain, type TrainCall } from "./mnist.js";
import { sample, type Sample } from "./vision.js";

abstract class Cifar extends Dataset<Sample> {
  readonly root: string;
  readonly train: boolean;
  readonly transform: Step | null;
  readonly targetTransform: Step | null;
  readonly classes: readonly string[];
  /** uint8, `[N, 3, 32, 32]`. */
  readonly data: Tensor;
  readonly targets: readonly number[];

  constructor(files: CifarFiles, given: TrainCall, name: string) {
    super();
    const a = readTrain(given, name);
    this.root = a.root;
    this.train = a.train;
    this.transform = a.transform;
    this.targetTransform = a.targetTransform;
    const { folder, classes, pixels, targets } = readCifar(a.root, a.train, files);
    this.classes = classes;
    const bad = targets.findIndex((t) => t >= this.classes.length);
    if (bad !== -1)
      throw new VisionError(
        `${folder}: image ${bad} is of class ${targets[bad]} of ${this.classes.length}`,
        "VISION_DATA",
      );
    const flat = tensor(pixels);
    this.data = keep(flat.view([targets.length, 3, 32, 32]));
    flat.dispose();
    this.targets = targets;
  }
  get length(): number {
    return this.targets.length;
  }
  get classToIdx(): Readonly<Record<string, number>> {
    return Object.fromEntries(this.classes.map((name, i) => [name, i]));
  }
  get(index: number): Sample {
    atMost(`${this.constructor.name}.get`, arguments, 1);
    const target = this.targets[index];
    if (target === undefined)
      throw new ArgumentError(`${this.constructor.name}.get`, `index to be from 0 to ${this.length - 1}`, index);
    return sample(this.data.at(index), target, this);
  }
}

/**
 * Ten classes of images, from the version for Python in `root/cifar-10-batches-py`, whose pickles are read without running
 * anything, or from the binary one in `root/cifar-10-batches-bin`. Element i is an image, uint8 `[3, 32, 32]`, or what
 * `transform` makes of it, and its class.
 */
export class CIFAR10 extends Cifar {
  constructor(...given: TrainCall) {
    super(
      {
        binary: {
          folder: "cifar-10-batches-bin",
          train: [1, 2, 3, 4, 5].map((i) => `data_batch_${i}.bin`),
          test: ["test_batch.bin"],
          classes: "batches.meta.txt",
          labels: 1,
        },
        python: {
          folder: "cifar-10-batches-py",
          train: [1, 2, 3, 4, 5].map((i) => `data_batch_${i}`),
          test: ["test_batch"],
          classes: ["batches.meta", "label_names"],
          labels: "labels",
        },
      },
      given,
      new.target.name,
    );
  }
}
/** A hundred classes of images, from the version for Python in `root/cifar-100-python`, or the binary one in `root/cifar-100-binary`. */
export class CIFAR100 extends Cifar {
  constructor(...given: TrainCall) {
    super(
      {
        binary: {
          folder: "cifar-100-binary",
          train: ["train.bin"],
          test: ["test.bin"],
          classes: "fine_label_names.txt",
          labels: 2,
        },
        python: {
          folder: "cifar-100-python",
          train: ["train"],
          test: ["test"],
          classes: ["meta", "fine_label_names"],
          labels: "fine_labels",
        },
      },
      given,
      new.target.name,
    );
  }
}
