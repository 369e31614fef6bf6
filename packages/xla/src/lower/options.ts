/** How a step is lowered. */
import { checkOptions, kinds, type OptionNames } from "@nbit/torch/options";
import type { Precision } from "../stablehlo/emitter.js";
import type { ShardOptions } from "./sharding.js";

export interface LowerOptions {
  /**
   * How float32 products are computed, as `setFloat32MatmulPrecision` names it: "highest" (default) in float32, "high" in
   * three passes of bfloat16 or in TensorFloat-32, "medium" in one of bfloat16. CPUs always do the first.
   */
  readonly float32MatmulPrecision?: "highest" | "high" | "medium";
  /**
   * Whether the device has float64, as CPUs and GPUs have. Default false, as on TPUs: float64 tensors of one element
   * (learning rates) become float32, others are refused.
   */
  readonly float64?: boolean;
  /**
   * How state is handed over, so that its memory becomes that of its successor: "alias" (default) names the result that
   * takes it, "donor" leaves that to the compiler, "none" keeps both.
   */
  readonly donate?: "alias" | "donor" | "none";
  /** Devices that run one step together. Default 1. */
  readonly partitions?: number;
  /** What they share and what they split. Default: nothing is split. */
  readonly shard?: ShardOptions;
  /** The user's line that called an operator, for errors: `RecordedStep.lineOf`. Default: none is known. */
  readonly lineOf?: (operator: number) => string | null;
}
const NAMES: OptionNames<LowerOptions> = {
  float32MatmulPrecision: kinds.oneOf("highest", "high", "medium"),
  float64: kinds.flag,
  donate: kinds.oneOf("alias", "donor", "none"),
  partitions: kinds.whole("[1, ∞)"),
  shard: true,
  lineOf: kinds.callable,
};
const SHARD_NAMES: OptionNames<ShardOptions> = { batch: true, state: kinds.oneOf("replicated", "sharded") };
const PRECISIONS: Readonly<Record<"highest" | "high" | "medium", Precision>> = {
  highest: "HIGHEST",
  high: "HIGH",
  medium: "DEFAULT",
};

/** @internal */
export function checkLowerOptions(options: LowerOptions): void {
  checkOptions("lower", options, NAMES);
  if (options.shard !== undefined) checkOptions("lower", options.shard, SHARD_NAMES);
}
/** @internal */
export const precisionOf = (options: LowerOptions): Precision =>
  PRECISIONS[options.float32MatmulPrecision ?? "highest"];
