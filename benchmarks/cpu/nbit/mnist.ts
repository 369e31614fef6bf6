/** MNIST's four files as tensors: images float32, mean 0 and standard deviation 1; labels int64. */
import { join } from "node:path";
import { loadIdx, ones, scope, type Tensor } from "@nbit/torch";
import type { MnistJob } from "../job.js";

export const FILES = ["train-images-idx3", "train-labels-idx1", "t10k-images-idx3", "t10k-labels-idx1"] as const;

export function readMnist({ folder, ending }: MnistJob): object {
  ones([1]).add(1).item();
  const from = performance.now();
  const read = FILES.map((name): Tensor => {
    const path = join(folder, `${name}-ubyte${ending}`);
    return name.includes("images")
      ? scope(() => loadIdx(path).unsqueeze(1).float().div_(255).sub_(0.1307).div_(0.3081))
      : scope(() => loadIdx(path).long());
  });
  const us = (performance.now() - from) * 1000;
  return { us, losses: read.map((t) => t.double().mean().item()) };
}
