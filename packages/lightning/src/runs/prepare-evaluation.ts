/** What validation, testing and prediction need before their first batch, and the validation that precedes training. */
import { verbatim } from "@nbit/torch";
import { MisconfigurationError } from "../errors.js";
import { isOverridden } from "../hooks.js";
import { Results } from "../logging/results.js";
import { EvaluationLoop, type EvaluationKind } from "../loops/evaluation.js";
import { asLoaders } from "../loops/fetch.js";
import { PredictLoop } from "../loops/predict.js";
import type { FitProgress } from "../loops/progress.js";
import { mayRepeat } from "../ranks/split-loaders.js";
import { captureRng, disposeRng, restoreRng } from "../rng.js";
import type { Run } from "../run.js";
import type { Loaders, PredictOptions } from "../run-options.js";
import { ownLoaders, requireLoaders, shareOf } from "./loaders.js";

/**
 * @param fit - The fit that it belongs to; null: it is asked for by itself, so that a step and a loader must be there.
 * @returns null: the fit has nothing to validate on.
 */
export function evaluationLoop(
  run: Run,
  kind: EvaluationKind,
  given: Loaders,
  fit: FitProgress | null,
): EvaluationLoop | null {
  const { module, options, owner } = run;
  const own = ownLoaders(module, kind === "validate" ? "valDataloader" : "testDataloader");
  const stepName = kind === "validate" ? "validationStep" : "testStep";
  const loaders = asLoaders(given ?? own);
  if (fit === null) {
    if (!isOverridden(module, stepName))
      throw new MisconfigurationError(
        kind,
        `${module.constructor.name || "the module"} to have a ${stepName}`,
        verbatim("none"),
        undefined,
        "ERR_NO_STEP",
      );
    requireLoaders(kind, given, own);
  } else if (loaders.length === 0) return null;
  const mine = loaders.map((loader) => shareOf(run, loader, "evaluate"));
  return new EvaluationLoop(run, {
    kind,
    loaders: mine,
    mayRepeat: mine.map((loader) => options.useDistributedSampler && mayRepeat(loader)),
    limit: kind === "validate" ? options.limitValBatches : options.limitTestBatches,
    precision: kind === "validate" ? owner.validationPrecision : null,
    results: new Results(false, run.warnings),
    fit,
    counts: fit ?? owner.lastFit,
  });
}

export function predictLoop(run: Run, { dataloaders, returnPredictions = true }: PredictOptions): PredictLoop {
  const loaders = requireLoaders("predict", dataloaders, ownLoaders(run.module, "predictDataloader"));
  const mine = loaders.map((loader) => shareOf(run, loader, "predict"));
  return new PredictLoop(run, mine, run.options.limitPredictBatches, returnPredictions);
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
  try {
    run.stage = "sanity_check";
    await run.hooks.get("onSanityCheckStart").run();
    await validation.run(true);
    run.stage = "sanity_check";
    await run.hooks.get("onSanityCheckEnd").run();
    run.metricStore.reset();
  } finally {
    restoreRng(rng, rootDevice);
    disposeRng(rng);
  }
}
