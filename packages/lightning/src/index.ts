/** @nbit/lightning: a module that says what to train, and a Trainer that does, in any precision. */
export { LightningModule } from "./module.js";
export type {
  AllGatherOptions,
  ClipOptions,
  LightningLoadArguments,
  LoadModuleOptions,
  ToOnnxOptions,
} from "./module.js";
export { LightningDataModule } from "./datamodule.js";
export type { Datasets, FromDatasetsArguments } from "./data-from-datasets.js";
export type { DataHooks } from "./data-hooks.js";
export type { HyperparameterOptions } from "./hyperparameters.js";
export { Trainer } from "./trainer.js";
export type { TrainerEvent } from "./events/trainer-event.js";
export type { EventsOptions } from "./events/event-hub.js";
export type { EvaluateOptions, FitOptions, Loaders, MetricOptions, PredictOptions } from "./run-options.js";
export { PrecisionSearch } from "./precision-search.js";
export type { PrecisionSearchOptions } from "./precision-search.js";
export { flawOf, recommend, SearchResult } from "./diagnostics/search-result.js";
export type { SearchRow } from "./diagnostics/search-result.js";
export type { Duration } from "./duration.js";
export type { TrainerOptions } from "./trainer-options.js";
export type { CallbackView, CheckpointView, EarlyStoppingView } from "./callback-view.js";
export type { TrainerView } from "./trainer-view.js";
export type {
  Batch,
  HookResult,
  RunningStage,
  StepOutcome,
  StepOutput,
  StepResult,
  TrainerFn,
  TrainerState,
  TrainerStatus,
} from "./types.js";
export { InterruptError, MisconfigurationError } from "./errors.js";

export { Callback } from "./callbacks/callback.js";
export { BackboneFinetuning } from "./callbacks/backbone-finetuning.js";
export type { BackboneFinetuningOptions } from "./callbacks/backbone-finetuning.js";
export { BaseFinetuning } from "./callbacks/base-finetuning.js";
export type {
  FilterParamsArguments,
  FreezeArguments,
  Modules,
  UnfreezeArguments,
} from "./callbacks/base-finetuning.js";
export { BatchSizeFinder } from "./callbacks/batch-size-finder.js";
export type { BatchSizeFinderOptions } from "./callbacks/batch-size-finder.js";
export { Checkpoint } from "./callbacks/checkpoint.js";
export { EarlyStopping } from "./callbacks/early-stopping.js";
export type { EarlyStoppingOptions, StoppingReason } from "./callbacks/early-stopping.js";
export { EMAWeightAveraging } from "./callbacks/ema-weight-averaging.js";
export type { EMAWeightAveragingOptions } from "./callbacks/ema-weight-averaging.js";
export { GradientAccumulationScheduler } from "./callbacks/gradient-accumulation-scheduler.js";
export { LambdaCallback } from "./callbacks/lambda-callback.js";
export type { LambdaCallbackHooks } from "./callbacks/lambda-callback.js";
export { LearningRateFinder } from "./callbacks/learning-rate-finder.js";
export type { LearningRateFinderOptions } from "./callbacks/learning-rate-finder.js";
export { LearningRateMonitor } from "./callbacks/learning-rate-monitor.js";
export type { LearningRateMonitorOptions } from "./callbacks/learning-rate-monitor.js";
export { DeviceStatsMonitor } from "./callbacks/device-stats-monitor.js";
export type { DeviceStats } from "./callbacks/device-stats-monitor.js";
export { LossScaleMonitor } from "./callbacks/loss-scale-monitor.js";
export type { LossScaleMonitorOptions, Overflow } from "./callbacks/loss-scale-monitor.js";
export { ModelPruning } from "./callbacks/model-pruning.js";
export type { ModelPruningOptions, PruningAmount } from "./callbacks/model-pruning.js";
export type { PrunedPlace } from "./callbacks/pruned-parameters.js";
export type { PruningClass } from "./callbacks/pruning-functions.js";
export { ModelSummary, Summary, summarize } from "./callbacks/model-summary.js";
export { OnExceptionCheckpoint } from "./callbacks/on-exception-checkpoint.js";
export type { OnExceptionCheckpointOptions } from "./callbacks/on-exception-checkpoint.js";
export { BasePredictionWriter } from "./callbacks/prediction-writer.js";
export type { BasePredictionWriterOptions, WriteInterval } from "./callbacks/prediction-writer.js";
export { PrecisionLint, PrecisionLintError } from "./callbacks/precision-lint.js";
export type { PrecisionLintOptions } from "./callbacks/precision-lint.js";
export type { LintCode, LintFinding } from "./diagnostics/lint.js";
export { PrecisionReport } from "./callbacks/precision-report.js";
export type { PrecisionReportOptions } from "./callbacks/precision-report.js";
export { ProgressBar } from "./callbacks/progress-bar.js";
export type { ProgressBarOptions } from "./callbacks/progress-bar.js";
export { RichModelSummary } from "./callbacks/rich-model-summary.js";
export { RichProgressBar } from "./callbacks/rich-progress-bar.js";
export { SpikeDetection, TrainingSpikeException } from "./callbacks/spike-detection.js";
export type { SpikeDetectionOptions } from "./callbacks/spike-detection.js";
export { StochasticWeightAveraging } from "./callbacks/stochastic-weight-averaging.js";
export type { StochasticWeightAveragingOptions } from "./callbacks/stochastic-weight-averaging.js";
export { TQDMProgressBar } from "./callbacks/tqdm-progress-bar.js";
export { WeightAveraging } from "./callbacks/weight-averaging.js";
export type { WeightAveragingOptions } from "./callbacks/weight-averaging.js";
export { Tuner } from "./tuner/tuner.js";
export type { LrFindOptions, ScaleBatchSizeOptions } from "./tuner/tuner.js";
export { LRFinder } from "./tuner/lr-finder.js";
export type { LRFinderMode, PlotOptions, SuggestionOptions } from "./tuner/lr-finder.js";
export { RunLog } from "./callbacks/run-log.js";
export type { RunLogOptions } from "./callbacks/run-log.js";
export { Timer } from "./callbacks/timer.js";
export type { TimerOptions } from "./callbacks/timer.js";

export { AsyncCheckpointIO } from "./checkpoint/async-checkpoint-io.js";
export { CheckpointIO } from "./checkpoint/checkpoint-io.js";
export type { CheckpointStorage } from "./checkpoint/checkpoint-io.js";
export { TorchCheckpointIO } from "./checkpoint/torch-checkpoint-io.js";
export type { TorchCheckpointIOOptions } from "./checkpoint/torch-checkpoint-io.js";
export { readCheckpoint, writeCheckpoint, type SaveCheckpointOptions } from "./checkpoint/file.js";
export type { Checkpoint as CheckpointContents, DatamoduleState, LoopsState } from "./checkpoint/format.js";
export { ModelCheckpoint } from "./checkpoint/model-checkpoint.js";
export type { ModelCheckpointOptions } from "./checkpoint/model-checkpoint-options.js";

export { CSVLogger } from "./loggers/csv.js";
export type { CSVExperiment, CSVLoggerOptions } from "./loggers/csv.js";
export { JSONLLogger } from "./loggers/jsonl.js";
export type { JSONLExperiment, JSONLLoggerArguments } from "./loggers/jsonl.js";
export { Logger } from "./loggers/logger.js";
export type { Metrics, SavedCheckpoint } from "./loggers/logger.js";
export { MLFlowLogger } from "./loggers/mlflow.js";
export type { MLFlowLoggerArguments } from "./loggers/mlflow.js";
export { LoggerServerError, MlflowClient } from "./loggers/mlflow-client.js";
export type {
  MlflowBatch,
  MlflowExperiment,
  MlflowMetric,
  MlflowRun,
  MlflowStatus,
  MlflowText,
} from "./loggers/mlflow-client.js";
export { TensorBoardLogger } from "./loggers/tensorboard.js";
export type { TensorBoardLoggerArguments } from "./loggers/tensorboard.js";
export { WandbLogger } from "./loggers/wandb.js";
export type { WandbCaptions, WandbLoggerArguments } from "./loggers/wandb.js";
export { WandbRun } from "./loggers/wandb-run.js";
export type { WandbData, WandbImage } from "./loggers/wandb-run.js";
export type { LogValue, Reduction } from "./logging/metric.js";
export type { LogOptions } from "./logging/results.js";

export type { EvaluationResult } from "./loops/evaluation.js";
export type { BatchLimit, Loader } from "./loops/fetch.js";
export { LightningOptimizer } from "./loops/lightning-optimizer.js";
export type {
  LRSchedulerConfig,
  OptimizerConfiguration,
  OptimizerSpec,
  Scheduler,
  SchedulerSpec,
} from "./loops/optimizer-configuration.js";

export { Precision } from "./precision/precision.js";
export type { BackwardParts, PrecisionStep } from "./precision/precision.js";
export type { PrecisionContext, PrecisionDTypes } from "./precision/facts.js";
export type { GradientAccess } from "./precision/gradient-access.js";
export type { GraphSupport } from "./precision/graph-support.js";
export { LossScaling } from "./precision/loss-scaling.js";
export { ApexPrecision } from "./precision/apex.js";
export type { ApexPrecisionOptions } from "./precision/apex.js";
export { DoublePrecision } from "./precision/double.js";
export { AheadReport, type AheadProgramReport, type AheadReportFields } from "./diagnostics/ahead-report.js";
export { Explanation } from "./diagnostics/explain.js";
export { explainOn, type ExplainOnOptions } from "./rehearsal/explain-on.js";
export type { ExplainOptions, ExplanationFields, PrecisionDescription } from "./diagnostics/explain.js";
export { forecastMemory } from "./diagnostics/memory.js";
export { forecastRank, type RankForecastOptions } from "./diagnostics/rank-memory.js";
export type { ProcessForecast, RankForecast } from "./diagnostics/rank-forecast.js";
export type { CheckpointForecast } from "./diagnostics/checkpoint-forecast.js";
export type { ModuleClass } from "./module-classes.js";
export type { MemoryForecast } from "./diagnostics/memory-forecast.js";
export type { MemoryLayout, ParameterLayout } from "./diagnostics/memory.js";
export type { ReportOptions } from "./diagnostics/report.js";
export { Float8Precision } from "./precision/float8.js";
export type { Float8PrecisionOptions } from "./precision/float8.js";
export { QuantizedPrecision } from "./precision/quantized.js";
export type { QuantizedPrecisionOptions } from "./precision/quantized.js";
export { FullPrecision } from "./precision/full.js";
export { HalfPrecision } from "./precision/half.js";
export { MixedPrecision } from "./precision/mixed.js";
export type { MixedPrecisionOptions } from "./precision/mixed.js";
export type { PrecisionInput, PrecisionName, PrecisionNames } from "./precision/names.js";
export { availablePrecisions, registerPrecision } from "./precision/catalogue.js";
export type {
  AmpLevel,
  NativeArithmetic,
  PrecisionEntry,
  PrecisionFactory,
  PrecisionRequest,
} from "./precision/entry.js";
export { registerAmpBackend } from "./precision/registry.js";
export { PerModulePrecision, precisionFor } from "./precision/per-module.js";
export type { ModulePrecisions, PrecisionForOptions } from "./precision/per-module.js";
export { TruePrecision } from "./precision/true.js";

export type { DetectNonFinite } from "./loops/non-finite-watch.js";
export { NonFiniteError } from "./diagnostics/non-finite.js";
export type { NonFiniteOrigin, RankOverflow } from "./diagnostics/non-finite-origin.js";
export type { OperatorUse, Reason } from "./diagnostics/attribution.js";
export { measureRange, mergeRanges, rangeOf, sharesIn } from "./diagnostics/number-range.js";
export type { DTypeRange, NumberRange, RangeShares } from "./diagnostics/number-range.js";
export { StepPrecision } from "./diagnostics/step-precision.js";
export type { ModulePrecision, StepPrecisionData, Totals } from "./diagnostics/step-precision.js";

export type { Accelerator, DeviceSupport } from "./accelerators/accelerator.js";
export { CPUAccelerator } from "./accelerators/cpu.js";
export { CUDAAccelerator } from "./accelerators/cuda.js";
export { TPUAccelerator } from "./accelerators/tpu.js";
export { XLAAccelerator, type XLAAcceleratorOptions } from "./accelerators/xla.js";
export type { XLAPlugin } from "./accelerators/pjrt.js";
export type { StepCompiler } from "./strategies/step-compiler.js";
export { XLAStrategy, type XLAStrategyOptions } from "./strategies/xla.js";
export { registerAccelerator } from "./accelerators/registry.js";
export { registerStrategy } from "./strategies/registry.js";
export type { StrategyMaker } from "./strategies/registry.js";
export { SingleDeviceStrategy } from "./strategies/single-device.js";
export { DDPStrategy, type DDPOptions } from "./strategies/ddp.js";
export { FSDPStrategy, type FSDPOptions } from "./strategies/fsdp.js";
export { ParallelStrategy, type ParallelOptions } from "./strategies/parallel.js";
export type { Collectives, GradientSync, Strategy } from "./strategies/strategy.js";

export { rankZeroDeprecation, rankZeroInfo, rankZeroOnly, rankZeroWarn } from "./ranks/rank-zero.js";

export {
  findUsableCudaDevices,
  moveDataToDevice,
  recursiveDetach,
  suggestedMaxNumWorkers,
} from "./utilities/devices.js";
export { gradNorm } from "./utilities/grad-norm.js";
export { isOverridden } from "./utilities/is-overridden.js";
export { isolateRng } from "./utilities/isolate-rng.js";
export { garbageCollectionCuda, isOomError } from "./utilities/memory.js";
export { findSharedParameters, setSharedParameters } from "./utilities/shared-parameters.js";

export { PassThroughProfiler, Profiler, type ProfilerOptions, type ProfilerSetup } from "./profilers/profiler.js";
export { SimpleProfiler, type SimpleProfilerOptions } from "./profilers/simple.js";
export { AdvancedProfiler, type AdvancedProfilerOptions } from "./profilers/advanced.js";
export { PyTorchProfiler, type PyTorchProfilerOptions } from "./profilers/pytorch.js";
export { bottleneckOf, type Bottleneck, type BottleneckFigures, type ProbeFigures } from "./profilers/bottleneck.js";
export { ThroughputMonitor, type ThroughputMonitorOptions } from "./callbacks/throughput-monitor.js";
export { measureFlops } from "./throughput/measure-flops.js";
export { getAvailableFlops } from "./throughput/peak-flops.js";
export { Throughput, type ThroughputOptions, type ThroughputUpdate } from "./throughput/throughput.js";

export { CombinedLoader, seedEverything } from "@nbit/torch";
