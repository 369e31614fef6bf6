/**
 * What an option of the Trainer is, one row each: how it is checked, what it is when it is not given, how a command
 * line spells it, and what it does in one line. Checks, defaults, the flags of `nbit fit` and the table in
 * `docs/trainer-options.md` are read from here; its type and its docstring stand in `TrainerOptions`. Loads no
 * libtorch: a command line lists its flags without it.
 */
import { kinds } from "@nbit/torch/options";
import type { Accelerator } from "./accelerators/accelerator.js";
import type { BatchLimit } from "./loops/fetch.js";
import { moduleClasses } from "./module-classes.js";
import type { TrainerOptions } from "./trainer-options.js";

/**
 * How the text of a flag becomes a value: a switch is true alone, and takes `true` and `false`; "class": the name of one,
 * of which an instance is made.
 */
export type FlagKind = "text" | "number" | "switch" | "null" | "class";

/** What can be said of any option. */
export interface TrainerOption {
  /** What it is when it is not given, or how that follows from those that are; left out: undefined. */
  readonly default?: unknown;
  /** The same in words, where a value would not show it. */
  readonly defaultWords?: string;
  /** What a flag of its name may be followed by, tried in this order; null: only a program can give it. */
  readonly flag: readonly FlagKind[] | null;
  /** Values that are not obvious. */
  readonly values?: string;
  readonly summary: string;
}
type Row<T> = kinds.Kind<T> &
  TrainerOption &
  (
    | { readonly default: T }
    | { readonly default?: (given: TrainerOptions) => T | undefined; readonly defaultWords: string }
  );

const option = <T, const More extends object>(kind: kinds.Kind<T>, more: More): kinds.Kind<T> & More => ({
  ...kind,
  ...more,
});

const count = (least: number, note = ""): kinds.Kind<number> =>
  kinds.such(`a whole number ≥ ${least}${note}`, (v) => typeof v === "number" && Number.isInteger(v) && v >= least);
const limited = count(-1, " (-1: no limit)");
const nth = kinds.such<number | null>("a whole number ≥ 1", (v) => v === null || count(1).accepts(v));
const isBatches = (v: unknown): boolean => typeof v === "number" && v >= 0 && (Number.isInteger(v) || v < 1);
const batches: kinds.Kind<BatchLimit> = {
  words: "a whole number of batches, or a share in (0, 1)",
  accepts: isBatches,
  meant: () => "Leave it out for all batches.",
};
const overfit: kinds.Kind<number> = { words: batches.words, accepts: isBatches };
const interval: kinds.Kind<number> = {
  words: "a whole number of batches ≥ 1, or a share in (0, 1)",
  accepts: (v) => isBatches(v) && v !== 0,
  meant: (v) => (v === 0 ? "Use limitValBatches: 0 for no validation." : ""),
};
const sanitySteps = kinds.such<number>("a whole number ≥ 0", (v) => v === -1 || count(0).accepts(v));
const trials = kinds.such<boolean | number>("a whole number ≥ 1", (v) => typeof v === "boolean" || count(1).accepts(v));
const clip = kinds.such<number | null>(
  "finite and > 0, or null",
  (v) => v === null || (typeof v === "number" && v > 0 && Number.isFinite(v)),
);
const accelerator = kinds.such<string | Accelerator>(
  "the name of an accelerator, or an Accelerator",
  (v) => typeof v === "string" || (typeof v === "object" && v !== null),
);
const folder = kinds.such<string>("a folder", (v) => typeof v === "string");
const choice = <const V extends readonly (string | boolean)[]>(...values: V): kinds.Kind<V[number]> =>
  kinds.such(`one of ${values.map((v) => JSON.stringify(v)).join(", ")}`, kinds.oneOf(...values).accepts);
const onOff = choice(true, false);
/** What a part of the Trainer checks, together with other options or with what is registered. */
const elsewhere = kinds.anything;

const TEXT = ["text"] as const;
const NUMBER = ["number"] as const;
const SWITCH = ["switch"] as const;
const SHARE = "a count, or a share in (0, 1)";

/** @internal The rows with their types; a name too many or too few does not compile. */
export const ROWS = {
  accelerator: option(accelerator, {
    default: "auto",
    flag: TEXT,
    values: "cpu, cuda, auto",
    summary: "what computes",
  }),
  devices: option(elsewhere, {
    default: "auto",
    flag: TEXT,
    values: '"1" is a count, "0," a list of indices',
    summary: "which of its devices",
  }),
  precision: option(elsewhere, {
    defaultWords: "32, or 16 under apex",
    flag: TEXT,
    values: "32, 64, 16, bf16, 16-true, bf16-true, auto, …",
    summary: "what numbers are",
  }),
  validationPrecision: option(elsewhere, {
    defaultWords: "as in training",
    flag: TEXT,
    summary: "the precision of validation, where it differs",
  }),
  ampBackend: option(elsewhere, {
    defaultWords: "native",
    flag: TEXT,
    values: "native or apex",
    summary: "whose mixed precision",
  }),
  ampLevel: option(elsewhere, {
    defaultWords: "O2 under apex",
    flag: TEXT,
    values: "O0 to O3",
    summary: "apex's level",
  }),
  plugins: option(elsewhere, {
    defaultWords: "none",
    flag: null,
    summary: "a precision of your own making; what saves checkpoints",
  }),
  strategy: option(elsewhere, {
    default: "auto",
    flag: TEXT,
    values: "auto, single_device, ddp, …",
    summary: "how the module is placed, and how processes act together",
  }),
  useDistributedSampler: option(onOff, {
    default: true,
    flag: SWITCH,
    values: "false: loaders are left as they are",
    summary: "give each process its share of the data",
  }),
  syncBatchnorm: option(onOff, {
    default: false,
    flag: SWITCH,
    summary: "normalise over the batches of all processes",
  }),
  numNodes: option(count(1), { default: 1, flag: NUMBER, summary: "machines, each with as many devices" }),

  maxEpochs: option(limited, {
    default: ({ maxSteps = -1, maxTime }: TrainerOptions) => (maxSteps === -1 && maxTime === undefined ? 1000 : -1),
    defaultWords: "1000, or no limit with maxSteps or maxTime",
    flag: NUMBER,
    values: "-1: no limit",
    summary: "epochs at most",
  }),
  minEpochs: option(count(0), {
    default: ({ minSteps = 0 }: TrainerOptions) => (minSteps > 0 ? 1 : 0),
    defaultWords: "0, or 1 with minSteps",
    flag: NUMBER,
    summary: "epochs at least, whatever stops earlier",
  }),
  maxSteps: option(limited, {
    default: -1,
    defaultWords: "no limit",
    flag: NUMBER,
    values: "-1: no limit",
    summary: "optimizer steps at most",
  }),
  minSteps: option(count(0), { default: 0, flag: NUMBER, summary: "optimizer steps at least, whatever stops earlier" }),
  maxTime: option(elsewhere, { defaultWords: "no limit", flag: TEXT, values: "DD:HH:MM:SS", summary: "time at most" }),

  limitTrainBatches: option(batches, {
    defaultWords: "all",
    flag: NUMBER,
    values: SHARE,
    summary: "training batches per epoch",
  }),
  limitValBatches: option(batches, {
    defaultWords: "all",
    flag: NUMBER,
    values: `${SHARE}; 0: no validation`,
    summary: "validation batches per loader",
  }),
  limitTestBatches: option(batches, {
    defaultWords: "all",
    flag: NUMBER,
    values: SHARE,
    summary: "test batches per loader",
  }),
  limitPredictBatches: option(batches, {
    defaultWords: "all",
    flag: NUMBER,
    values: SHARE,
    summary: "batches per loader of predict",
  }),
  overfitBatches: option(overfit, {
    default: 0,
    flag: NUMBER,
    values: `${SHARE}; 0: all`,
    summary: "learn so many batches by heart",
  }),
  valCheckInterval: option(interval, {
    defaultWords: "the end of an epoch",
    flag: NUMBER,
    values: SHARE,
    summary: "training batches from one validation to the next",
  }),
  checkValEveryNEpoch: option(nth, {
    default: 1,
    flag: ["number", "null"],
    values: "null: valCheckInterval counts across epochs",
    summary: "validate in every n-th epoch",
  }),
  numSanityValSteps: option(sanitySteps, {
    default: 2,
    flag: NUMBER,
    values: "-1: all",
    summary: "validation batches tried before training",
  }),

  reloadDataloadersEveryNEpochs: option(count(0), {
    default: 0,
    flag: NUMBER,
    values: "0: never",
    summary: "epochs after which loaders are asked for again",
  }),

  accumulateGradBatches: option(count(1), { default: 1, flag: NUMBER, summary: "batches per optimizer step" }),
  gradientClipVal: option(clip, {
    default: null,
    defaultWords: "no clipping",
    flag: ["number", "null"],
    values: "null: no clipping",
    summary: "largest norm, or value, of gradients",
  }),
  gradientClipAlgorithm: option(choice("norm", "value"), {
    default: "norm",
    flag: TEXT,
    values: "norm or value",
    summary: "what of gradients is clipped",
  }),
  onSkippedStep: option(choice("advance", "hold"), {
    default: "advance",
    flag: TEXT,
    values: "advance or hold",
    summary: "what schedulers do when a step is skipped",
  }),

  logEveryNSteps: option(count(0), {
    default: 50,
    flag: NUMBER,
    values: "0: never",
    summary: "optimizer steps from one row of the loggers to the next",
  }),
  logger: option(elsewhere, {
    default: true,
    flag: ["switch", "class"],
    values: "false: no metrics.csv; on a command line also CSVLogger, ./own.ts#Own, …",
    summary: "where metrics go",
  }),
  runLog: option(onOff, {
    defaultWords: "true where a logger has a folder",
    flag: SWITCH,
    values: "false: no run.jsonl",
    summary: "keep the log that nbit report draws",
  }),
  callbacks: option(elsewhere, {
    default: [],
    defaultWords: "none",
    flag: ["class"],
    values: "on a command line EarlyStopping, ./own.ts#Own, …, once for each",
    summary: "what runs at the hooks of training",
  }),
  enableCheckpointing: option(onOff, {
    default: true,
    flag: SWITCH,
    values: "false: no checkpoints",
    summary: "add a ModelCheckpoint when there is none",
  }),
  enableProgressBar: option(onOff, { default: true, flag: SWITCH, summary: "show progress" }),
  enableModelSummary: option(onOff, { default: true, flag: SWITCH, summary: "print the layers before training" }),
  replay: option(choice("auto", true, false), {
    default: "auto",
    flag: ["switch", "text"],
    values: "auto, true or false",
    summary: "replay recorded steps on the CPU",
  }),
  activationCheckpointing: option(moduleClasses, {
    default: [],
    defaultWords: "none",
    flag: null,
    summary: "classes of modules whose forward runs again in backward",
  }),
  activationOffloading: option(onOff, {
    default: false,
    flag: SWITCH,
    summary: "keep activations in the memory of the CPU until backward",
  }),
  cudaGraph: option(onOff, { default: false, flag: SWITCH, summary: "record whole steps as CUDA graphs" }),
  detectNonFinite: option(choice(true, false, "step", "gradients"), {
    default: true,
    flag: ["switch", "text"],
    values: "true, false, step or gradients",
    summary: "end when the loss is NaN or infinite",
  }),
  detectAnomaly: option(onOff, { default: false, flag: SWITCH, summary: "look for NaN in every operator of backward" }),
  deterministic: option(choice(false, true, "warn"), {
    default: false,
    flag: ["switch", "text"],
    values: "true, false or warn",
    summary: "refuse operators without a deterministic algorithm",
  }),
  benchmark: option(choice(false, true), {
    default: ({ deterministic }: TrainerOptions) => (deterministic === true ? false : undefined),
    defaultWords: "as setSwitch has it, or false with deterministic",
    flag: SWITCH,
    summary: "let cuDNN time its algorithms",
  }),
  cpuKernels: option(choice("fast", "libtorch"), {
    defaultWords: "as setCpuKernels has it: fast",
    flag: TEXT,
    values: "fast or libtorch",
    summary: "kernels of 16-bit operators on the CPU",
  }),
  inferenceMode: option(onOff, {
    default: true,
    flag: SWITCH,
    values: "false: an evaluation step may differentiate",
    summary: "evaluate in inference mode",
  }),
  enableAutologHparams: option(onOff, {
    default: true,
    flag: SWITCH,
    values: "false: only what you log yourself",
    summary: "give hyperparameters to the loggers",
  }),
  barebones: option(onOff, { default: false, flag: SWITCH, summary: "leave out all that costs time beside training" }),
  profiler: option(elsewhere, {
    default: null,
    defaultWords: "none",
    flag: TEXT,
    values: "simple, advanced or pytorch",
    summary: "what times the run",
  }),
  defaultRootDir: option(folder, {
    default: () => process.cwd(),
    defaultWords: "the working directory",
    flag: TEXT,
    summary: "where logs and checkpoints go",
  }),
  fastDevRun: option(trials, {
    default: false,
    flag: ["switch", "number"],
    summary: "try everything on so many batches",
  }),
} satisfies { readonly [K in keyof TrainerOptions]-?: Row<Exclude<TrainerOptions[K], undefined>> };

/** The options of the Trainer, in the order in which they are listed. */
export const TRAINER_OPTIONS: Readonly<Record<keyof TrainerOptions, TrainerOption>> = ROWS;

/** The default of an option as text. */
export function defaultText({ defaultWords, default: value }: Pick<TrainerOption, "default" | "defaultWords">): string {
  return defaultWords ?? (typeof value === "string" ? value : JSON.stringify(value));
}
