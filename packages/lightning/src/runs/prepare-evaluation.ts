/** What validation, testing and prediction need before their first batch, and the validation that precedes training. */
import { CombinedLoader, verbatim } from "@nbit/torch";
import { BasePredictionWriter } from "../callbacks/prediction-writer.js";
import type { LightningDataModule } from "../datamodule.js";
import { MisconfigurationError } from "../errors.js";
import { isOverridden } from "../hooks.js";
import { Results } from "../logging/results.js";
import { EvaluationLoop, type EvaluationKind } from "../loops/evaluation.js";
import { PredictLoop } from "../loops/predict.js";
import type { FitProgress } from "../loops/progress.js";
import { captureRng, disposeRng, restoreRng } from "../rng.js";
import type { Run } from "../run.js";
import type { Loaders, PredictOptions } from "../run-options.js";
import { evaluationLoaders, requireLoaders } from "./loaders.js";

/**
 * @param fit - The fit that it belongs to; null: it is asked for by itself, so that a step and a loader must be there.
 * @returns null: the fit has nothing to validate on.
 */
export function evaluationLoop(
  run: Run,
  kind: EvaluationKind,
  given: Loaders | LightningDataModule,
  fit: FitProgress | null,
): EvaluationLoop | null {
  const { module, options, owner, data } = run;
  const hook = kind === "validate" ? "valDataloader" : "testDataloader";
  const stepName = kind === "validate" ? "validationStep" : "testStep";
  if (fit === null && !isOverridden(module, stepName))
    throw new MisconfigurationError(
      kind,
      `${module.constructor.name || "the module"} to have a ${stepName}`,
      verbatim("none"),
      undefined,
      "ERR_NO_STEP",
    );
  const loaders = (): unknown => data.loaders(hook, given);
  const first = loaders();
  const groups = evaluationLoaders(run, first, "evaluate");
  if (fit === null) requireLoaders(run, groups, first);
  else if (groups.length === 0) return null;
  return new EvaluationLoop(run, {
    kind,
    groups,
    reload: () => evaluationLoaders(run, loaders(), "evaluate"),
    limit: kind === "validate" ? options.limitValBatches : options.limitTestBatches,
    precision: kind === "validate" ? owner.validationPrecision : null,
    results: new Results(false, run.warnings),
    fit,
    counts: fit ?? owner.lastFit,
  });
}

export function predictLoop(run: Run, { dataloaders, returnPredictions = true }: PredictOptions): PredictLoop {
  const given = run.data.loaders("predictDataloader", dataloaders);
  if (given instanceof CombinedLoader && given.mode !== "sequential")
    throw new MisconfigurationError(
      "predict",
      'loaders one after the other: a CombinedLoader of mode "sequential"',
      given.mode,
      "Each prediction is of a batch of one loader.",
      "ERR_LOADERS",
    );
  const groups = evaluationLoaders(run, given, "predict");
  requireLoaders(run, groups, given);
  const writers = run.callbacks.filter((callback) => callback instanceof BasePredictionWriter);
  return new PredictLoop(run, groups, run.options.limitPredictBatches, {
    returned: returnPredictions,
    written: writers.some((writer) => writer.keepsPredictions),
    indices: writers.length > 0,
  });
}

/**
 * A few validation batches before training, so that a mistake there is found now. Random numbers are as if it had not
 * been.
 */
export async function sanityCheck(run: Run): Promise<void> {
  const { validation, options, checkpoint } = run;
  if (validation === null || options.numSanityValSteps === 0 || checkpoint !== null) return;
  if (validation.numSanityBatches.every((n) => n === 0)) return;
  const { rootDevice } = run.strategy;
  const rng = captureRng(rootDevice);
  const onDevice = run.deviceMemory?.random;
  const drawn = onDevice?.state() ?? null;
  try {
    run.stage = "sanity_check";
    await run.hooks.get("onSanityCheckStart").run();
    run.fit?.loop.beforeSanityCheck();
    await validation.run(true);
    run.stage = "sanity_check";
    await run.hooks.get("onSanityCheckEnd").run();
    run.metricStore.reset();
  } finally {
    restoreRng(rng, rootDevice);
    disposeRng(rng);
    onDevice?.load(drawn);
  }
}
