/** CIFAR-10 and CIFAR-100, from their binary files. */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { ArgumentError, Dataset, keep, tensor, type Tensor } from "@nbit/torch";
import { VisionError } from "../errors.js";
import type { Step } from "../transforms/transform.js";
import { readTrain, type TrainCall } from "./mnist.js";
import { sample, type Sample } from "./vision.js";

const PIXELS = 3 * 32 * 32;

interface Files {
  readonly folder: string;
  readonly train: readonly string[];
  readonly test: readonly string[];
  readonly classes: string;
  /** Bytes before the pixels of an image; the last of them is the class. */
  readonly labels: number;
}

abstract class Cifar extends Dataset<Sample> {
  readonly root: string;
  readonly train: boolean;
  readonly transform: Step | null;
  readonly targetTransform: Step | null;
  readonly classes: readonly string[];
  /** uint8, `[N, 3, 32, 32]`. */
  readonly data: Tensor;
  readonly targets: readonly number[];

  constructor(files: Files, given: TrainCall, name: string) {
    super();
    const a = readTrain(given, name);
    this.root = a.root;
    this.train = a.train;
    this.transform = a.transform;
    this.targetTransform = a.targetTransform;
    const folder = join(a.root, files.folder);
    this.classes = read(folder, files.classes)
      .toString("utf8")
      .split("\n")
      .map((s) => s.trim())
      .filter((s) => s !== "");
    const parts = (a.train ? files.train : files.test).map((file) => read(folder, file));
    const row = files.labels + PIXELS;
    parts.forEach((bytes, i) => {
      if (bytes.length % row !== 0 || bytes.length === 0)
        throw new VisionError(
          `${join(folder, (a.train ? files.train : files.test)[i] as string)}: expected whole images of ${row} bytes. Received: ${bytes.length} bytes`,
          "VISION_DATA",
        );
    });
    const count = parts.reduce((n, bytes) => n + bytes.length / row, 0);
    const pixels = new Uint8Array(count * PIXELS);
    const targets: number[] = [];
    for (const bytes of parts)
      for (let at = 0; at < bytes.length; at += row) {
        pixels.set(bytes.subarray(at + files.labels, at + row), targets.length * PIXELS);
        targets.push(bytes[at + files.labels - 1] as number);
      }
    const bad = targets.findIndex((t) => t >= this.classes.length);
    if (bad !== -1)
      throw new VisionError(
        `${folder}: image ${bad} is of class ${targets[bad]} of ${this.classes.length}`,
        "VISION_DATA",
      );
    const flat = tensor(pixels);
    this.data = keep(flat.view([count, 3, 32, 32]));
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
    const target = this.targets[index];
    if (target === undefined)
      throw new ArgumentError(`${this.constructor.name}.get`, `index to be from 0 to ${this.length - 1}`, index);
    return sample(this.data.at(index), target, this);
  }
}

function read(folder: string, name: string): Buffer {
  try {
    return readFileSync(join(folder, name));
  } catch (error) {
    throw new VisionError(
      `${join(folder, name)} is not there: unpack the binary version of the data set below root`,
      "VISION_NOT_FOUND",
      { cause: error },
    );
  }
}

/**
 * Ten classes of images, from the binary version in `root/cifar-10-batches-bin`. Element i is an image, uint8 `[3, 32,
 * 32]`, or what `transform` makes of it, and its class.
 */
export class CIFAR10 extends Cifar {
  constructor(...given: TrainCall) {
    super(
      {
        folder: "cifar-10-batches-bin",
        train: [1, 2, 3, 4, 5].map((i) => `data_batch_${i}.bin`),
        test: ["test_batch.bin"],
        classes: "batches.meta.txt",
        labels: 1,
      },
      given,
      new.target.name,
    );
  }
}
/** A hundred classes of images, from the binary version in `root/cifar-100-binary`. */
export class CIFAR100 extends Cifar {
  constructor(...given: TrainCall) {
    super(
      {
        folder: "cifar-100-binary",
        train: ["train.bin"],
        test: ["test.bin"],
        classes: "fine_label_names.txt",
        labels: 2,
      },
      given,
      new.target.name,
    );
  }
}
