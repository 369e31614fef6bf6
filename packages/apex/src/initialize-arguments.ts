/** What `initialize` is told. */
import {
  ArgumentError,
  checkOptions,
  type DType,
  isDType,
  isFloatingPoint,
  kinds,
  NbitError,
  nn,
  optim,
  type OptionNames,
} from "@nbit/torch";
import { MISUSE } from "./misuse.js";
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
 * Everything is checked before anything is prepared.
 * @param isOwned - Whether a model or an optimizer is initialized already.
 */
export function checkInitialize(
  models: readonly nn.Module[],
  optimizers: readonly optim.Optimizer[],
  options: InitializeOptions,
  isOwned: (target: nn.Module | optim.Optimizer) => boolean,
  isShared = false,
): void {
  checkInitializeOptions("apex.initialize", options);
  for (const m of models) {
    if (!(m instanceof nn.Module)) throw new ArgumentError("apex.initialize", "models to be Modules", m);
    if (isOwned(m)) throw initializedBefore("a model", m);
    if (options.enabled === false || isShared) continue;
    for (const [name, p] of m.namedParameters())
      if (p.isFloatingPoint() && p.dtype !== "float32")
        throw new NbitError(
          "apex.initialize: expected float32 parameters. " +
            `Received: ${name} in ${p.dtype}. initialize casts by itself: do not call half() before it.`,
          MISUSE,
        );
  }
  for (const o of optimizers) {
    if (!(o instanceof optim.Optimizer)) throw new ArgumentError("apex.initialize", "optimizers to be Optimizers", o);
    if (isOwned(o)) throw initializedBefore("an optimizer", o);
    if (o.state.size > 0 && options.enabled !== false)
      throw new NbitError(
        "apex.initialize: expected an optimizer that has not stepped. " +
          "Received: one with state, whose tensors belong to the parameters that masters replace. " +
          "Initialize right after making it.",
        MISUSE,
      );
  }
}

function initializedBefore(what: string, target: object): NbitError {
  return new NbitError(
    `apex.initialize: expected ${what} that is not initialized. ` +
      `Received: ${target.constructor.name}, which is. ` +
      "Pass everything in one call, or dispose() of the first Amp.",
    MISUSE,
  );
}

/**
 * @internal @throws {ArgumentError} for an option that `initialize` does not have, of another kind, or that contradicts
 * the level.
 */
export function checkInitializeOptions(fn: string, options: InitializeOptions): void {
  checkOptions(fn, options, NAMES);
  levelWith(options.optLevel ?? "O1", options);
}
