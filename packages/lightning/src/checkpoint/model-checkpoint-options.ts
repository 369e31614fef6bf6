import { checkOptions, type DType, type Filled, kinds, type OptionNames, withDefaults } from "@nbit/torch";
import { misconfigured } from "../errors.js";
import { checkWeightsDtype } from "./file.js";
import { templateProblem } from "./names.js";

export interface ModelCheckpointOptions {
  /** Folder. Default: `checkpoints` in the first logger's folder, or in the Trainer's `defaultRootDir`. */
  readonly dirpath?: string;
  /**
   * Template of the file name, such as "{epoch}-{val_loss:.2f}", below `dirpath`: "/" makes folders there. Default
   * "{epoch}-{step}".
   */
  readonly filename?: string;
  /** Metric that decides which checkpoints are the best. Default null: the newest is. */
  readonly monitor?: string | null;
  /** Whether smaller ("min", default) or larger is better. */
  readonly mode?: "min" | "max";
  /** How many of the best to keep; -1 all, 0 none. Default 1. */
  readonly saveTopK?: number;
  /** Write `last.ckpt` too, whenever saving is due, also when this one is not among the best. Default false. */
  readonly saveLast?: boolean;
  /** Save one when training fails. Default false. */
  readonly saveOnException?: boolean;
  /** Weights only: half to a third of the size, but training cannot go on from it. Default false. */
  readonly saveWeightsOnly?: boolean;
  /** Save weights in this dtype: "bfloat16" takes half of float32's room. Default: as they are. */
  readonly dtype?: DType;
  /** Put "name=" before each value in file names. Default true. */
  readonly autoInsertMetricName?: boolean;
  /** Save at every n-th optimizer step; excludes the next two. */
  readonly everyNTrainSteps?: number;
  /** Save at every n-th epoch. Default 1, when neither of the others is given. */
  readonly everyNEpochs?: number;
  /** Save after so many seconds, at the end of a batch. */
  readonly trainTimeInterval?: number;
  /**
   * Save at the end of training epochs, not after validation. Default: when every epoch ends with one validation, or
   * there is none.
   */
  readonly saveOnTrainEpochEnd?: boolean;
  /**
   * Give a checkpoint whose name is taken a version (`-v1`). False: it takes the place of the file, whoever wrote that.
   * Default true.
   */
  readonly enableVersionCounter?: boolean;
  /** Say what was saved. Default false. */
  readonly verbose?: boolean;
}
const { byDefault, filled, flag, oneOf, orNull, real, text, whole } = kinds;
/** Epochs count where nothing else does. */
const everyEpoch = ({ everyNTrainSteps, trainTimeInterval }: ModelCheckpointOptions): number =>
  everyNTrainSteps === undefined && trainTimeInterval === undefined ? 1 : 0;
const OPTIONS = {
  dirpath: text,
  filename: byDefault("{epoch}-{step}", filled),
  monitor: byDefault(null, orNull(text)),
  mode: byDefault("min", oneOf("min", "max")),
  saveTopK: byDefault(1, whole("[-1, ∞)")),
  saveLast: byDefault(false, flag),
  saveOnException: byDefault(false, flag),
  saveWeightsOnly: byDefault(false, flag),
  dtype: true,
  autoInsertMetricName: byDefault(true, flag),
  everyNTrainSteps: byDefault(0, whole("[0, ∞)")),
  everyNEpochs: byDefault(everyEpoch, whole("[0, ∞)")),
  trainTimeInterval: real("(0, ∞)"),
  saveOnTrainEpochEnd: flag,
  enableVersionCounter: byDefault(true, flag),
  verbose: byDefault(false, flag),
} satisfies OptionNames<ModelCheckpointOptions>;

export type SettledOptions = Filled<ModelCheckpointOptions, typeof OPTIONS>;

/** The options with their defaults, checked. */
export function settleOptions(options: ModelCheckpointOptions): SettledOptions {
  const fail = misconfigured("ModelCheckpoint", "ERR_MODEL_CHECKPOINT");
  checkOptions("ModelCheckpoint", options, OPTIONS, fail);
  const settled = withDefaults(options, OPTIONS);
  const {
    dirpath,
    filename,
    monitor,
    saveTopK,
    dtype,
    autoInsertMetricName,
    everyNTrainSteps,
    everyNEpochs,
    trainTimeInterval,
  } = settled;
  if (monitor === null && saveTopK > 1) throw fail("saveTopK to be -1, 0 or 1 without a metric to rank by", saveTopK);
  if ([everyNTrainSteps > 0, everyNEpochs > 0, trainTimeInterval !== undefined].filter(Boolean).length > 1) {
    throw fail("one of everyNTrainSteps, everyNEpochs and trainTimeInterval", {
      everyNTrainSteps,
      everyNEpochs,
      trainTimeInterval,
    });
  }
  checkWeightsDtype("ModelCheckpoint", "dtype", dtype);
  if (dirpath?.includes("\0") === true) throw fail("dirpath to be the path of a folder", dirpath);
  const problem = templateProblem(filename, autoInsertMetricName);
  if (problem !== null) throw fail(`filename ${problem}`, filename);
  return settled;
}
