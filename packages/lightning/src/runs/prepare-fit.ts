/** The parts of a fit, made in the order in which each needs the one before. Nothing has been trained yet. */
import { verbatim } from "@nbit/torch";
import { CheckpointedModules } from "../activations.js";
import { MisconfigurationError } from "../errors.js";
import { isOverridden } from "../hooks.js";
import { Results } from "../logging/results.js";
import { Fetcher, type Loader } from "../loops/fetch.js";
import { FitLoop } from "../loops/fit.js";
import { GraphedStep } from "../loops/graphed-step.js";
import { NonFiniteWatch } from "../loops/non-finite-watch.js";
import { configureOptimizers } from "../loops/optimizers.js";
import { FitProgress } from "../loops/progress.js";
import { describeReplays, StepReplays } from "../loops/step-replays.js";
import { SchedulerStepper } from "../loops/schedulers.js";
import { TrainStep } from "../loops/train-step.js";
import { mayRepeat } from "../ranks/split-loaders.js";
import type { Run } from "../run.js";
import { warnOfGaps, warnOfHiddenParameters } from "../run-checks.js";
import type { FitOptions } from "../run-options.js";
import { equalLengths, ownLoaders, requireLoaders, shareOf } from "./loaders.js";
import { evaluationLoop } from "./prepare-evaluation.js";

export function prepareFit(run: Run, given: FitOptions): void {
  const { module, options, warnings } = run;
  const mine = trainLoader(run, given);
  const progress = new FitProgress();
  const fetcher = new Fetcher(mine, options.limitTrainBatches, "limitTrainBatches");
  equalLengths(run, fetcher);
  run.preparing = { progress, fetcher };

  warnOfHiddenParameters(module, run.collectives);
  const { optimizers, schedulers } = run.within("configureOptimizers", () => configureOptimizers(module));
  run.optimizers = optimizers;
  run.schedulers = schedulers;
  checkManualOptimization(run);
  run.activations = checkpointedModules(run);
  const replays = stepReplays(run);
  const step = trainStep(run, progress, replays);
  run.validation = isOverridden(module, "validationStep")
    ? evaluationLoop(run, "validate", given.valDataloaders, progress)
    : null;
  warnOfGaps(
    {
      module,
      fetcher,
      optimizers,
      validationLoaders: given.valDataloaders ?? ownLoaders(module, "valDataloader"),
      options,
      hasLoggers: run.owner.loggers.length > 0,
      steps: run.trainer.estimatedSteppingBatches,
      resumes: run.checkpoint !== null,
    },
    warnings,
  );
  const graph = options.cudaGraph ? graphedStep(run, step, progress) : null;
  const results = new Results(true, warnings);
  const loop = new FitLoop(run, {
    step,
    graph,
    replays,
    fetcher,
    validation: run.validation,
    schedulers: new SchedulerStepper(schedulers, module, run.metricStore, run.collectives),
    progress,
    results,
    mayRepeat: options.useDistributedSampler && mayRepeat(mine),
  });
  run.fit = { progress, fetcher, results, step, replays, graph, loop };
}

function trainLoader(run: Run, { trainDataloaders }: FitOptions): Loader {
  const { module } = run;
  if (!isOverridden(module, "trainingStep"))
    throw new MisconfigurationError(
      "fit",
      `${module.constructor.name || "the module"} to have a trainingStep`,
      verbatim("none"),
      undefined,
      "ERR_NO_STEP",
    );
  const [loader, second] = requireLoaders("fit", trainDataloaders, ownLoaders(module, "trainDataloader"));
  if (loader === undefined || second !== undefined)
    throw new MisconfigurationError(
      "fit",
      "one loader of training batches",
      trainDataloaders,
      undefined,
      "ERR_LOADERS",
    );
  return shareOf(run, loader, "train");
}

function checkpointedModules({ module, options, strategy }: Run): CheckpointedModules {
  const { activationCheckpointing } = options;
  if (activationCheckpointing.length > 0 && strategy.stateDict !== undefined)
    throw new MisconfigurationError(
      "Trainer",
      "no activationCheckpointing with a strategy that shares parameters out",
      activationCheckpointing.map(({ name }) => name),
      'Use strategy: "ddp", or call checkpoint of @nbit/torch inside a unit\'s forward.',
      "ERR_ACTIVATION_CHECKPOINTING",
    );
  return new CheckpointedModules(module, activationCheckpointing);
}

function savesOnCpu({ options, strategy, warnings }: Run): boolean {
  if (!options.activationOffloading) return false;
  if (strategy.rootDevice.type !== "cpu") return true;
  warnings.warn(
    "WARN_ACTIVATION_OFFLOADING",
    "activationOffloading changes nothing on the CPU: activations are in its memory already. Leave it out.",
  );
  return false;
}

/** Null where CUDA graphs take whole steps. */
function stepReplays(run: Run): StepReplays | null {
  const { module, options, strategy, warnings } = run;
  if (options.cudaGraph) return null;
  const device = strategy.rootDevice.toString();
  const replays = new StepReplays({ mode: options.replay, module, device, strategy, warnings });
  const { context } = run.precision;
  if (context !== null) run.precision.context = { ...context, steps: () => describeReplays(replays.summary) };
  return replays;
}

function trainStep(run: Run, progress: FitProgress, replays: StepReplays | null): TrainStep {
  const { module, options, precision, strategy } = run;
  const mode = options.detectNonFinite;
  const step = new TrainStep({
    module,
    hooks: run.hooks,
    host: run,
    precision,
    optimizers: run.optimizers,
    progress,
    warnings: run.warnings,
    gradientClipVal: options.gradientClipVal,
    gradientClipAlgorithm: options.gradientClipAlgorithm,
    watch:
      mode === false
        ? null
        : new NonFiniteWatch({ module, precision, device: strategy.rootDevice, progress, mode, strategy }),
    strategy,
    replays,
    savesOnCpu: savesOnCpu(run),
  });
  step.accumulate = options.accumulateGradBatches;
  return step;
}

function graphedStep(run: Run, step: TrainStep, progress: FitProgress): GraphedStep {
  const { strategy } = run;
  return new GraphedStep({
    step,
    module: run.module,
    hooks: run.hooks,
    host: run,
    precision: run.precision,
    optimizers: run.optimizers,
    progress,
    warnings: run.warnings,
    device: strategy.rootDevice.toString(),
    exchange: { streamChanged: () => strategy.gradients?.streamChanged?.(), obstacle: strategy.graphObstacle ?? null },
  });
}

/** @throws {MisconfigurationError} ERR_MANUAL_OPTIMIZATION: an option says how the Trainer steps, and it does not. */
function checkManualOptimization({ module, options }: Run): void {
  if (module.automaticOptimization) return;
  const refused = (expected: string, received: unknown, fix: string): MisconfigurationError =>
    new MisconfigurationError("fit", `${expected} with manual optimization`, received, fix, "ERR_MANUAL_OPTIMIZATION");
  if (options.accumulateGradBatches !== 1)
    throw refused(
      "accumulateGradBatches: 1",
      options.accumulateGradBatches,
      "Step the optimizers in every n-th trainingStep instead.",
    );
  if (options.gradientClipVal !== null)
    throw refused(
      "no gradientClipVal",
      options.gradientClipVal,
      "Call this.clipGradients(optimizer, { gradientClipVal }) in trainingStep instead.",
    );
}
