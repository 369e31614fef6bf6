import type { CpuKernels } from "@nbit/torch";
import type { Accelerator } from "./accelerators/accelerator.js";
import type { Callback } from "./callbacks/callback.js";
import type { CheckpointIO } from "./checkpoint/checkpoint-io.js";
import type { Duration } from "./duration.js";
import type { Logger } from "./loggers/logger.js";
import type { BatchLimit } from "./loops/fetch.js";
import type { Replay } from "./loops/step-replays.js";
import type { ModuleClass } from "./module-classes.js";
import type { DetectNonFinite } from "./loops/non-finite-watch.js";
import type { ClipAlgorithm } from "./precision/clip.js";
import type { PrecisionInput } from "./precision/names.js";
import type { Precision } from "./precision/precision.js";
import type { Profiler } from "./profilers/profiler.js";
import type { AmpLevel } from "./precision/entry.js";
import type { Strategy } from "./strategies/strategy.js";

/**
 * Options of a Trainer: Lightning's, in camelCase.
 *
 * Limits and intervals: a whole number counts batches, a number in (0, 1) is a share of the loader, undefined is
 * everything.
 */
export interface TrainerOptions {
  /** "cpu", "cuda" ("gpu"), "tpu", "auto" (default), the name of a registered accelerator, or an Accelerator. */
  readonly accelerator?: string | Accelerator;
  /**
   * "auto" (default: the first), a count, a list of indices, or one of these as a string: "1" is a count, "0," a list.
   * With several, on the CPU too, each has a process: the Trainer runs the script once for each, and the process that
   * was started first only watches over them and ends with their exit code.
   */
  readonly devices?: string | number | readonly number[];
  /**
   * How the module is placed, and how processes act together: "auto" (default: "ddp" where there are several),
   * "single_device", "ddp", the name of another registered strategy, or a Strategy.
   */
  readonly strategy?: string | Strategy;
  /**
   * With several processes, give each its share of every DataLoader over positions: training shuffles as the loader
   * does, from the seed of process 0, and gives all equally many; evaluation gives each position to one process, predict
   * each batch. A loader with a DistributedSampler of its own stays as it is. Default true. False: loaders are left
   * alone, and processes that read the same data do so.
   */
  readonly useDistributedSampler?: boolean;
  /** Put SyncBatchNorm in the place of every BatchNorm where there are several processes. Default false. */
  readonly syncBatchnorm?: boolean;
  /** Machines. Default 1; with more, a launcher (nbit run, torchrun, srun) starts the processes of each. */
  readonly numNodes?: number;
  /**
   * What numbers are: 32 (default), 64, 16 or "bf16" (mixed: weights stay float32), "16-true" or "bf16-true"
   * (everything in 16 bits), "float8" (float8 products), "auto" (what the device computes natively).
   * `trainer.precision.explain()` says what a choice means here.
   */
  readonly precision?: PrecisionInput;
  /**
   * Precision of validation where it differs from training's, such as 32 beside "bf16-true". Weights are cast to its
   * dtype for that time, and restored exactly.
   */
  readonly validationPrecision?: PrecisionInput;
  /** "native" (default) or "apex". */
  readonly ampBackend?: string;
  /** Under apex: "O0" to "O3". Default "O2". */
  readonly ampLevel?: AmpLevel;
  /**
   * A precision of your own making, such as `new MixedPrecision({ scaler: { initScale: 1024 } })`, and what saves
   * checkpoints, such as `new AsyncCheckpointIO()`.
   */
  readonly plugins?: Precision | CheckpointIO | readonly (Precision | CheckpointIO)[];

  /** -1: no limit. Default 1000, or no limit when `maxSteps` or `maxTime` is given. */
  readonly maxEpochs?: number;
  /** Train at least so many, whatever stops earlier. Default 0. */
  readonly minEpochs?: number;
  /** Optimizer steps; -1 (default): no limit. */
  readonly maxSteps?: number;
  /** Train at least so many, whatever stops earlier. Default 0. */
  readonly minSteps?: number;
  /** "DD:HH:MM:SS", or an object of days, hours, minutes and seconds. */
  readonly maxTime?: string | Duration;

  /** Training batches per epoch. Default: all. */
  readonly limitTrainBatches?: BatchLimit;
  /** Validation batches per loader; 0: no validation. Default: all. */
  readonly limitValBatches?: BatchLimit;
  /** Test batches per loader. Default: all. */
  readonly limitTestBatches?: BatchLimit;
  /** Batches per loader of `predict`. Default: all. */
  readonly limitPredictBatches?: BatchLimit;
  /**
   * Learn a few batches by heart, to see whether a model can: so many of training, and of validation within the fit, the
   * same in every epoch, in the place of `limitTrainBatches` and `limitValBatches`. Shuffling is switched off, with a
   * warning. Default 0: all batches.
   */
  readonly overfitBatches?: number;
  /** Validate every so many training batches, or after this share of an epoch. Default: at the end of an epoch. */
  readonly valCheckInterval?: number;
  /** Validate in every n-th epoch. Default 1. Null: count the batches of `valCheckInterval` across epochs. */
  readonly checkValEveryNEpoch?: number | null;
  /** Validation batches per loader that are tried before training. Default 2; -1 for all. */
  readonly numSanityValSteps?: number;

  /**
   * Ask for the loaders again after so many epochs, of whoever brings them: for data that grows, or a batch size that
   * changes. Default 0: never.
   */
  readonly reloadDataloadersEveryNEpochs?: number;

  /** Batches per optimizer step. Default 1. */
  readonly accumulateGradBatches?: number;
  /** Clip gradients, in their true size under loss scaling too, to this norm or value. Default null: no clipping. */
  readonly gradientClipVal?: number | null;
  /** "norm" (default) or "value". */
  readonly gradientClipAlgorithm?: ClipAlgorithm;
  /**
   * Whether step-interval schedulers advance when a step is skipped. Default "advance"; "hold" reads the outcome of
   * every step.
   */
  readonly onSkippedStep?: "advance" | "hold";

  /**
   * Classes of modules whose forward runs again in backward instead of keeping activations, such as `[Block]`: every
   * module of such a class inside the module trained. Gradients are the same to the last bit; memory for their
   * activations shrinks to their arguments, for the time of one more forward. They must compute the same both times
   * (`checkpoint` of `@nbit/torch`). `trainer.precision.explain({ batch })` says what it saves and costs. Not together
   * with `cudaGraph`, nor with strategies that share parameters out. Default: none.
   */
  readonly activationCheckpointing?: readonly ModuleClass[];
  /**
   * Keep activations in the memory of the CPU from forward to backward (`saveOnCpu` of `@nbit/torch`): for a GPU that is
   * too small, at the price of two copies over the bus. Not together with `cudaGraph`. On the CPU it changes nothing,
   * and a warning says so. Default false.
   */
  readonly activationOffloading?: boolean;

  /**
   * Record whole training steps as CUDA graphs after warm-up, and replay them: for models whose kernels are short. With
   * `accumulateGradBatches` one graph for each role of a batch in its window. Falls back to eager, and says why.
   * Default false.
   */
  readonly cudaGraph?: boolean;

  /**
   * Replay forward and backward of steps on the CPU: recorded at a batch's second shape-alike, their kernels then run
   * without autograd and in memory planned once, for as long as the module's code makes the same calls; where it does
   * not, the step goes on eagerly, with the same results to the last bit. "auto" (default): where possible. true: where
   * it is not possible a warning says why. false: never. `trainer.precision.explain()` says what became of it.
   */
  readonly replay?: Replay;

  /** Optimizer steps from one row of the loggers to the next. Default 50; 0: never. */
  readonly logEveryNSteps?: number;
  /** True (default): a CSV logger under `defaultRootDir`. */
  readonly logger?: boolean | Logger | readonly Logger[];
  /**
   * Keep the log of each fit that `nbit report` draws, `run.jsonl` in the first logger's folder: a `RunLog`, added when
   * there is none. Default: true where a logger has a folder. With `true` itself the log is in `defaultRootDir` where none
   * has.
   */
  readonly runLog?: boolean;
  /** Run at the hooks of training, in this order; ModelCheckpoint always last. */
  readonly callbacks?: Callback | readonly Callback[];
  /** Add a ModelCheckpoint when there is none. Default true. */
  readonly enableCheckpointing?: boolean;
  /** Show progress: a live line in a terminal, one line now and then elsewhere. Default true. */
  readonly enableProgressBar?: boolean;
  /** Print the layers, their parameters and bytes before training. Default true. */
  readonly enableModelSummary?: boolean;
  /**
   * End with an error when the loss is NaN or infinite (and no loss scaler skips such steps), before the optimizer uses
   * it. The step is replayed, and the error names the module and the operator where it began.
   *
   * true (default): looks at the loss, on CPU in every step (a few microseconds), on CUDA at log steps, without waiting
   * in between. "step": in every step, waiting for the device, so that the replay finds the step as it was.
   * "gradients": that, and every gradient. false: never.
   *
   * Several processes end together, and the error names the one whose loss it was. A step that a loss scaler skips is
   * replayed too, by all, to say whose values it was for (`StepOutcome.ranks`): `trainingStep` is called once more.
   */
  readonly detectNonFinite?: DetectNonFinite;
  /**
   * Look for NaN in what each operator of backward returns, and end with an error that names the forward operator, with
   * the line that called it. Slow. Default false. `detectNonFinite` looks at losses and gradients.
   */
  readonly detectAnomaly?: boolean;
  /** Operators without a deterministic algorithm throw ("warn": warn). Default false. */
  readonly deterministic?: boolean | "warn";
  /**
   * Let cuDNN time its algorithms for every new shape and keep the fastest: for convolutions whose shapes stay. False:
   * no timing. Default: as `setSwitch("cudnnBenchmark", …)` has it; false when `deterministic` is set.
   */
  readonly benchmark?: boolean;
  /**
   * Which kernels compute 16-bit operators on the CPU while a run lasts. "fast": ours where they are faster; each sums
   * in float32 and rounds once. "libtorch": its own, with the bits of PyTorch. Float32 and float64 are the same in
   * both. Default: as `setCpuKernels` has it, which is "fast" in a new process.
   */
  readonly cpuKernels?: CpuKernels;
  /**
   * Evaluate in inference mode, where no graph can come of anything: validate, test and predict. False: recording is
   * only switched off, so that a step may switch it on again for a gradient that it needs (forces, for example):
   * `enableGrad(() => grad(energy, [position]))`. Validation within a fit is never in inference mode. Default true.
   */
  readonly inferenceMode?: boolean;
  /** Give the loggers what `saveHyperparameters` recorded, when a fit begins. Default true. */
  readonly enableAutologHparams?: boolean;
  /**
   * Leave out whatever costs time beside training, to measure the Trainer itself: checkpoints, loggers and `log`, the
   * progress bar, the summary, the sanity check, the look for losses that are not finite. An option that asks for one of
   * these is an error. Default false.
   */
  readonly barebones?: boolean;
  /**
   * Times what the run does and reports at its end: "simple" (every action), "advanced" (functions of each action),
   * "pytorch" (operators, with a trace for Perfetto), or a Profiler. Then it says what the run waited for: data, the host,
   * or computing. Null (default): none, which costs nothing.
   */
  readonly profiler?: string | Profiler | null;
  /** Where logs and checkpoints go unless told otherwise. Default: the working directory. */
  readonly defaultRootDir?: string;
  /** Try everything on n batches (true: 1), without loggers, checkpoints and sanity check. */
  readonly fastDevRun?: boolean | number;
}
