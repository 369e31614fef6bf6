import { join, resolve } from "node:path";
import { atMost, kinds, plainText, signature, utils, type Call, type nn, type OptionNames } from "@nbit/torch";
import { count, fieldsOf, text as anyText } from "@nbit/torch/schema";
import { isError } from "@nbit/torch/realm";
import { mapTensors } from "../collections.js";
import { checkState } from "../checkpoint/schema.js";
import { globalRank } from "@nbit/torch/distributed";
import { warn } from "../warnings.js";
import { flatHparams, writeHparams } from "./hparams.js";
import { Logger, type Metrics } from "./logger.js";
import { silent } from "./silent.js";
import { claimVersion, folderOf, makeFolder } from "./version.js";

const { SummaryWriter } = utils.tensorboard;
type SummaryWriter = utils.tensorboard.SummaryWriter;

export interface TensorBoardLoggerArguments {
  /** Folder of all experiments. */
  readonly saveDir: string;
  /** Experiment. Default "nbit_logs"; "" or null places the versions in `saveDir` itself. */
  readonly name?: string | null;
  /** A number n means the folder `version_<n>`; a string is the folder's name. Default: the next free number. */
  readonly version?: number | string | null;
  /** Log the operators of the module, as its `exampleInputArray` shows them. Default false. */
  readonly logGraph?: boolean;
  /** Log a metric `hp_metric` of -1 with hyper-parameters that come without metrics. Default true. */
  readonly defaultHpMetric?: boolean;
  /** Put before each metric's name, joined by "-". Default none. */
  readonly prefix?: string;
  /** Folder within the version's, for what TensorBoard reads. Default none. */
  readonly subDir?: string | null;
  /** Events that may wait in memory until `save`. Default 10. */
  readonly maxQueue?: number;
  /** Seconds that they may wait. Default 120. */
  readonly flushSecs?: number;
  /** Behind the names of files. Default "". */
  readonly filenameSuffix?: string;
}
const { byDefault, either, filled, flag, orNull, real, text, whole } = kinds;
const read = signature(
  "TensorBoardLogger",
  {
    saveDir: filled,
    name: byDefault("nbit_logs", orNull(text)),
    version: byDefault(null, orNull(either(whole("[0, ∞)"), text))),
    logGraph: byDefault(false, flag),
    defaultHpMetric: byDefault(true, flag),
    prefix: byDefault("", text),
    subDir: byDefault(null, orNull(text)),
    maxQueue: byDefault(10, whole("[0, ∞)")),
    flushSecs: byDefault(120, real("[0, ∞)")),
    filenameSuffix: byDefault("", text),
  } satisfies OptionNames<TensorBoardLoggerArguments>,
  7,
);
const STATE = fieldsOf({ logDir: anyText, nextStep: count });

/**
 * Writes metrics, hyper-parameters and, by its `experiment`, pictures, histograms, text and more for TensorBoard:
 * `tensorboard --logdir logs`. Files are event files in `<saveDir>/<name>/version_<n>`, with `hparams.yaml` beside them;
 * checkpoints go to `checkpoints` there.
 *
 * Each call of `logMetrics` is in the file when it returns to the Trainer: a kill loses nothing that was logged. A run
 * that goes on from a checkpoint into the same version opens a new file there, which tells readers to forget what came
 * after the checkpoint.
 *
 * @throws {ArgumentError} `TensorBoardLogger: expected saveDir to be a string that is not empty. Received: undefined.`
 * @example
 * const logger = new TensorBoardLogger("logs", { name: "mnist" });
 * logger.logMetrics({ loss: 0.25 }, 0);
 * logger.experiment.addText("note", "the first try");
 * logger.finalize();
 */
export class TensorBoardLogger extends Logger {
  readonly name: string;
  readonly saveDir: string;
  readonly subDir: string | null;
  readonly #options: ReturnType<typeof read>;
  readonly #prefix: string;
  #version: number | string | null;
  #experiment: SummaryWriter | null = null;
  #follows = false;
  #hparams: Record<string, unknown> = {};
  #hparamsPath: string | null = null;
  /** One more than the highest step that was logged. */
  #nextStep = 0;
  #purgeStep: number | null = null;

  constructor(
    ...given: Call<
      TensorBoardLoggerArguments,
      ["saveDir", "name", "version", "logGraph", "defaultHpMetric", "prefix", "subDir"],
      [
        saveDir: string,
        name?: string | null,
        version?: number | string | null,
        logGraph?: boolean,
        defaultHpMetric?: boolean,
        prefix?: string,
        subDir?: string | null,
      ]
    >
  ) {
    super();
    const options = read(given);
    this.#options = options;
    this.saveDir = options.saveDir;
    this.name = options.name ?? "";
    this.subDir = options.subDir;
    this.#version = options.version;
    this.#prefix = options.prefix === "" ? "" : `${options.prefix}-`;
  }

  /** Folder of this experiment's versions. */
  get rootDir(): string {
    return join(this.saveDir, this.name);
  }

  /** Reading it the first time claims the next number by making its folder, unless a version was given. */
  get version(): number | string {
    this.#version ??= claimVersion("TensorBoardLogger", this.rootDir);
    return this.#version;
  }

  override get logDir(): string {
    return join(this.rootDir, folderOf(this.version), this.subDir ?? "");
  }

  /** The writer, for what is not a metric. In processes other than the first one that writes nothing. */
  get experiment(): SummaryWriter {
    if (this.#follows || globalRank() !== 0) return silent(SummaryWriter, { logDir: this.logDir });
    const { maxQueue, flushSecs, filenameSuffix } = this.#options;
    this.#experiment ??= new SummaryWriter(this.logDir, {
      purgeStep: this.#purgeStep,
      maxQueue,
      flushSecs,
      filenameSuffix,
    });
    this.#purgeStep = null;
    return this.#experiment;
  }

  override follow(version: number | string): void {
    this.#version = version;
    this.#follows = true;
  }

  override start(): void {
    if (!this.#follows) makeFolder("TensorBoardLogger", this.logDir);
  }

  logMetrics(metrics: Metrics, step: number): void {
    if (this.#follows) return;
    const writer = this.experiment;
    for (const [key, value] of Object.entries(metrics)) writer.addScalar(this.#prefix + key, value, step);
    this.#nextStep = Math.max(this.#nextStep, step + 1);
  }

  /**
   * @param metrics - What the hyper-parameters led to: metrics by name, or one number, which is `hp_metric`.
   * @param step - Of those metrics.
   */
  override logHyperparams(
    params: Readonly<Record<string, unknown>>,
    metrics: Metrics | number | null = null,
    step: number | null = null,
  ): void {
    if (this.#follows) return;
    this.#hparams = { ...this.#hparams, ...params };
    this.#hparamsPath = writeHparams("TensorBoardLogger", this.logDir, this.#hparams, this.#hparamsPath);
    const first: Metrics = this.#options.defaultHpMetric ? { hp_metric: -1 } : {};
    const led: Metrics = metrics === null ? first : typeof metrics === "number" ? { hp_metric: metrics } : metrics;
    if (Object.keys(led).length === 0) return;
    for (const [key, value] of Object.entries(led)) this.experiment.addScalar(this.#prefix + key, value, step);
    this.experiment.addHparamSummaries(
      flatHparams(params),
      Object.keys(led).map((key) => this.#prefix + key),
      step,
    );
    this.experiment.flush();
  }

  /**
   * With `logGraph: true`: the operators that the module calls for its `exampleInputArray`, or for `inputArray`: one
   * value, or an array of what forward takes. A forward that fails is a warning.
   */
  override logGraph(model: nn.Module, inputArray: unknown = Reflect.get(model, "exampleInputArray")): void {
    if (!this.#options.logGraph || this.#follows) return;
    const say = (why: string): void => {
      warn(
        "WARN_LOG_GRAPH",
        plainText(`TensorBoardLogger: the graph of ${model.constructor.name} is not logged: ${why}`),
      );
    };
    if (inputArray === undefined || inputArray === null) return say("give it a field exampleInputArray.");
    try {
      this.experiment.addGraph(model, likeWeights(inputArray, model));
    } catch (error) {
      say(isError(error) ? error.message : String(error));
    }
  }

  /** The operating system has all that was logged when this returns. */
  override save(): void {
    atMost("TensorBoardLogger.save", arguments, 0);
    this.#experiment?.flush();
  }

  override stateDict(): Record<string, unknown> {
    this.#experiment?.flush();
    return this.#version === null ? {} : { logDir: resolve(this.logDir), nextStep: this.#nextStep };
  }

  /** What was logged after the checkpoint is hidden from readers, if it lies in this very folder. */
  override loadStateDict(state: Record<string, unknown>): void {
    if (Object.keys(state).length === 0) return;
    const { logDir, nextStep } = checkState("TensorBoardLogger.loadStateDict", STATE, state);
    if (this.#version === null || logDir !== resolve(this.logDir)) return; // a version of its own
    this.#nextStep = nextStep;
    this.finalize();
    this.#purgeStep = nextStep;
  }

  override finalize(): void {
    this.#experiment?.close();
    this.#experiment = null;
  }
}

/** Tensors where a model's first weight is; numbers with a point in its dtype. */
function likeWeights(inputs: unknown, model: nn.Module): unknown {
  const weight = model.parameters().find((parameter) => parameter.isFloatingPoint());
  if (weight === undefined) return inputs;
  const { device, dtype } = weight;
  return mapTensors(inputs, (t) => (t.isFloatingPoint() ? t.to({ device, dtype }) : t.to(device)));
}
