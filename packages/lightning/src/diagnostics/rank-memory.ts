/** What one of several processes will hold, in bytes. */
import { ArgumentError, atMost, checkOptions, kinds, type nn, type optim, type OptionNames } from "@nbit/torch";
import { planShards, type FullyShardOptions } from "@nbit/torch/distributed";
import { forecastMemory } from "./memory.js";

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

/** Bytes of one process, without activations. */
export interface RankForecast {
  readonly parameters: number;
  readonly gradients: number;
  readonly optimizerState: number;
  /** Buckets that are no gradients' memory. */
  readonly buckets: number;
  /** Held between backward and step: all of the above. */
  readonly total: number;
  /** On top while units run: parameters of two of them, gathered. */
  readonly gathered: number;
}

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
  const { strategy, worldSize, rank = 0 } = options;
  if (rank >= worldSize) throw new ArgumentError("forecastRank", `rank to be from 0 to ${worldSize - 1}`, rank);
  const whole = forecastMemory(
    module,
    ({ dtype }) => ({ parameter: dtype, master: null, gradient: dtype, state: dtype }),
    optimizers,
  );
  if (strategy === "ddp") {
    const { parameters, gradients, optimizerState, total } = whole;
    const buckets = options.gradientAsBucketView === false ? gradients : 0;
    return { parameters, gradients, optimizerState, buckets, total: total + buckets, gathered: 0 };
  }
  const { stage = 3, shardModules = null, blockSize = 256 } = options;
  const plan = planShards(module, worldSize, { stage, shardModules, blockSize });
  const { parameters = 0, gradients = 0, elements = 0 } = plan.ranks[rank] ?? {};
  const optimizerState = plan.elements === 0 ? 0 : Math.round((whole.optimizerState * elements) / plan.elements);
  const total = parameters + gradients + optimizerState;
  return { parameters, gradients, optimizerState, buckets: 0, total, gathered: plan.gathered };
}
