/**
 * Master weights: float32 tensors that an optimizer steps in the place of a model's parameters. What was said of a
 * parameter holds for its master.
 */
import type { Tensor } from "../tensor/tensor.js";
import { atMost, checkArguments } from "../options.js";
import { whole as wholeNumber } from "../kinds.js";
import { tensorKind } from "../tensor/kinds.js";

const parameters = new WeakMap<Tensor, Tensor>();

/** @internal `master` is what an optimizer steps in the place of `parameter`. */
export function setMaster(master: Tensor, parameter: Tensor): void {
  atMost("setMaster", arguments, 2);
  checkArguments("setMaster", { master, parameter }, { master: tensorKind, parameter: tensorKind });
  parameters.set(master, parameter);
}
/** @internal The model's parameter whose master an optimizer steps; the tensor itself, where it is no master. */
export function parameterOfMaster(stepped: Tensor): Tensor {
  atMost("parameterOfMaster", arguments, 1);
  return parameters.get(stepped) ?? stepped;
}

const numels = new WeakMap<Tensor, number>();

/** @internal `shard` is what an optimizer steps of `parameter`, which has `numel` elements on all ranks together. */
export function setShard(shard: Tensor, parameter: Tensor, numel: number): void {
  atMost("setShard", arguments, 3);
  checkArguments("setShard", { shard, numel }, { shard: tensorKind, numel: wholeNumber("[0, ∞)") });
  setMaster(shard, parameter);
  numels.set(shard, numel);
}
/** @internal How many elements a parameter has of which an optimizer steps this, whole or in part. */
export function numelOfWhole(stepped: Tensor): number {
  atMost("numelOfWhole", arguments, 1);
  checkArguments("numelOfWhole", { stepped }, { stepped: tensorKind });
  return numels.get(stepped) ?? stepped.numel();
}
