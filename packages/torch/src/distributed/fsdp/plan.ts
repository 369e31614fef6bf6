/** What each of many ranks will hold of a model, found out without any of them. */
import type { Module } from "../../nn/module.js";
import { ArgumentError } from "../../errors.js";
import type { WeightCodes } from "../../nn/weight-codes.js";
import type { Tensor } from "../../tensor/tensor.js";
import { whole } from "../../kinds.js";
import { atMost, checkArguments } from "../../options.js";
import { isFloatingPoint } from "../../tensor/dtype.js";
import { Module as ModuleClass } from "../../nn/module.js";
import { codesOfWeights } from "./flat-codes.js";
import { planLayout, rangeOf } from "./layout.js";
import type { FullyShardOptions } from "./options.js";
import { kindsOf } from "./unit.js";
import { planUnits } from "./units.js";

/** Of one rank, between two steps. */
export interface RankShare {
  readonly rank: number;
  /** Elements that its optimizer steps. */
  readonly elements: number;
  /** Bytes of parameters, with what is whole, and padding. */
  readonly parameters: number;
  /** Bytes of gradients when a backward is over. */
  readonly gradients: number;
}
export interface ShardPlan {
  readonly ranks: readonly RankShare[];
  /** Bytes of the whole parameters of the largest unit, and of the next: both may be gathered at once. */
  readonly gathered: number;
  /** Elements of the model that are trained. */
  readonly elements: number;
}

/**
 * How {@link fullyShard} would share a module out over so many ranks. Nothing is made: the module may be on device
 * "meta", and there need be no process group.
 *
 * @example planShards(model, 1024, { stage: 3 }).ranks[0]?.parameters // bytes on rank 0
 */
export function planShards(
  module: Module,
  worldSize: number,
  options: Pick<FullyShardOptions, "stage" | "shardModules" | "blockSize"> = {},
): ShardPlan {
  atMost("planShards", arguments, 3);
  if (!(module instanceof ModuleClass)) throw new ArgumentError("planShards", "a Module", module);
  checkArguments("planShards", { worldSize }, { worldSize: whole("[1, ∞)") });
  const { stage = 3, shardModules = null, blockSize = 256 } = options;
  const shares = Array.from({ length: worldSize }, () => ({ elements: 0, parameters: 0, gradients: 0 }));
  const units: number[] = [];
  let elements = 0;
  const codes = stage === 3 ? codesOfWeights(module) : new Map<Tensor, WeightCodes>();
  for (const { parameters } of planUnits(module, shardModules, stage)) {
    let unit = 0;
    for (const same of kindsOf(parameters, codes)) {
      const [, first] = same[0] ?? [];
      if (first === undefined) continue;
      const numels = same.map(([, p]) => p.numel());
      const gathered = codes.has(first) ? 1 : first.itemsize;
      const layout = planLayout(numels, worldSize, { blockSize, itemsize: gathered });
      const trained = first.requiresGrad && isFloatingPoint(first.dtype);
      unit += layout.total * gathered;
      if (trained) elements += numels.reduce((a, b) => a + b, 0);
      shares.forEach((share, rank) => {
        share.parameters += (stage === 3 ? layout.chunk : layout.total) * first.itemsize;
        if (!trained) return;
        share.gradients += layout.chunk * first.itemsize;
        numels.forEach((n, i) => {
          const { start, end } = rangeOf(layout, layout.offsets[i] ?? 0, n, rank);
          share.elements += end - start;
        });
      });
    }
    units.push(unit);
  }
  const [largest = 0, next = 0] = units.sort((a, b) => b - a);
  return {
    ranks: shares.map((share, rank) => ({ rank, ...share })),
    gathered: stage === 3 ? largest + next : 0,
    elements,
  };
}
