/**
 * Master weights: float32 tensors that an optimizer steps in the place of a model's parameters. What was said of a
 * parameter holds for its master.
 */
import type { Tensor } from "../tensor/tensor.js";
import { atMost, checkArguments } from "../options.js";
import { orNull, record } from "../kinds.js";
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

/** What a rank has of a parameter that is shared out. */
export interface ShardOf {
  /** What an optimizer steps; null: nothing of it is on this rank. */
  readonly shard: Tensor | null;
  /** Elements of the parameter, from `start` until before `end`, of `numel`. */
  readonly start: number;
  readonly end: number;
  readonly numel: number;
  /** Of the parameter, when it is whole. */
  readonly shape: readonly number[];
}
const shards = new WeakMap<Tensor, ShardOf>();
const numels = new WeakMap<Tensor, number>();

/** @internal From here on `parameter` is shared out; null: no more. */
export function setShard(parameter: Tensor, of: ShardOf | null): void {
  atMost("setShard", arguments, 2);
  checkArguments("setShard", { parameter, of }, { parameter: tensorKind, of: orNull(record) });
  if (of === null) return void shards.delete(parameter);
  shards.set(parameter, of);
  if (of.shard === null) return;
  setMaster(of.shard, parameter);
  numels.set(of.shard, of.numel);
}
/** @internal What this rank has of a parameter; null: it is not shared out. */
export function shardOf(parameter: Tensor): ShardOf | null {
  atMost("shardOf", arguments, 1);
  checkArguments("shardOf", { parameter }, { parameter: tensorKind });
  return shards.get(parameter) ?? null;
}
/** @internal How many elements a parameter has of which an optimizer steps this, whole or in part. */
export function numelOfWhole(stepped: Tensor): number {
  atMost("numelOfWhole", arguments, 1);
  checkArguments("numelOfWhole", { stepped }, { stepped: tensorKind });
  return numels.get(stepped) ?? stepped.numel();
}
