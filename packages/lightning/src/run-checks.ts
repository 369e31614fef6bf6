/**
 * What is checked of a call of fit, validate, test or predict before any work starts, and what a user is told that is
 * no error.
 */
import { checkOptions, kinds, type optim, type OptionNames, type Tensor } from "@nbit/torch";
import { LightningDataModule } from "./datamodule.js";
import { MisconfigurationError } from "./errors.js";
import { isOverridden } from "./hooks.js";
import type { BatchSource } from "./loops/batch-source.js";
import { isLoader } from "./loops/fetch.js";
import { LightningModule } from "./module.js";
import { hiddenParameters } from "./diagnostics/hidden-parameters.js";
import { warnTogether } from "./ranks/common-findings.js";
import type { Collectives } from "./strategies/strategy.js";
import type { EvaluateOptions, FitOptions, MetricOptions, PredictOptions } from "./run-options.js";
import type { ResolvedOptions } from "./resolve-options.js";
import type { TrainerFn } from "./types.js";
import type { WarnOnce } from "./warnings.js";

const CKPT = kinds.orNull(kinds.filled);
const DATAMODULE = kinds.orNull(kinds.instanceOf("a LightningDataModule", LightningDataModule));
const SIGNAL = kinds.orNull(kinds.instanceOf("an AbortSignal", AbortSignal));
const SHARED = { datamodule: DATAMODULE, ckptPath: CKPT, ckptDtype: true, signal: SIGNAL } as const;
const FIT: OptionNames<FitOptions> = { trainDataloaders: true, valDataloaders: true, ...SHARED };
const EVALUATE: OptionNames<EvaluateOptions> = { dataloaders: true, ...SHARED };
const METRICS: OptionNames<MetricOptions> = { ...EVALUATE, verbose: kinds.flag };
const PREDICT: OptionNames<PredictOptions> = { ...EVALUATE, returnPredictions: kinds.flag, gather: kinds.flag };
const NAMES: Readonly<Record<TrainerFn, OptionNames<object>>> = {
  fit: FIT,
  validate: METRICS,
  test: METRICS,
  predict: PREDICT,
};

/** @throws {MisconfigurationError} unless there is a module, and options are options, under their names. */
export function checkCall(fn: TrainerFn, model: unknown, options: FitOptions | EvaluateOptions | PredictOptions): void {
  if (model !== null && model !== undefined && !(model instanceof LightningModule)) {
    const isClass = typeof model === "function";
    throw new MisconfigurationError(
      fn,
      "a LightningModule",
      model,
      isClass
        ? `Pass an instance: new ${model.name === "" ? "Model" : model.name}().`
        : "Extend LightningModule, with a trainingStep and configureOptimizers.",
      "ERR_NO_MODULE",
    );
  }
  if (isLoader(options)) {
    const name = fn === "fit" ? "trainDataloaders" : "dataloaders";
    throw new MisconfigurationError(
      fn,
      `an object with ${name}`,
      options,
      `Loaders go by name: ${fn}(model, { ${name}: loader }).`,
      "ERR_LOADERS",
    );
  }
  checkOptions<object>(fn, options, NAMES[fn], (expected, received, fix) => {
    const needless = received === "weightsOnly" && "weightsOnly" in options;
    return needless
      ? new MisconfigurationError(fn, "no weightsOnly", received, WEIGHTS_ONLY, "ERR_RUN_OPTION")
      : new MisconfigurationError(fn, expected, received, fix, "ERR_RUN_OPTION");
  });
}
const WEIGHTS_ONLY =
  "Leave it out: checkpoints hold tensors and plain values alone, and reading one runs no code of the file's.";

/**
 * The data module of a call: given as such, or, as Lightning lets one, in the place of the loaders.
 * @throws {MisconfigurationError} ERR_LOADERS where there are loaders too.
 */
export function datamoduleOf(fn: TrainerFn, options: FitOptions & EvaluateOptions): LightningDataModule | null {
  const { trainDataloaders, valDataloaders, dataloaders } = options;
  const first: unknown = fn === "fit" ? trainDataloaders : dataloaders;
  const inPlace = first instanceof LightningDataModule ? first : null;
  const datamodule = options.datamodule ?? inPlace;
  const loaders = [inPlace === null ? first : null, fn === "fit" ? valDataloaders : null];
  const twice = inPlace !== null && options.datamodule != null && options.datamodule !== inPlace;
  if (datamodule !== null && (twice || loaders.some((given) => given !== null && given !== undefined)))
    throw new MisconfigurationError(
      fn,
      "a datamodule or loaders, not both",
      twice ? options.datamodule : loaders.find((given) => given !== null && given !== undefined),
      "A data module brings all loaders of a run.",
      "ERR_LOADERS",
    );
  return datamodule;
}

/** Warns of layers that no optimizer will be given. Before `configureOptimizers`, which may fail of that. */
export function warnOfHiddenParameters(module: LightningModule, collectives: Collectives | null): void {
  const message = (text: string): string => `fit: ${text} Otherwise it is neither trained nor saved.`;
  warnTogether(
    collectives,
    hiddenParameters(module).map((text) => ({ code: "WARN_HIDDEN_PARAMETERS", message: message(text) })),
  );
}

export interface FitFacts {
  readonly module: LightningModule;
  readonly fetcher: BatchSource;
  readonly optimizers: readonly optim.Optimizer[];
  /** There are loaders for validation. */
  readonly hasValidation: boolean;
  readonly options: ResolvedOptions;
  readonly hasLoggers: boolean;
  /** Optimizer steps in all; Infinity when unknown. */
  readonly steps: number;
  readonly resumes: boolean;
}

/** Warns of a fit that will do less than its parts suggest. */
export function warnOfGaps(facts: FitFacts, warnings: WarnOnce): void {
  const { module, fetcher, options } = facts;
  const own = new Set<Tensor>(module.parameters());
  if (
    facts.optimizers.length > 0 &&
    !facts.optimizers.some((optimizer) => optimizer.paramGroups.some(({ params }) => params.some((p) => own.has(p))))
  )
    warnings.warn(
      "WARN_FOREIGN_OPTIMIZER",
      `fit: no parameter of ${module.constructor.name || "the module"} is in an optimizer: it will not change. Give the optimizer this.parameters().`,
    );
  const { hasValidation } = facts;
  if (fetcher.length === 0 && options.limitTrainBatches !== 0)
    warnings.warn("WARN_NO_BATCHES", "fit: the loader of training batches is empty: nothing will be trained.");
  if (options.limitValBatches !== 0) {
    if (hasValidation && !isOverridden(module, "validationStep"))
      warnings.warn(
        "WARN_NO_VALIDATION_STEP",
        `fit: there is a loader for validation, but ${module.constructor.name || "the module"} has no validationStep: nothing will be validated.`,
      );
    if (!hasValidation && isOverridden(module, "validationStep"))
      warnings.warn(
        "WARN_NO_VALIDATION_LOADER",
        `fit: ${module.constructor.name || "the module"} has a validationStep, but there is no loader for validation: it will not run. Pass valDataloaders, or define valDataloader.`,
      );
  }
  const every = options.logEveryNSteps;
  if (facts.hasLoggers && !facts.resumes && facts.steps > 0 && facts.steps < every)
    warnings.warn(
      "WARN_LOG_CADENCE",
      `fit: loggers get values of steps every ${every} steps, and there will be only ${facts.steps}. Pass logEveryNSteps: 1 for a row per step.`,
    );
}
