/** The parts of a fit, made in the order in which each needs the one before. Nothing has been trained yet. */
import { verbatim } from "@nbit/torch";
import { CheckpointedModules } from "../activations.js";
import { MisconfigurationError } from "../errors.js";
import { isOverridden } from "../hooks.js";
import { Results } from "../logging/results.js";
import { CompiledSteps } from "../loops/compiled-steps.js";
import type { BatchSource } from "../loops/batch-source.js";
import { sourceOf } from "../loops/combined-fetcher.js";
import { FitLoop } from "../loops/fit.js";
import { filled, type LoaderGroup } from "../loops/loader-group.js";
import { GraphedStep } from "../loops/graphed-step.js";
import { NonFiniteWatch } from "../loops/non-finite-watch.js";
import { configureOptimizers } from "../loops/optimizers.js";
import { FitProgress } from "../loops/progress.js";
import { describeReplays, StepReplays } from "../loops/step-replays.js";
import { SchedulerStepper } from "../loops/schedulers.js";
import { TrainStep } from "../loops/train-step.js";
import type { Run } from "../run.js";
import { isStepCompiler } from "../strategies/step-compiler.js";
import { XLAStrategy } from "../strategies/xla.js";
import { warnOfGaps, warnOfHiddenParameters } from "../run-checks.js";
import type { FitOptions } from "../run-options.js";
import { equalLengths, trainingLoaders } from "./loaders.js";
import { evaluationLoop } from "./prepare-evaluation.js";

export function prepareFit(run: Run, given: FitOptions): void {
  const { module, options, warnings } = run;
  checkStep(run);
  const first = trainingLoaders(run, run.data.loaders("trainDataloader", given.trainDataloaders));
  const progress = new FitProgress();
  const source = (group: LoaderGroup): BatchSource => {
    const of = sourceOf(group, options.limitTrainBatches, "limitTrainBatches");
    equalLengths(run, of);
    return of;
  };
  let group = first;
  const fetcher = source(first);
  run.preparing = { progress, fetcher };

  warnOfHiddenParameters(module, run.collectives);
  const configured = run.within("configureOptimizers", () => configureOptimizers(module));
  const { optimizers } = configured;
  const schedulers = (run.owner.trial?.schedules ?? true) ? configured.schedulers : [];
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
      hasValidation: run.validation !== null || hasLoaders(run, given),
      options,
      hasLoggers: run.owner.loggers.length > 0,
      steps: run.trainer.estimatedSteppingBatches,
      resumes: run.checkpoint !== null,
    },
    warnings,
  );
  const graph = options.cudaGraph ? graphedStep(run, step, progress) : null;
  const compiled = compiledSteps(run, step, progress);
  const results = new Results(true, warnings);
  const stepper = new SchedulerStepper(schedulers, module, run.metricStore, run.collectives);
  const loop = new FitLoop(run, {
    step,
    graph,
    compiled,
    replays,
    fetcher,
    reload: () => {
      group = trainingLoaders(run, run.data.loaders("trainDataloader", given.trainDataloaders));
      return source(group);
    },
    validation: run.validation,
    schedulers: stepper,
    progress,
    results,
    mayRepeat: first.mayRepeat,
  });
  run.fit = {
    ...{ progress, results, step, replays, graph, compiled, schedulers: stepper, loop },
    get fetcher() {
      return loop.fetcher;
    },
    get dataloaders() {
      return filled(group.like, group.loaders);
    },
  };
}

/** Whether somebody brings loaders for a validation that has no step. */
function hasLoaders({ module, data }: Run, { valDataloaders }: FitOptions): boolean {
  if (isOverridden(module, "validationStep")) return false;
  return (data.loaders("valDataloader", valDataloaders) ?? null) !== null;
}

function checkStep({ module }: Run): void {
  if (!isOverridden(module, "trainingStep"))
    throw new MisconfigurationError(
      "fit",
      `${module.constructor.name || "the module"} to have a trainingStep`,
      verbatim("none"),
      undefined,
      "ERR_NO_STEP",
    );
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

/** Null where whole steps are taken: by CUDA graphs, or by a compiler. */
function stepReplays(run: Run): StepReplays | null {
  const { module, options, strategy, warnings } = run;
  if (options.cudaGraph || run.deviceMemory !== null) return null;
  const device = strategy.rootDevice.toString();
  // A replayed step calls kernels without operators, of which a profiler would see nothing.
  const mode = run.profiling?.observesOperators === true ? false : options.replay;
  const replays = new StepReplays({ mode, module, device, strategy, warnings });
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
      mode === false || run.deviceMemory !== null
        ? null
        : new NonFiniteWatch({ module, precision, device: strategy.rootDevice, progress, mode, strategy }),
    strategy,
    profiling: run.profiling,
    replays,
    savesOnCpu: savesOnCpu(run),
    compiled: run.deviceMemory !== null,
  });
  step.accumulate = options.accumulateGradBatches;
  return step;
}

function graphedStep(run: Run, step: TrainStep, progress: FitProgress): GraphedStep {
  const { strategy } = run;
  const graphed = new GraphedStep({
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
  const { context } = run.precision;
  if (context !== null) run.precision.context = { ...context, steps: () => graphed.describe() };
  return graphed;
}

/** Where steps are programs of another device. */
function compiledSteps(run: Run, step: TrainStep, progress: FitProgress): CompiledSteps | null {
  const { deviceMemory: memory, strategy, options } = run;
  const { accelerator } = run.owner;
  if (memory === null || !isStepCompiler(accelerator)) return null;
  const { devices, shardState } = strategy instanceof XLAStrategy ? strategy : { devices: 1, shardState: false };
  checkCompiled(run, memory.device.name);
  const compiled = new CompiledSteps({
    step,
    module: run.module,
    hooks: run.hooks,
    host: run,
    optimizers: run.optimizers,
    progress,
    warnings: run.warnings,
    memory,
    partitions: devices === -1 ? memory.device.count : devices,
    shardState,
    float32MatmulPrecision: accelerator.float32MatmulPrecision,
    detectNonFinite: options.detectNonFinite !== false,
    say: (line) => {
      if (options.enableProgressBar) process.stderr.write(`${line}\n`);
    },
  });
  const { context } = run.precision;
  const said = (): string | null =>
    [compiled.describe(), run.forwards?.describe()].filter((phrase) => phrase != null).join("; ") || null;
  if (context !== null) run.precision.context = { ...context, steps: said };
  return compiled;
}

/** @throws {MisconfigurationError} ERR_XLA_OPTION: options for which steps run on the host. */
function checkCompiled({ options }: Run, device: string): void {
  const refuse = (option: string, received: unknown, fix: string): never => {
    throw new MisconfigurationError("Trainer", `no ${option} on ${device}`, received, fix, "ERR_XLA_OPTION");
  };
  if (options.cudaGraph) refuse("cudaGraph", true, "A step is one program there already.");
  if (options.detectNonFinite === "step" || options.detectNonFinite === "gradients")
    refuse(
      `detectNonFinite: "${options.detectNonFinite}"`,
      options.detectNonFinite,
      'Use true, or accelerator: "cpu" to look for where it began.',
    );
  if (options.detectAnomaly) refuse("detectAnomaly", true, 'Use accelerator: "cpu" to look for where it began.');
  if (options.activationOffloading) refuse("activationOffloading", true, "The compiler decides what stays in memory.");
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
