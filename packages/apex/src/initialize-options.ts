/** What `initialize` is told. */
import { checkOptions, type DType, isDType, isFloatingPoint, kinds, type OptionNames } from "@nbit/torch";
import { levelWith, type OptLevel, type OptOverrides } from "./opt-levels.js";

export interface InitializeOptions extends OptOverrides {
  /** Default "O1". */
  readonly optLevel?: OptLevel;
  /** false: everything stays as it is, and `scaleLoss` passes the loss through. Default true. */
  readonly enabled?: boolean;
  /** Dtype of the models' outputs. Default: float32 where the model is cast. */
  readonly castModelOutputs?: DType | null;
  /** Losses with a scale of their own. Default 1. */
  readonly numLosses?: number;
  readonly minLossScale?: number | null;
  /** Default 2^24. */
  readonly maxLossScale?: number;
}

/** The level's overrides are checked with it. */
const NAMES: OptionNames<InitializeOptions> = {
  optLevel: true,
  enabled: kinds.flag,
  castModelType: true,
  patchTorchFunctions: true,
  keepBatchnormFp32: true,
  masterWeights: true,
  lossScale: true,
  castModelOutputs: kinds.orNull(kinds.such<DType>("a floating point dtype", (v) => isDType(v) && isFloatingPoint(v))),
  numLosses: kinds.whole("[1, ∞)"),
  minLossScale: kinds.orNull(kinds.real("[0, ∞)")),
  maxLossScale: kinds.real("(0, ∞)"),
};

/**
 * @internal @throws {ArgumentError} for an option that `initialize` does not have, of another kind, or that contradicts
 * the level.
 */
export function checkInitializeOptions(fn: string, options: InitializeOptions): void {
  checkOptions(fn, options, NAMES);
  levelWith(options.optLevel ?? "O1", options);
}
