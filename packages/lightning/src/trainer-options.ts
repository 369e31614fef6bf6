import { checkOptions, kinds, type OptionNames } from "@nbit/torch";
import { nearest } from "@nbit/torch/names";
import type { Accelerator } from "./accelerators/accelerator.js";
import type { Callback } from "./callbacks/callback.js";
import { MisconfigurationError } from "./errors.js";
import type { Logger } from "./loggers/logger.js";
import type { BatchLimit } from "./loops/fetch.js";
import type { DetectNonFinite } from "./loops/non-finite-watch.js";
import type { ClipAlgorithm } from "./precision/clip.js";
import type { PrecisionInput } from "./precision/names.js";
import type { Precision } from "./precision/precision.js";
import type { AmpLevel } from "./precision/entry.js";
import type { Strategy } from "./strategies/strategy.js";

/**
 * Options of a Trainer: Lightning's, in camelCase.
 *
 * Limits and intervals: a whole number counts batches, a number in (0, 1) is a share of the loader, undefined is everything.
 */
export interface TrainerOptions {
  /** "cpu", "cuda" ("gpu"), "tpu", "auto" (default), the name of a registered accelerator, or an Accelerator. */
  readonly accelerator?: string | Accelerator;
  /** "auto" (default: the first), a count, a list of indices, or one of these as a string: "1" is a count, "0," a list. */
  readonly devices?: string | number | readonly number[];
  /** How the module is placed, and how processes act together: "auto" (default), "single_device", the name of a registered strategy, or a Strategy. */
  readonly strategy?: string | Strategy;
  /**
   * What numbers are: 32 (default), 64, 16 or "bf16" (mixed: weights stay float32), "16-true" or "bf16-true" (everything in 16 bits), "float8" (float8 products), "auto" (what the device computes natively).
   * `trainer.precision.explain()` says what a choice means here.
   */
  readonly precision?: PrecisionInput;
  /** Precision of validation where it differs from training's, such as 32 beside "bf16-true". Weights are cast to its dtype for that time, and restored exactly. */
  readonly validationPrecision?: PrecisionInput;
  /** "native" (default) or "apex". */
  readonly ampBackend?: string;
  /** Under apex: "O0" to "O3". Default "O2". */
  readonly ampLevel?: AmpLevel;
  /** A precision plugin of your own making, such as `new MixedPrecision({ scaler: { initScale: 1024 } })`. */
  readonly plugins?: Precision | readonly Precision[];

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
  /** Validate every so many training batches, or after this share of an epoch. Default: at the end of an epoch. */
  readonly valCheckInterval?: number;
  /** Validate in every n-th epoch. Default 1. Null: count the batches of `valCheckInterval` across epochs. */
  readonly checkValEveryNEpoch?: number | null;
  /** Validation batches per loader that are tried before training. Default 2; -1 for all. */
  readonly numSanityValSteps?: number;

  /** Batches per optimizer step. Default 1. */
  readonly accumulateGradBatches?: number;
  /** Clip gradients, in their true size under loss scaling too, to this norm or value. Default null: no clipping. */
  readonly gradientClipVal?: number | null;
  /** "norm" (default) or "value". */
  readonly gradientClipAlgorithm?: ClipAlgorithm;
  /** Whether step-interval schedulers advance when a step is skipped. Default "advance"; "hold" reads the outcome of every step. */
  readonly onSkippedStep?: "advance" | "hold";

  /**
   * Record whole training steps as CUDA graphs after warm-up, and replay them: for models whose kernels are short. With `accumulateGradBatches` one graph for each role of a batch in its window. Falls back to eager, and says why.
   * Default false.
   */
  readonly cudaGraph?: boolean;

  /** Optimizer steps from one row of the loggers to the next. Default 50; 0: never. */
  readonly logEveryNSteps?: number;
  /** True (default): a CSV logger under `defaultRootDir`. */
  readonly logger?: boolean | Logger | readonly Logger[];
  /** Run at the hooks of training, in this order; ModelCheckpoint always last. */
  readonly callbacks?: Callback | readonly Callback[];
  /** Add a ModelCheckpoint when there is none. Default true. */
  readonly enableCheckpointing?: boolean;
  /** Show progress: a live line in a terminal, one line now and then elsewhere. Default true. */
  readonly enableProgressBar?: boolean;
  /** Print the layers, their parameters and bytes before training. Default true. */
  readonly enableModelSummary?: boolean;
  /**
   * End with an error when the loss is NaN or infinite (and no loss scaler skips such steps), before the optimizer uses it. The step is replayed, and the error names the module and the operator where it began.
   *
   * true (default): looks at the loss, on CPU in every step (a few microseconds), on CUDA at log steps, without waiting in between. "step": in every step, waiting for the device, so that the replay
   * finds the step as it was. "gradients": that, and every gradient. false: never.
   */
  readonly detectNonFinite?: DetectNonFinite;
  /** Operators without a deterministic algorithm throw ("warn": warn). Default false. */
  readonly deterministic?: boolean | "warn";
  /**
   * Let cuDNN time its algorithms for every new shape and keep the fastest: for convolutions whose shapes stay. False: no timing. Default: as `setSwitch("cudnnBenchmark", …)` has it; false when
   * `deterministic` is set.
   */
  readonly benchmark?: boolean;
  /**
   * Evaluate in inference mode, where no graph can come of anything: validate, test and predict. False: recording is only switched off, so that a step may switch it on again for a gradient that it needs
   * (forces, for example): `enableGrad(() => grad(energy, [position]))`. Validation within a fit is never in inference mode. Default true.
   */
  readonly inferenceMode?: boolean;
  /** Where logs and checkpoints go unless told otherwise. Default: the working directory. */
  readonly defaultRootDir?: string;
  /** Try everything on n batches (true: 1), without loggers, checkpoints and sanity check. */
  readonly fastDevRun?: boolean | number;
}

export interface Duration {
  readonly days?: number;
  readonly hours?: number;
  readonly minutes?: number;
  readonly seconds?: number;
}

const PART = kinds.real("[0, ∞)");
const DURATION: OptionNames<Duration> = { days: PART, hours: PART, minutes: PART, seconds: PART };

/** Options with their defaults, checked. */
export interface ResolvedOptions {
  readonly maxEpochs: number;
  readonly minEpochs: number;
  readonly maxSteps: number;
  readonly minSteps: number;
  readonly limitTrainBatches: BatchLimit;
  readonly limitValBatches: BatchLimit;
  readonly limitTestBatches: BatchLimit;
  readonly limitPredictBatches: BatchLimit;
  readonly valCheckInterval: number | undefined;
  readonly checkValEveryNEpoch: number | null;
  readonly numSanityValSteps: number;
  readonly accumulateGradBatches: number;
  readonly gradientClipVal: number | null;
  readonly gradientClipAlgorithm: ClipAlgorithm;
  readonly onSkippedStep: "advance" | "hold";
  readonly cudaGraph: boolean;
  readonly logEveryNSteps: number;
  readonly detectNonFinite: false | "loss" | "step" | "gradients";
  readonly deterministic: boolean | "warn";
  /** Undefined: leave it as it is. */
  readonly benchmark: boolean | undefined;
  readonly inferenceMode: boolean;
  readonly defaultRootDir: string;
  /** Number of batches, or false. */
  readonly fastDevRun: number | false;
}

const NAMES: OptionNames<TrainerOptions> = {
  accelerator: true, devices: true, precision: true, validationPrecision: true, ampBackend: true, ampLevel: true, plugins: true, strategy: true, maxEpochs: true,
  minEpochs: true, maxSteps: true, minSteps: true, maxTime: true, limitTrainBatches: true, limitValBatches: true, limitTestBatches: true, limitPredictBatches: true,
  valCheckInterval: true, checkValEveryNEpoch: true, numSanityValSteps: true, accumulateGradBatches: true, gradientClipVal: true, gradientClipAlgorithm: true, onSkippedStep: true, logEveryNSteps: true,
  logger: true, callbacks: true, enableCheckpointing: true, enableProgressBar: true, enableModelSummary: true, cudaGraph: true, detectNonFinite: true, deterministic: true,
  benchmark: true, inferenceMode: true, defaultRootDir: true, fastDevRun: true,
};

/** Options of Lightning's Trainer that this one has under another name, or does not need. */
const UNSUPPORTED_OPTIONS: ReadonlyMap<string, string> = new Map(
  Object.entries({
    gpus: 'Use accelerator: "cuda" and devices: 1.',
    numNodes: "There is one strategy: a single device.",
    syncBatchnorm: "There is one strategy: a single device.",
    useDistributedSampler: "There is one strategy: a single device.",
    profiler: "Use the PrecisionReport callback for times by module, or node --cpu-prof.",
    detectAnomaly: 'Use detectNonFinite: "gradients", which names the module and the operator.',
    amp: "Use precision: 16.",
    fp16: "Use precision: 16.",
    bf16: 'Use precision: "bf16".',
    resumeFromCheckpoint: "Pass ckptPath to fit.",
    overfitBatches: "Use limitTrainBatches, and shuffle: false in the loader.",
  }),
);

/** @throws {MisconfigurationError} `Trainer: expected the option maxEpochs. Received: "max_epochs".`, before any option is looked at. */
export function checkTrainerOptions(options: TrainerOptions): void {
  checkOptions("Trainer", options, NAMES, (expected, received) => {
    const unsupported = typeof received === "string" ? nearest(received, UNSUPPORTED_OPTIONS.keys(), 0) : null;
    const fix = unsupported === null ? undefined : UNSUPPORTED_OPTIONS.get(unsupported);
    return new MisconfigurationError("Trainer", fix === undefined ? expected : "an option that it has", received, fix, "ERR_TRAINER_OPTION");
  });
  for (const name of ["enableCheckpointing", "enableProgressBar", "enableModelSummary", "cudaGraph", "inferenceMode"] as const) {
    if (options[name] !== undefined) oneOf(name, options[name], [true, false]);
  }
  if (options.defaultRootDir !== undefined && typeof options.defaultRootDir !== "string") throw new MisconfigurationError("Trainer", "defaultRootDir to be a folder", options.defaultRootDir, undefined, "ERR_TRAINER_OPTION");
}

/** What `fastDevRun: n` makes of the other options: one epoch of n batches of everything, and no more. */
function inFastDevRun(n: number, options: TrainerOptions): TrainerOptions {
  const { valCheckInterval: _, ...rest } = options;
  return {
    ...rest,
    maxEpochs: 1,
    maxSteps: n,
    limitTrainBatches: n,
    limitValBatches: n,
    limitTestBatches: n,
    limitPredictBatches: n,
    checkValEveryNEpoch: options.checkValEveryNEpoch === null ? null : 1,
    numSanityValSteps: 0,
  };
}

/** Null, or finite and > 0. */
function clipValue(value: number | null): number | null {
  if (value === null || (value > 0 && Number.isFinite(value))) return value;
  throw new MisconfigurationError("Trainer", "gradientClipVal to be finite and > 0, or null", value, undefined, "ERR_TRAINER_OPTION");
}

/** Checks every option's value and fills in defaults. Nothing is started. */
export function resolveOptions(given: TrainerOptions, hasTimer: boolean): ResolvedOptions {
  const fastDevRun = given.fastDevRun === true ? 1 : (given.fastDevRun ?? false);
  if (fastDevRun !== false) whole("fastDevRun", fastDevRun, 1);
  const options = fastDevRun === false ? given : inFastDevRun(fastDevRun, given);

  const maxSteps = whole("maxSteps", options.maxSteps ?? -1, -1);
  const epochs = maxSteps !== -1 || hasTimer ? -1 : 1000;
  const minSteps = whole("minSteps", options.minSteps ?? 0, 0);
  const { checkValEveryNEpoch = 1, deterministic = false, benchmark = deterministic === true ? false : undefined } = options;
  return {
    gradientClipVal: clipValue(options.gradientClipVal ?? null),
    maxEpochs: whole("maxEpochs", options.maxEpochs ?? epochs, -1),
    minEpochs: whole("minEpochs", options.minEpochs ?? (minSteps > 0 ? 1 : 0), 0),
    maxSteps,
    minSteps,
    limitTrainBatches: limit("limitTrainBatches", options.limitTrainBatches),
    limitValBatches: limit("limitValBatches", options.limitValBatches),
    limitTestBatches: limit("limitTestBatches", options.limitTestBatches),
    limitPredictBatches: limit("limitPredictBatches", options.limitPredictBatches),
    valCheckInterval: interval("valCheckInterval", options.valCheckInterval),
    checkValEveryNEpoch: checkValEveryNEpoch === null ? null : whole("checkValEveryNEpoch", checkValEveryNEpoch, 1),
    numSanityValSteps: sanity(options.numSanityValSteps ?? 2),
    accumulateGradBatches: whole("accumulateGradBatches", options.accumulateGradBatches ?? 1, 1),
    gradientClipAlgorithm: oneOf("gradientClipAlgorithm", options.gradientClipAlgorithm ?? "norm", ["norm", "value"]),
    onSkippedStep: oneOf("onSkippedStep", options.onSkippedStep ?? "advance", ["advance", "hold"]),
    cudaGraph: options.cudaGraph ?? false,
    logEveryNSteps: whole("logEveryNSteps", options.logEveryNSteps ?? 50, 0),
    detectNonFinite: nonFinite(options.detectNonFinite),
    deterministic: oneOf("deterministic", deterministic, [false, true, "warn"]),
    benchmark: benchmark === undefined ? undefined : oneOf("benchmark", benchmark, [false, true]),
    inferenceMode: options.inferenceMode ?? true,
    defaultRootDir: options.defaultRootDir ?? process.cwd(),
    fastDevRun,
  };
}

function nonFinite(value: DetectNonFinite | undefined): ResolvedOptions["detectNonFinite"] {
  const mode = oneOf<DetectNonFinite>("detectNonFinite", value ?? true, [true, false, "step", "gradients"]);
  return mode === true ? "loss" : mode;
}

function whole(name: string, value: unknown, least: number): number {
  if (typeof value === "number" && Number.isInteger(value) && value >= least) return value;
  throw new MisconfigurationError("Trainer", `${name} to be a whole number ≥ ${least}${least === -1 ? " (-1: no limit)" : ""}`, value, undefined, "ERR_TRAINER_OPTION");
}

function limit(name: string, value: unknown): BatchLimit {
  if (value === undefined) return undefined;
  if (typeof value === "number" && value >= 0 && (Number.isInteger(value) || value < 1)) return value;
  throw new MisconfigurationError("Trainer", `${name} to be a whole number of batches, or a share in (0, 1)`, value, "Leave it out for all batches.", "ERR_TRAINER_OPTION");
}

function interval(name: string, value: unknown): number | undefined {
  const checked = limit(name, value);
  if (checked === 0) throw new MisconfigurationError("Trainer", `${name} to be a whole number of batches ≥ 1, or a share in (0, 1)`, value, "Use limitValBatches: 0 for no validation.", "ERR_TRAINER_OPTION");
  return checked;
}

function sanity(value: number): number {
  return value === -1 ? Infinity : whole("numSanityValSteps", value, 0);
}

function oneOf<T>(name: string, value: T, allowed: readonly T[]): T {
  if (allowed.includes(value)) return value;
  throw new MisconfigurationError("Trainer", `${name} to be one of ${allowed.map((a) => JSON.stringify(a)).join(", ")}`, value, undefined, "ERR_TRAINER_OPTION");
}

/** Seconds of a `maxTime` or Timer duration. */
export function parseDuration(value: string | Duration, where: string): number {
  if (typeof value === "string") {
    const match = /^(\d+):(\d\d):(\d\d):(\d\d)$/.exec(value.trim());
    if (match !== null) {
      const [days = 0, hours = 0, minutes = 0, seconds = 0] = match.slice(1).map(Number);
      return ((days * 24 + hours) * 60 + minutes) * 60 + seconds;
    }
  } else if (typeof value === "object" && value !== null) {
    checkOptions<Duration>(where, value, DURATION, (expected, received) => new MisconfigurationError(where, expected, received, undefined, "ERR_DURATION"));
    const { days = 0, hours = 0, minutes = 0, seconds = 0 } = value;
    const total = ((days * 24 + hours) * 60 + minutes) * 60 + seconds;
    if (Number.isFinite(total) && total >= 0) return total;
  }
  throw new MisconfigurationError(where, 'a duration as "DD:HH:MM:SS" or { days, hours, minutes, seconds }', value, undefined, "ERR_DURATION");
}
