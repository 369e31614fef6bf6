/** The strategies of the contract: every one of them with every feature equals one process, or is refused with a reason. */
import { DDPStrategy, FSDPStrategy, type DDPOptions, type FSDPOptions, type Strategy } from "@nbit/lightning";
import { device } from "@nbit/torch";

export interface StrategyRow {
  readonly name: string;
  /** False: one of the strategies themselves. */
  readonly variant: boolean;
  /** What its messages lose, relative to a loss of 1: 0 where they lose nothing. */
  readonly loses: number;
  /** Parameters, gradients or state are shared out. */
  readonly shards: boolean;
  /** Each backward reaches the same parameters. */
  readonly staticGraph: boolean;
  readonly powerSGD: boolean;
  create(): Strategy;
}

/**
 * What is refused is refused by all ranks alike, so that the group may go on with the next case. Otherwise a Trainer
 * that fails tells the others, who end.
 */
class QuietDDP extends DDPStrategy {
  override fail(): void {}
}
class QuietFSDP extends FSDPStrategy {
  override fail(): void {}
}

const ddp = (variant: string, options: DDPOptions, loses = 0): StrategyRow => ({
  name: variant === "" ? "ddp" : `ddp, ${variant}`,
  variant: variant !== "",
  loses,
  shards: false,
  staticGraph: options.staticGraph === true,
  powerSGD: options.commHook === "powerSGD",
  create: () => new QuietDDP(device("cpu"), options),
});
const fsdp = (variant: string, options: FSDPOptions, loses = 0): StrategyRow => ({
  name: `fsdp, ${variant}`,
  variant: !/^stage .$/.test(variant),
  loses,
  shards: true,
  staticGraph: false,
  powerSGD: false,
  create: () => new QuietFSDP(device("cpu"), options),
});

/** One row each: a strategy or an option of one that changes how gradients, parameters or state travel. */
export const STRATEGIES: readonly StrategyRow[] = [
  ddp("", {}),
  ddp("static graph", { staticGraph: true }),
  ddp("unused parameters", { findUnusedParameters: true }),
  ddp("small buckets beside gradients", { gradientAsBucketView: false, bucketCapMb: 0.02 }),
  ddp("bfloat16 sums", { reduceDtype: "bfloat16" }, 2e-2),
  ddp("float16 hook", { commHook: "fp16_compress" }, 5e-3),
  ddp("PowerSGD", { commHook: "powerSGD", powerSGDRank: 8, powerSGDStart: 3 }, 0.3),
  fsdp("stage 1", { stage: 1 }),
  fsdp("stage 2", { stage: 2 }),
  fsdp("stage 3", { stage: 3 }),
  fsdp("stage 2, gradients whole within a window", { stage: 2, reduceEveryBatch: false }),
  fsdp("stage 3, parameters kept until backward", { stage: 3, reshardAfterForward: false }),
  fsdp("stage 3, shards on the host", { stage: 3, cpuOffload: true }),
  fsdp("stage 3, bfloat16 sums", { stage: 3, reduceDtype: "bfloat16" }, 2e-2),
];
