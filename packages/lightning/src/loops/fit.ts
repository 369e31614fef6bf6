import { isPromise } from "../promises.js";
import type { HookArgs, HookList } from "../hooks.js";
import type { Results } from "../logging/results.js";
import type { Batch, StepOutcome, StepResult } from "../types.js";
import { LONG_MS, yieldToEventLoop } from "./yield-to-event-loop.js";
import { logMetrics, logStep, makeTransfer } from "./context.js";
import type { LoopContext } from "./context.js";
import type { EvaluationLoop } from "./evaluation.js";
import type { BatchSource } from "./batch-source.js";
import type { Fetched } from "./fetch.js";
import { andThen, BatchScope, waitFor } from "./pending.js";
import type { MaybePending } from "./pending.js";
import { checkDifferent, checkSameOrder, digestOf } from "../ranks/same-data.js";
import { FitValidation } from "./fit-validation.js";
import { LateRow } from "./late-row.js";
import type { FitProgress, LoadedEpochs } from "./progress.js";
import type { SchedulerStepper } from "./schedulers.js";
import type { StepReplays } from "./step-replays.js";
import type { CompiledSteps } from "./compiled-steps.js";
import type { GraphedStep } from "./graphed-step.js";
import type { Profiling } from "../profilers/profiling.js";
import { Stopping } from "./stopping.js";
import type { TrainStep } from "./train-step.js";

export interface FitLoopParts {
  readonly step: TrainStep;
  /** Replays whole steps as one CUDA graph. */
  readonly graph: GraphedStep | null;
  readonly replays?: StepReplays | null;
  /** Runs whole steps as compiled programs of another device. */
  readonly compiled?: CompiledSteps | null;
  readonly fetcher: BatchSource;
  /** Asks for the loaders again. */
  readonly reload?: () => BatchSource;
  readonly validation: EvaluationLoop | null;
  readonly schedulers: SchedulerStepper;
  readonly progress: FitProgress;
  readonly results: Results;
  /** Nobody has shared the loader out: its first batch is to differ between processes. */
  readonly mayRepeat?: boolean;
}

/** What one batch came to: a window's end, a batch within one, or no batch: the epoch is over. */
type BatchEnd = "window ended" | "window open" | "epoch over";

/**
 * Epochs of batches, with validation in between.
 *
 * `progress.phase` says at every point where a checkpoint may be written what has been done, so that a resumed run goes
 * on with exactly what comes next.
 */
export class FitLoop {
  readonly #context: LoopContext;
  readonly #parts: FitLoopParts;
  readonly #transfer: (batch: Batch, dataloaderIdx: number) => Batch | Promise<Batch>;
  readonly #batchScope = new BatchScope();
  readonly #onBatchStart: HookList<HookArgs<"onTrainBatchStart">>;
  readonly #onBatchEnd: HookList<HookArgs<"onTrainBatchEnd">>;
  readonly #yieldIfDue = yieldToEventLoop();
  readonly #stopping: Stopping;
  readonly #validation: FitValidation;
  /** What gives the batches of this epoch. */
  fetcher: BatchSource;
  /** The epoch in which it was asked for; null: before training. */
  #loadedIn: number | null = null;
  readonly #profiling: Profiling | null;
  readonly #next: () => ReturnType<BatchSource["next"]>;
  #comparesData: boolean;
  /** A new run makes its first iterator before training starts (as Lightning does); every other epoch makes its own. */
  #epochPrepared = false;
  readonly #lateRow = new LateRow();

  constructor(context: LoopContext, parts: FitLoopParts) {
    this.#context = context;
    this.#parts = parts;
    const profiling = context.profiling ?? null;
    this.#profiling = profiling;
    const next = (): ReturnType<BatchSource["next"]> => this.fetcher.next();
    this.#next = profiling === null ? next : () => profiling.next("_TrainingEpochLoop", "train", next);
    this.#transfer = makeTransfer(context);
    this.#onBatchStart = context.hooks.get("onTrainBatchStart");
    this.#onBatchEnd = context.hooks.get("onTrainBatchEnd");
    this.#stopping = new Stopping(context, parts.progress);
    this.#validation = new FitValidation(context, parts, this.#stopping);
    this.fetcher = parts.fetcher;
    this.#comparesData = parts.mayRepeat ?? false;
  }

  /** Every how many batches validation runs; Infinity: at the end of an epoch of unknown length. */
  get valCheckBatch(): number {
    return this.#validation.every;
  }

  /** When loaders were asked for: those of training, and of validation. */
  get loaded(): LoadedEpochs {
    return { training: this.#loadedIn, validation: this.#validation.loadedIn };
  }
  set loaded({ training, validation }: LoadedEpochs) {
    this.#loadedIn = training;
    this.#validation.loadedIn = validation;
  }

  beforeSanityCheck(): void {
    this.#validation.beforeSanityCheck();
  }

  async run(): Promise<void> {
    const { hooks, metricStore } = this.#context;
    const { progress } = this.#parts;
    this.#loadedIn ??= progress.epoch;
    this.#context.vote();
    if (this.#done()) {
      const { epoch, globalStep, totalBatches } = progress;
      if (totalBatches > 0)
        this.#context.warnings.warn(
          "WARN_NOTHING_LEFT",
          `fit: nothing is left to train: the checkpoint has ${epoch} epochs and ${globalStep} steps behind it. ` +
            "Raise maxEpochs or maxSteps.",
        );
      return;
    }
    if (progress.totalBatches === 0) {
      this.fetcher.start(progress.epoch);
      this.#epochPrepared = true;
    }
    // A checkpoint from inside an epoch goes on with the values of its last batch.
    metricStore.activate(this.#parts.results, progress.phase !== "between_epochs" && progress.phase !== "epoch_end");
    await hooks.get("onTrainStart").run();
    this.#context.vote();
    try {
      while (!this.#done()) {
        await this.#epoch();
        this.#context.vote();
        this.#context.checkInterrupt(); // asked for in the epoch's last hooks
      }
    } catch (error) {
      await this.#writeLast();
      throw error;
    }
    await hooks.get("onTrainEnd").run();
  }

  /** What the last step logged counts, whatever ended the run; what stands in the way of that is not the reason. */
  async #writeLast(): Promise<void> {
    try {
      await this.#lateRow.write();
    } catch {
      return;
    }
  }

  #done(): boolean {
    const { progress } = this.#parts;
    if (this.fetcher.length === 0) return true;
    if (progress.phase !== "between_epochs") return false; // resumed inside an epoch: finish that first
    return this.#stopping.isOver();
  }

  async #epoch(): Promise<void> {
    const { progress } = this.#parts;
    if (progress.phase === "between_epochs") {
      await this.#reload();
      progress.batchesDone = 0;
      progress.isLastBatch = false;
      await this.#context.hooks.get("onTrainEpochStart").run();
      if (!this.#epochPrepared) this.fetcher.start(progress.epoch);
      progress.phase = "batch_done";
    } else if (progress.phase === "batch_end" || progress.phase === "batch_logged" || progress.phase === "validated") {
      const windowEnds = this.#endsWindow(progress.batchesDone);
      if (progress.phase === "batch_end") {
        await this.#logRow(null, windowEnds);
        this.#endBatch(windowEnds);
      }
      await this.#finishBatch(windowEnds);
    }
    this.#epochPrepared = false;

    if (progress.phase !== "epoch_end")
      await (this.#profiling === null
        ? this.#batches()
        : this.#profiling.run("run_training_epoch", () => this.#batches()));
    await this.#endEpoch();
  }

  /** Loaders are asked for again, if that is due. */
  async #reload(): Promise<void> {
    const { progress, reload } = this.#parts;
    const { reloadDataloadersEveryNEpochs: every } = this.#context.options;
    if (reload === undefined || every === 0 || progress.epoch - (this.#loadedIn ?? 0) < every) return;
    await this.fetcher.close();
    this.fetcher = reload();
    this.#validation.useLoaders(this.fetcher);
    this.#loadedIn = progress.epoch;
    // Lightning makes an iterator of new loaders at once, and a second for the epoch: both draw from the generator.
    this.fetcher.start(progress.epoch);
  }

  async #batches(): Promise<void> {
    while (!this.#epochDone()) {
      if (!(await this.#batch())) break;
    }
  }

  #epochDone(): boolean {
    return this.#parts.progress.isLastBatch || this.#stopping.maxStepsReached() || this.#stopping.stopsEarly();
  }

  /** One batch and what follows it. False when the loader has no more, or a hook ended the epoch. */
  async #batch(): Promise<boolean> {
    const { events } = this.#context;
    const from = performance.now();
    const batch = this.#batchScope.run(this.#iterate);
    const took = performance.now() - from;
    const end = isPromise(batch) ? await batch : batch;
    if (took > LONG_MS) events?.longStep(took);
    if (end === "epoch over") return false;
    events?.batchEnd("train", this.#parts.progress.batchIdx, 0);
    const windowEnds = end === "window ended";
    if (this.#needsFinish()) await this.#finishBatch(windowEnds);
    else this.#countBatch(windowEnds);
    this.#context.checkInterrupt();
    const turn = this.#yieldIfDue();
    if (turn !== null) await turn;
    return true;
  }

  readonly #iterate = (): MaybePending<BatchEnd> => {
    const fetched = this.#next();
    return isPromise(fetched) ? waitFor(fetched, (value) => this.#start(value)) : this.#start(fetched);
  };

  #start(own: Fetched | null): MaybePending<BatchEnd> {
    const fetched = this.#ofAll(own);
    if (fetched === null) {
      this.#parts.progress.isLastBatch = true;
      return "epoch over";
    }
    const { progress } = this.#parts;
    progress.isLastBatch = fetched.isLast;
    progress.batchIdx = progress.batchesDone;
    const batch = this.#transfer(fetched.batch, 0);
    return isPromise(batch) ? waitFor(batch, (moved) => this.#moved(moved)) : this.#moved(batch);
  }

  /** Where nobody knows how many batches there are, an epoch ends for all processes where it ends for one. */
  #ofAll(fetched: Fetched | null): Fetched | null {
    const { collectives } = this.#context;
    if (collectives === null) return fetched;
    if (this.#comparesData) {
      this.#comparesData = false;
      checkDifferent("fit", collectives.allGatherObject(fetched === null ? null : digestOf(fetched.batch)));
    }
    if (this.fetcher.length !== Infinity) return fetched;
    const ends = collectives.greatest(fetched === null ? 2 : fetched.isLast ? 1 : 0);
    return fetched === null || ends === 2 ? null : { batch: fetched.batch, isLast: ends === 1 };
  }

  #moved(batch: Batch): MaybePending<BatchEnd> {
    this.#context.metricStore.startBatch(batch, null);
    if (this.#onBatchStart.length === 0) return this.#train(batch);
    return this.#onBatchStart.chain((result) => this.#started(result, batch), batch, this.#parts.progress.batchesDone);
  }

  #started(result: unknown, batch: Batch): MaybePending<BatchEnd> {
    if (result !== -1) return this.#train(batch);
    // The module asked to skip the rest of this epoch.
    this.#parts.progress.isLastBatch = true;
    this.#parts.schedulers.step("epoch", this.#parts.progress.epoch + 1, false);
    return "epoch over";
  }

  #train(batch: Batch): MaybePending<BatchEnd> {
    const { step, progress } = this.#parts;
    const batchIdx = progress.batchesDone;
    const windowEnds = this.#endsWindow(batchIdx + 1);
    const run = (): MaybePending<StepResult> =>
      (this.#parts.compiled ?? this.#parts.graph ?? step).run(batch, batchIdx, windowEnds);
    const outputs = this.#profiling === null ? run() : this.#profiling.trainBatch(run);
    return andThen(outputs, (result) => this.#trained(result, batch, batchIdx, windowEnds));
  }

  #trained(outputs: StepResult, batch: Batch, batchIdx: number, windowEnds: boolean): MaybePending<BatchEnd> {
    const late = this.#lateRow.write();
    const then = (): MaybePending<BatchEnd> => this.#afterStep(outputs, batch, batchIdx, windowEnds);
    return late === null ? then() : waitFor(late, then);
  }

  #afterStep(outputs: StepResult, batch: Batch, batchIdx: number, windowEnds: boolean): MaybePending<BatchEnd> {
    const { step, progress, schedulers } = this.#parts;
    const { options } = this.#context;
    if (this.#mayLog(windowEnds) && this.#rowIsDue()) step.outcomes.findRanks(step.outcome, batch, batchIdx);
    progress.batchesDone++;
    progress.totalBatches++;

    const held = options.onSkippedStep === "hold" && step.outcome?.skipped === true;
    if (windowEnds && !held) schedulers.step("step", batchIdx + 1, false);
    if (progress.isLastBatch) schedulers.step("epoch", progress.epoch + 1, false);
    progress.phase = "batch_end";

    if (this.#onBatchEnd.length === 0) return this.#logStep(batch, batchIdx, windowEnds);
    return this.#onBatchEnd.chain(() => this.#logStep(batch, batchIdx, windowEnds), outputs, batch, batchIdx);
  }

  /** Whether an optimizer step is due when so many batches of the epoch are done. */
  #endsWindow(batchesDone: number): boolean {
    const { step, progress } = this.#parts;
    return progress.isLastBatch || batchesDone % step.accumulate === 0;
  }

  #logStep(batch: Batch, batchIdx: number, windowEnds: boolean): MaybePending<BatchEnd> {
    const { step, progress } = this.#parts;
    // Before what follows from it: a row of the log, validation.
    this.#context.voteAfterBatch(progress.isLastBatch || (this.#mayLog(windowEnds) && this.#rowIsDue()));
    // With the metrics, so that a device is waited for once.
    if (this.#mayLog(windowEnds)) step.outcomes.check(batch, batchIdx, this.#rowIsDue());
    const logged = this.#logRow(step.outcome, windowEnds);
    return logged === null ? this.#endBatch(windowEnds) : waitFor(logged, () => this.#endBatch(windowEnds));
  }

  /** The row of this step, if one is due. */
  #logRow(outcome: StepOutcome | null, windowEnds: boolean): Promise<unknown> | null {
    const { progress } = this.#parts;
    if (!this.#mayLog(windowEnds) || !this.#rowIsDue()) return null;
    this.#context.reduceMetrics(true, this.#parts.step.outcomes);
    const { batchesThatStepped, epoch } = progress;
    const write = (metrics: Record<string, number>): Promise<unknown> | null =>
      logStep(this.#context, outcome, metrics, batchesThatStepped, epoch);
    if (this.#parts.compiled == null) return write(this.#context.metricStore.readForLoggers());
    const read = this.#context.metricStore.forLoggersLater();
    this.#lateRow.hold(() => write(read()));
    return null;
  }

  #mayLog(windowEnds: boolean): boolean {
    return windowEnds || !this.#context.module.automaticOptimization;
  }
  #rowIsDue(): boolean {
    return this.isLogStep || this.#context.options.fastDevRun !== false;
  }

  #endBatch(windowEnds: boolean): BatchEnd {
    this.#parts.results.endBatch();
    this.#parts.progress.phase = "batch_logged";
    return windowEnds ? "window ended" : "window open";
  }

  /** Whether the loggers are due at this step. */
  get isLogStep(): boolean {
    const { options, shouldStop } = this.#context;
    if (options.logEveryNSteps === 0) return false;
    return (this.#parts.progress.batchesThatStepped + 1) % options.logEveryNSteps === 0 || shouldStop;
  }

  #needsFinish(): boolean {
    return this.#parts.schedulers.hasPlateauPerStep || this.#validation.isDue();
  }

  /** Validation, if due, then the schedulers that need its metrics. */
  async #finishBatch(windowEnds: boolean): Promise<void> {
    const { progress, schedulers } = this.#parts;
    if (progress.phase === "batch_logged" && this.#validation.isDue()) {
      await this.#lateRow.write();
      await this.#validation.run();
      this.#context.vote();
    }
    if (windowEnds) schedulers.step("step", progress.batchesDone, true);
    this.#countBatch(windowEnds);
  }

  #countBatch(windowEnds: boolean): void {
    const { progress } = this.#parts;
    if (windowEnds) progress.batchesThatStepped++;
    progress.phase = "batch_done";
  }

  async #endEpoch(): Promise<void> {
    const { progress, schedulers, results } = this.#parts;
    const { fetcher } = this;
    const { hooks, metricStore } = this.#context;
    this.#parts.compiled?.settle();
    await this.#lateRow.write();
    if (progress.phase !== "epoch_end") {
      for (const loader of fetcher.loaders) checkSameOrder("fit", this.#context.collectives, loader);
      this.#context.reduceMetrics(false);
      metricStore.endEpoch();
      progress.phase = "epoch_end";
      await hooks.get("onTrainEpochEnd").run();
    }
    this.#context.reduceMetrics(false);
    metricStore.keepLive();
    if (progress.isLastBatch || progress.batchesDone === fetcher.length)
      schedulers.step("epoch", progress.epoch + 1, true);
    // The epoch's metrics carry the step of its last batch, which is counted already.
    await logMetrics(this.#context, metricStore.readForLoggers(), progress.batchesThatStepped - 1, progress.epoch);
    this.#context.events?.epochEnd();
    results.reset();
    progress.epoch++;
    progress.phase = "between_epochs";
  }
}
