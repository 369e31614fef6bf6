/** What one of several processes will hold, in bytes. */
import {
  ArgumentError,
  atMost,
  checkOptions,
  kinds,
  type DType,
  type nn,
  type optim,
  type OptionNames,
} from "@nbit/torch";
import { planShards, type FullyShardOptions } from "@nbit/torch/distributed";
import { bytesOf, forecastMemory } from "./memory.js";
import type { MemoryForecast } from "./memory-forecast.js";
import type { RankForecast } from "./rank-forecast.js";

export interface RankForecastOptions {
  readonly strategy: "ddp" | "fsdp";
  readonly worldSize: number;
  /** Which process. Default 0, which has the most. */
  readonly rank?: number;
  /** Of "fsdp". Default 3. */
  readonly stage?: 1 | 2 | 3;
  /** Of "fsdp": as of the strategy. */
  readonly shardModules?: FullyShardOptions["shardModules"];
  /** Of "fsdp". Default 256. */
  readonly blockSize?: number;
  /** Of "ddp": false where gradients lie beside the buckets in which they travel. Default true. */
  readonly gradientAsBucketView?: boolean;
}
const OPTIONS: OptionNames<RankForecastOptions> = {
  strategy: kinds.oneOf("ddp", "fsdp"),
  worldSize: kinds.whole("[1, ∞)"),
  rank: kinds.whole("[0, ∞)"),
  stage: kinds.oneOf(1, 2, 3),
  shardModules: true,
  blockSize: kinds.whole("[1, 65536]"),
  gradientAsBucketView: kinds.flag,
};

/**
 * What parameters, gradients and optimizer state will take in one process of a strategy, in the dtypes that the
 * parameters have. Nothing is made: the module may be on device "meta", and no process need be there.
 *
 * @throws {ArgumentError} where there is no such rank.
 * @example forecastRank(model, [optimizer], { strategy: "fsdp", worldSize: 8 }).total
 */
export function forecastRank(
  module: nn.Module,
  optimizers: readonly optim.Optimizer[],
  options: RankForecastOptions,
): RankForecast {
  atMost("forecastRank", arguments, 3);
  checkOptions("forecastRank", options, OPTIONS);
  const whole = ownForecast(module, optimizers);
  return shareOf(module, whole, options, 1);
}

/** In the dtypes that parameters have. */
const ownForecast = (module: nn.Module, optimizers: readonly optim.Optimizer[]): MemoryForecast =>
  forecastMemory(
    module,
    ({ dtype }) => ({ parameter: dtype, master: null, gradient: dtype, state: dtype }),
    optimizers,
  );

/**
 * The same in a precision, of which `whole` says what one process alone would hold: the module may not be converted yet.
 * @param gatherDtype - Of "fsdp", in which units are gathered; null: as parameters are.
 */
export function forecastRankIn(
  whole: MemoryForecast,
  module: nn.Module,
  options: RankForecastOptions,
  gatherDtype: DType | null = null,
): RankForecast {
  const own = ownForecast(module, []);
  const ratio = own.parameters === 0 ? 1 : whole.parameters / own.parameters;
  const share = shareOf(module, whole, options, ratio);
  if (gatherDtype === null) return share;
  const widths = new Set([...module.parameters()].map(({ dtype }) => bytesOf(dtype) * ratio));
  return { ...share, gathered: Math.round((share.gathered * bytesOf(gatherDtype)) / Math.max(...widths)) };
}

/** `ratio`: bytes of parameters in `whole` for each that the module has now. */
function shareOf(
  module: nn.Module,
  whole: MemoryForecast,
  { strategy, worldSize, rank = 0, ...options }: RankForecastOptions,
  ratio: number,
): RankForecast {
  if (rank >= worldSize) throw new ArgumentError("forecastRank", `rank to be from 0 to ${worldSize - 1}`, rank);
  if (strategy === "ddp") {
    const { parameters, masters, casts, gradients, optimizerState, total } = whole;
    const buckets = options.gradientAsBucketView === false ? gradients : 0;
    const held = parameters + masters + casts;
    return { parameters: held, gradients, optimizerState, buckets, total: total + buckets, gathered: 0 };
  }
  const { stage = 3, shardModules = null, blockSize = 256 } = options;
  const plan = planShards(module, worldSize, { stage, shardModules, blockSize });
  const mine = plan.ranks[rank] ?? { parameters: 0, gradients: 0, elements: 0 };
  const optimizerState = plan.elements === 0 ? 0 : Math.round((whole.optimizerState * mine.elements) / plan.elements);
  const [parameters, gradients] = [Math.round(mine.parameters * ratio), Math.round(mine.gradients * ratio)];
  const total = parameters + gradients + optimizerState;
  return { parameters, gradients, optimizerState, buckets: 0, total, gathered: Math.round(plan.gathered * ratio) };
}
