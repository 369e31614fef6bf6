/** Training whose parameters, gradients and optimizer state are shared out over ranks: ZeRO's stages, as FSDP. */
export { CPUOffloadPolicy, MixedPrecisionPolicy } from "./options.js";
export type { FullyShardOptions, MixedPrecisionPolicyOptions, ModuleClass } from "./options.js";
export { FullyShardedModule } from "./fully-sharded.js";
export { fullyShard, shardedModuleOf, summonFullParams, unshardModule, type SummonOptions } from "./fully-shard.js";
export { shardOptimizer } from "./shard-optimizer.js";
export { clipShardedGradNorm, type ClipShardedOptions } from "./clip.js";
export {
  fullGradientDict,
  fullStateDict,
  loadFullStateDict,
  loadShardedStateDict,
  shardedStateDict,
  type FullStateDictOptions,
  type ReadElements,
  type ShardedStateDict,
  type ShardedTensor,
} from "./state-dict.js";
export {
  describeOptimizerState,
  fullOptimizerStateDict,
  loadFullOptimizerStateDict,
  loadShardedOptimizerStateDict,
  shardedOptimizerStateDict,
  type LoadFullOptimizerStateOptions,
  type ReadEntries,
  type SavedOptimizerState,
  type ShardedOptimizerState,
} from "./optimizer-state.js";
export { planShards, type RankShare, type ShardPlan } from "./plan.js";
