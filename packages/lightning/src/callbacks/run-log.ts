import { dirname, join, relative } from "node:path";
import { atMost, checkOptions, kinds, type OptionNames, plainText, resetPeakMemory } from "@nbit/torch";
import {
  anyNumber,
  count,
  fieldsOf,
  listOf,
  notNegative,
  orNull,
  text as anyText,
  type TypeOf,
} from "@nbit/torch/schema";
import { checkState } from "../checkpoint/schema.js";
import { InterruptError } from "../errors.js";
import { checkLines, JsonLines } from "../loggers/json-lines.js";
import type { LightningModule } from "../module.js";
import { overflowInWords } from "../ranks/overflows.js";
import type { TrainerView } from "../trainer-view.js";
import type { Batch, StepResult, TrainerFn } from "../types.js";
import { lengthOf } from "../ui/batch.js";
import { Callback } from "./callback.js";
import { RunClock } from "./run-clock.js";
import { learningRates, memoryNow, runRecord, stepMetrics } from "./run-log-records.js";
import { SystemSampler } from "./run-log-system.js";

export interface RunLogOptions {
  /** The file. Default `run.jsonl` in the first logger's folder, or in the Trainer's `defaultRootDir`. */
  readonly path?: string;
  /** Name in reports. Default: that of the folder. */
  readonly name?: string;
  /** Optimizer steps from one record to the next. Default: the Trainer's `logEveryNSteps`. */
  readonly everyNSteps?: number;
}
const { filled, text, whole } = kinds;
const NAMES: OptionNames<RunLogOptions> = { path: filled, name: text, everyNSteps: whole("[1, ∞)") };

const STATE = fieldsOf({
  lines: count,
  digest: anyText,
  seconds: notNegative,
  trainingSeconds: notNegative,
  lastScale: orNull(anyNumber),
  evaluationNames: listOf(anyText),
  batches: count,
  samples: count,
});
type RunLogState = TypeOf<typeof STATE>;

/** With which every log begins, and every run in it. */
const BEGIN = '{"type":"run"';
/** What follows a checkpoint belongs to what it stands for. */
const SAVED = '{"type":"checkpoint"';

export interface DefaultRunLog {
  /** `runLog: true`: where no logger has a folder, the log is in `defaultRootDir`. */
  readonly asked: boolean;
  /** Say at the end of a fit where the log is. */
  readonly announces: boolean;
}
/** The log that a Trainer keeps by itself: of fits, and of what follows them. */
export let defaultRunLog: (how: DefaultRunLog) => RunLog;
/** Tell a log of a checkpoint that is complete. */
export let noteCheckpoint: (log: RunLog, trainer: TrainerView, path: string) => void;

/**
 * Writes what happened to a file of JSON lines, of which reports are drawn: `nbit report`. A Trainer with a logger adds
 * one by itself, unless `runLog: false`.
 *
 * | record | when |
 * |---|---|
 * | `run` | each fit, first: name, precision, model, device, hyper-parameters, versions, command line, machine |
 * | `step` | every `everyNSteps` optimizer steps: metrics, loss scale, learning rates |
 * | `scale` | the loss scale changed |
 * | `skip` | a step was skipped: which parameters had gradients that were not finite, of which ranks (`where`: in words) |
 * | `epoch` | a training epoch ended: seconds without validation, batches, samples, metrics, memory |
 * | `eval` | a validation or test run ended: seconds, metrics |
 * | `system` | every ten seconds: processor, memory of process and device |
 * | `checkpoint` | one was saved: where |
 * | `end` | the fit ended: how, after how long |
 *
 * Each fit is a run of its own in the file. The peak of tensor memory (`resetPeakMemory`) starts anew when one begins.
 *
 * On CPU `scale` and `skip` are seen in the step in which they happen. Elsewhere asking would wait for the device in
 * every step, so they are seen at the next `step` record. Lines are written every second, at ends of epochs, and when
 * the process exits; at most a thousand wait.
 *
 * A checkpoint knows how far the log was: a run that goes on from it into the same file drops the lines that came
 * later, and writes them again, unless another run has begun there since.
 *
 * Of a command line and of hyper-parameters, values under names like `apiKey`, `token` or `password` are left out.
 *
 * @throws {ArgumentError} `RunLog: expected everyNSteps to be a whole number ≥ 1. Received: 0.`
 */
export class RunLog extends Callback {
  static {
    defaultRunLog = (how) => {
      const log = new RunLog();
      log.#byDefault = how;
      return log;
    };
    noteCheckpoint = (log, trainer, path) => {
      log.#saved(trainer, path);
    };
  }

  readonly #options: RunLogOptions;
  /** The Trainer added it: where nothing was trained there is nothing to log. Null: it is the user's. */
  #byDefault: DefaultRunLog | null = null;
  #file: JsonLines | null = null;
  #path: string | null = null;
  #header: object | null = null;
  #headerWritten = false;
  /** Where the checkpoint that this run goes on from left the log. */
  #from: RunLogState | null = null;
  /** The state of the log when it was closed. */
  #closedAt: Record<string, unknown> = {};
  /** The state of the log before it said that the run has ended: one that goes on from there ends later. */
  #ended: Record<string, unknown> | null = null;
  readonly #clock = new RunClock();
  readonly #system = new SystemSampler();
  /** 0: never. */
  #every = 1;
  #immediate = false;

  #lastStep = 0;
  #lastScale: number | null = null;
  #lastSkipped = 0;
  /** Names that evaluation logs; a step record leaves them out, since they are not this step's. */
  readonly #evaluationNames = new Set<string>();

  #namesBefore: ReadonlySet<string> = new Set();
  #batches = 0;
  #samples = 0;

  constructor(options: RunLogOptions = {}) {
    atMost("RunLog", arguments, 1);
    super();
    checkOptions("RunLog", options, NAMES);
    this.#options = options;
  }

  /** Where the log is; null before the first run. */
  get path(): string | null {
    return this.#path;
  }

  /** One log a file: a checkpoint knows each by its path. */
  override get stateKey(): string {
    return this.#options.path === undefined ? "RunLog" : `RunLog(${this.#options.path})`;
  }

  override setup(trainer: TrainerView, module: LightningModule, stage: TrainerFn): void {
    if (!trainer.isGlobalZero) return;
    const begins = stage === "fit";
    if (this.#byDefault !== null && !begins && this.#header === null) return;
    if (begins || this.#path === null) this.#path = this.#place(trainer);
    if (this.#path === null) return;
    checkLines(this.#path, BEGIN); // before any work
    this.#every = this.#options.everyNSteps ?? trainer.logEveryNSteps;
    this.#immediate = trainer.rootDevice.type === "cpu";
    this.#from = null;
    this.#ended = null;
    if (!begins && this.#header !== null) return;
    this.#clock.start();
    resetPeakMemory();
    this.#header = runRecord(trainer, module, { name: this.#options.name, path: this.#path });
    this.#headerWritten = false;
    this.#lastScale = null;
    this.#evaluationNames.clear();
  }

  #place(trainer: TrainerView): string | null {
    if (this.#options.path !== undefined) return this.#options.path;
    const folder = trainer.loggers.map(({ logDir }) => logDir).find((dir) => dir !== null);
    if (folder === undefined && this.#byDefault?.asked === false) return null;
    return join(folder ?? trainer.defaultRootDir, "run.jsonl");
  }

  /** Open the file, once it is known from where the run goes on. */
  #open(trainer: TrainerView): void {
    if (this.#path === null || this.#file !== null) return;
    const from = this.#from;
    this.#from = null;
    this.#file = new JsonLines(this.#path, BEGIN, from, { keeps: SAVED, others: BEGIN });
    // The checkpoint has their values, so that they are there before they are measured again.
    for (const name of from?.evaluationNames ?? []) this.#evaluationNames.add(name);
    if (from !== null && this.#file.continued) this.#goOn(from);
    else if (!this.#headerWritten) this.#file.add({ ...this.#header, resumedFrom: trainer.ckptPath });
    this.#headerWritten = true;
  }

  #goOn(from: RunLogState): void {
    this.#clock.goOn(from.seconds, from.trainingSeconds);
    this.#lastScale = from.lastScale;
    this.#batches = from.batches;
    this.#samples = from.samples;
  }

  /**
   * Makes the log durable. A run that goes on from the checkpoint into the same file drops the lines that came after
   * it, and writes them again.
   */
  override stateDict(): Record<string, unknown> {
    if (this.#ended !== null) return this.#ended;
    if (this.#file === null) return this.#closedAt;
    return {
      ...this.#file.position(),
      seconds: this.#clock.seconds,
      trainingSeconds: this.#clock.trainingSeconds,
      lastScale: this.#lastScale,
      evaluationNames: [...this.#evaluationNames],
      batches: this.#batches,
      samples: this.#samples,
    };
  }

  override loadStateDict(state: Record<string, unknown>): void {
    this.#from = Object.keys(state).length === 0 ? null : checkState("RunLog.loadStateDict", STATE, state);
  }

  override onTrainStart(trainer: TrainerView): void {
    this.#open(trainer);
    this.#system.start();
    this.#lastStep = trainer.globalStep;
    this.#lastSkipped = trainer.skippedSteps;
  }

  override onPredictStart(trainer: TrainerView): void {
    this.#open(trainer);
  }

  override onTrainEpochStart(): void {
    this.#clock.startEpoch();
    this.#batches = 0;
    this.#samples = 0;
  }

  override onTrainBatchEnd(trainer: TrainerView, _module: LightningModule, _outputs: StepResult, batch: Batch): void {
    const file = this.#file;
    if (file === null) return;
    this.#batches++;
    this.#samples += lengthOf(batch) ?? 0;
    const step = trainer.globalStep;
    const system = this.#system.sample(trainer.rootDevice);
    if (system !== null) file.add({ type: "system", step, seconds: this.#clock.seconds, ...system });
    if (step === this.#lastStep) return;
    this.#lastStep = step;
    const due = this.#every > 0 && (step % this.#every === 0 || step === 1);
    if (!due && !this.#immediate) return;

    this.#scaling(file, trainer, step);
    if (due)
      file.add({
        type: "step",
        step,
        epoch: trainer.currentEpoch,
        seconds: this.#clock.seconds,
        metrics: stepMetrics(trainer.callbackMetrics, this.#evaluationNames),
        lossScale: trainer.lossScale,
        learningRates: learningRates(trainer.optimizers),
        skippedSteps: this.#lastSkipped,
      });
  }

  #scaling(file: JsonLines, trainer: TrainerView, step: number): void {
    const outcome = trainer.lastOutcome;
    const scale = trainer.lossScale;
    if (scale === null || outcome === null) return;
    if (outcome.skipped || trainer.skippedSteps > this.#lastSkipped) {
      this.#lastSkipped = trainer.skippedSteps;
      file.add({
        type: "skip",
        step,
        seconds: this.#clock.seconds,
        lossScale: outcome.lossScale,
        skippedSteps: this.#lastSkipped,
        nonFinite: outcome.nonFinite ?? [],
        ...(outcome.ranks === undefined
          ? {}
          : { ranks: outcome.ranks.map(({ rank }) => rank), where: overflowInWords(outcome.ranks) }),
      });
    }
    if (scale !== this.#lastScale) {
      file.add({ type: "scale", step, seconds: this.#clock.seconds, value: scale });
      this.#lastScale = scale;
    }
  }

  override onTrainEpochEnd(trainer: TrainerView): void {
    this.#file?.add({
      type: "epoch",
      epoch: trainer.currentEpoch,
      step: trainer.globalStep,
      seconds: this.#clock.seconds,
      trainingSeconds: this.#clock.trainingSeconds,
      batches: this.#batches,
      samples: this.#samples,
      skippedSteps: trainer.skippedSteps,
      metrics: { ...trainer.callbackMetrics },
      memory: memoryNow(),
    });
    this.#file?.flush();
  }

  override onValidationStart(trainer: TrainerView): void {
    this.#startEvaluation(trainer);
  }

  override onValidationEnd(trainer: TrainerView): void {
    this.#endEvaluation(trainer, "validate");
  }

  override onTestStart(trainer: TrainerView): void {
    this.#startEvaluation(trainer);
  }

  override onTestEnd(trainer: TrainerView): void {
    this.#endEvaluation(trainer, "test");
  }

  #startEvaluation(trainer: TrainerView): void {
    this.#open(trainer);
    this.#clock.startEvaluation();
    this.#namesBefore = new Set(Object.keys(trainer.callbackMetrics));
  }

  #endEvaluation(trainer: TrainerView, stage: "validate" | "test"): void {
    const evaluationSeconds = this.#clock.endEvaluation();
    if (trainer.sanityChecking) return;
    const metrics: Record<string, number> = {};
    for (const [name, value] of Object.entries(trainer.callbackMetrics)) {
      if (!this.#namesBefore.has(name)) this.#evaluationNames.add(name);
      if (this.#evaluationNames.has(name)) metrics[name] = value;
    }
    this.#file?.add({
      type: "eval",
      stage,
      step: trainer.globalStep,
      epoch: trainer.currentEpoch,
      seconds: this.#clock.seconds,
      evaluationSeconds,
      metrics,
    });
  }

  override onFitEnd(trainer: TrainerView): void {
    this.#open(trainer); // where nothing was left to train
    this.#end(trainer, "success");
    this.#announce();
  }

  override onException(trainer: TrainerView, _module: LightningModule, error: unknown): void {
    if (this.#file === null && this.#byDefault !== null && !this.#headerWritten) return; // it failed before it began
    this.#open(trainer);
    this.#end(trainer, error instanceof InterruptError ? "interrupted" : "failed");
    this.#close();
  }

  #saved(trainer: TrainerView, path: string): void {
    const { globalStep: step, currentEpoch: epoch } = trainer;
    this.#file?.add({ type: "checkpoint", step, epoch, seconds: this.#clock.seconds, path });
  }

  #end(trainer: TrainerView, status: "success" | "failed" | "interrupted"): void {
    this.#ended = this.stateDict();
    this.#file?.add({
      type: "end",
      status,
      step: trainer.globalStep,
      seconds: this.#clock.seconds,
      skippedSteps: status === "failed" ? this.#lastSkipped : trainer.skippedSteps,
      memory: memoryNow(),
    });
  }

  override teardown(): void {
    this.#close();
  }

  #announce(): void {
    if (this.#byDefault?.announces !== true || this.#path === null) return;
    const [file, folder] = [near(this.#path), near(dirname(this.#path))];
    process.stderr.write(`${plainText(`Run log: ${file} (nbit report ${folder})`)}\n`);
  }

  #close(): void {
    if (this.#file !== null) this.#closedAt = this.stateDict();
    this.#file?.close();
    this.#file = null;
  }
}

/** As one would type it here. */
function near(path: string): string {
  const from = relative(process.cwd(), path);
  return from.startsWith("..") ? path : from || ".";
}
