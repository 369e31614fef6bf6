import { join, resolve } from "node:path";
import { atMost, plainText, verbatim } from "@nbit/torch";
import { count, fieldsOf, flag, listOf, optional, ordered, orNull, recordOf, text } from "@nbit/torch/schema";
import { Checkpoint } from "../callbacks/checkpoint.js";
import { MisconfigurationError } from "../errors.js";
import type { LightningModule } from "../module.js";
import type { TrainerView } from "../trainer-view.js";
import type { TrainerFn } from "../types.js";
import { warn } from "../warnings.js";
import { launchMetadata } from "./launch-mark.js";
import { settleOptions, type ModelCheckpointOptions, type SettledOptions } from "./model-checkpoint-options.js";
import { formatName } from "./names.js";
import { isCustom } from "./resolve-io.js";
import { checkState } from "./schema.js";
import { byRankZero } from "./together.js";
import { isTaken, OwnFiles } from "./own-files.js";
import { EXTENSION, freePath } from "./free-path.js";
import { droppedBy, ranked, scoreOf } from "./ranking.js";
import { isTraining, savesAtEpochEnd, validationFollows } from "./save-times.js";
import { isError } from "@nbit/torch/realm";

/** Of a state that is loaded. Paths in it are what they are found to be: see {@link OwnFiles}. */
const STATE = fieldsOf({
  bestModelPath: optional(text),
  bestModelScore: optional(orNull(ordered)),
  lastModelPath: optional(text),
  bestKModels: optional(recordOf(ordered)),
  replaced: optional(text),
  lastStepSaved: optional(count),
  deferred: optional(flag),
  lastDue: optional(flag),
  writers: optional(listOf(text)),
  keepsAnyFile: optional(flag),
});

/** What process 0 finds counts in all. */
function decided<T>(trainer: TrainerView, find: () => T): T {
  return byRankZero("ModelCheckpoint", trainer.strategy.collectives, trainer.globalRank, find);
}

/**
 * Saves checkpoints: the best by a metric, the last, or every n steps or epochs.
 *
 * It removes and overwrites only what it wrote itself, or what a run wrote that it goes on from: files in `dirpath`
 * that carry its mark. Any other file keeps its place; a checkpoint of that name gets a version (`-v1`). Paths in a
 * state that is loaded are never believed.
 *
 * Files are written atomically and hold everything that a resumed run needs to continue bit for bit, from between two
 * batches as well as from between two epochs.
 *
 * @example new ModelCheckpoint({ monitor: "val_loss", saveTopK: 3, saveLast: true, filename: "{epoch}-{val_loss:.3f}" })
 */
export class ModelCheckpoint extends Checkpoint {
  readonly monitor: string | null;
  readonly mode: "min" | "max";
  /** Path of the best checkpoint; "" before the first. */
  bestModelPath = "";
  bestModelScore: number | null = null;
  lastModelPath = "";
  /** Saved checkpoints by path, with the metric's value. */
  bestKModels: Record<string, number> = {};

  readonly #options: SettledOptions;
  readonly #topK: number;
  readonly #everyNSteps: number;
  readonly #everyNEpochs: number;
  readonly #everySeconds: number | null;
  #directory: string | null = null;
  #lastStepSaved = 0;
  /** The step at which it had saved last, by the checkpoint that the run goes on from. */
  #restoredStep: number | null = null;
  #lastTime = 0;
  #lastSaved = "";
  /** Saving fell due before the metric was there: it is made up for after validation. */
  #deferred = false;
  /** `last.ckpt` of this step is still to be written. */
  #lastDue = false;
  readonly #own = new OwnFiles();
  /** Path of the checkpoint that goes as soon as the one that takes its place is written. */
  #replaced = "";

  constructor(options: ModelCheckpointOptions = {}) {
    atMost("ModelCheckpoint", arguments, 1);
    super();
    const settled = settleOptions(options);
    this.#options = settled;
    this.monitor = settled.monitor;
    this.mode = settled.mode;
    this.#topK = settled.saveTopK;
    this.#everyNSteps = settled.everyNTrainSteps;
    this.#everyNEpochs = settled.everyNEpochs;
    this.#everySeconds = settled.trainTimeInterval ?? null;
  }

  override get stateKey(): string {
    return `ModelCheckpoint(${this.monitor}, ${this.mode}, steps ${this.#everyNSteps}, epochs ${this.#everyNEpochs}, seconds ${this.#everySeconds}, ${this.#options.saveOnTrainEpochEnd ?? "auto"})`;
  }
  /** Where checkpoints go; null before the first run. */
  get dirpath(): string | null {
    return this.#directory ?? (this.#options.dirpath === undefined ? null : resolve(this.#options.dirpath));
  }

  /** @internal Whether `dirpath` was given. */
  get hasOwnDirectory(): boolean {
    return this.#options.dirpath !== undefined;
  }

  resolveDirectory(trainer: TrainerView): string {
    return this.dirpath ?? resolve(join(trainer.logger?.logDir ?? trainer.defaultRootDir, "checkpoints"));
  }

  override setup(trainer: TrainerView, _module: LightningModule, stage: TrainerFn): void {
    if (stage !== "fit") return;
    this.#directory = decided(trainer, () => this.resolveDirectory(trainer));
    this.#own.unreadable = isCustom(trainer.checkpointIO);
    this.#lastTime = performance.now();
    this.#lastStepSaved = 0;
    this.#restoredStep = null;
    this.#deferred = false;
    this.#lastDue = false;
  }

  override onTrainStart(trainer: TrainerView): void {
    this.#lastTime = performance.now();
    this.#agree(trainer);
    // What this callback had saved is saved already; at the step of another's checkpoint, its own may still be due.
    this.#lastStepSaved = this.#restoredStep ?? trainer.globalStep;
    this.#restoredStep = null;
    if (this.#lastDue) this.#saveLast(trainer);
  }

  /** Which files are its own, process 0 knows. */
  #agree(trainer: TrainerView): void {
    const { bestModelPath, bestModelScore, lastModelPath, bestKModels } = this;
    const mine = { bestModelPath, bestModelScore, lastModelPath, bestKModels };
    Object.assign(
      this,
      decided(trainer, () => mine),
    );
  }

  override onTrainBatchEnd(trainer: TrainerView): void {
    const stepDue = this.#everyNSteps > 0 && trainer.globalStep % this.#everyNSteps === 0;
    const timeDue = this.#timeIsUp(trainer);
    if (!stepDue && !timeDue) return;
    if (this.#mustNotSave(trainer)) return;
    if (timeDue) this.#lastTime = performance.now();
    if (
      this.monitor !== null &&
      (this.#monitored(trainer) === undefined || validationFollows(trainer, this.#options.saveOnTrainEpochEnd))
    ) {
      this.#deferred = true;
      return;
    }
    this.#save(trainer);
  }

  /** By the clock of process 0. */
  #timeIsUp(trainer: TrainerView): boolean {
    if (this.#everySeconds === null) return false;
    const passed = (performance.now() - this.#lastTime) / 1000 >= this.#everySeconds;
    return trainer.strategy.collectives?.agree(trainer.isGlobalZero && passed) ?? passed;
  }

  #monitored(trainer: TrainerView): number | undefined {
    return this.monitor === null ? undefined : trainer.agreedMetric(this.monitor);
  }

  override onTrainEpochEnd(trainer: TrainerView): void {
    if (this.#savesAtEpochEnd(trainer)) this.#saveAtEnd(trainer);
  }

  override onValidationEnd(trainer: TrainerView): void {
    if (this.#savesAtEpochEnd(trainer) && !this.#deferred) return;
    if (this.#deferred && !this.#mustNotSave(trainer)) {
      this.#deferred = false;
      this.#save(trainer);
    } else this.#saveAtEnd(trainer);
  }

  override onException(trainer: TrainerView, _module: LightningModule, error: unknown): void {
    // Nobody answers any more: process 0 saves what it has.
    if (!this.#options.saveOnException || this.#mustNotSave(trainer) || !trainer.isGlobalZero) return;
    const path = this.#nameFor(trainer, this.#options.filename);
    this.#write(trainer, path);
    console.error(plainText(`Training failed (${isError(error) ? error.message : String(error)}); saved ${path}.`));
  }

  #saveAtEnd(trainer: TrainerView): void {
    if (this.#mustNotSave(trainer)) return;
    if (this.#everyNEpochs > 0 && (trainer.currentEpoch + 1) % this.#everyNEpochs === 0) this.#save(trainer);
  }

  #mustNotSave(trainer: TrainerView): boolean {
    return !isTraining(trainer) || this.#lastStepSaved === trainer.globalStep;
  }

  #savesAtEpochEnd(trainer: TrainerView): boolean {
    return savesAtEpochEnd(trainer, this.#options.saveOnTrainEpochEnd);
  }

  #save(trainer: TrainerView): void {
    const { monitor } = this;
    this.#lastDue = this.#options.saveLast;
    if (this.#topK !== 0)
      this.#unlessItFails(() => {
        if (monitor === null) this.#saveNewest(trainer);
        else this.#saveRanked(trainer, monitor);
      });
    if (this.#lastDue)
      this.#unlessItFails(() => {
        this.#saveLast(trainer);
      });
  }

  /**
   * A checkpoint says of itself that it is the best or the last before it is written: when that fails, it is neither.
   */
  #unlessItFails(save: () => void): void {
    const { bestModelPath, bestModelScore, lastModelPath } = this;
    const bestKModels = { ...this.bestKModels };
    const [step, saved] = [this.#lastStepSaved, this.#lastSaved];
    try {
      save();
    } catch (error) {
      Object.assign(this, { bestModelPath, bestModelScore, lastModelPath, bestKModels });
      [this.#lastStepSaved, this.#lastSaved, this.#replaced] = [step, saved, ""];
      throw error;
    }
  }

  #saveNewest(trainer: TrainerView): void {
    const previous = this.bestModelPath;
    const path = this.#freePath(trainer, this.#options.filename, previous);
    this.bestModelPath = path;
    this.#write(trainer, path, this.#topK === 1 ? previous : "");
  }

  #saveRanked(trainer: TrainerView, monitor: string): void {
    const value = this.#monitored(trainer);
    if (value === undefined) {
      const have = Object.keys(trainer.callbackMetrics).join(", ");
      throw new MisconfigurationError(
        "ModelCheckpoint",
        `the metric ${JSON.stringify(monitor)}`,
        verbatim(have === "" ? "no metrics" : `the metrics ${have}`),
        "log it, or change monitor.",
        "ERR_MONITOR",
      );
    }
    const score = scoreOf(value, this.mode);
    const dropped = droppedBy(score, this.bestKModels, this.mode, this.#topK);
    if (dropped === null) {
      this.#say(trainer, `${monitor} ${value} is not among the best ${this.#topK}.`);
      return;
    }
    delete this.bestKModels[dropped];
    const path = this.#freePath(trainer, this.#options.filename, dropped);
    this.bestKModels[path] = score;
    const [best] = ranked(this.bestKModels, this.mode);
    if (best !== undefined) [this.bestModelPath, this.bestModelScore] = best;
    this.#write(trainer, path, dropped);
    this.#say(trainer, `${monitor} reached ${value}; saved ${path}.`);
  }

  #say(trainer: TrainerView, what: string): void {
    if (this.#options.verbose && trainer.isGlobalZero)
      console.log(plainText(`ModelCheckpoint: step ${trainer.globalStep}: ${what}`));
  }

  #saveLast(trainer: TrainerView): void {
    this.#lastDue = false;
    const previous = this.lastModelPath;
    const path = this.#freePath(trainer, "last", previous);
    this.lastModelPath = path;
    this.#write(trainer, path, previous);
  }

  /**
   * Write one, then remove the one whose place it takes. The state says so too: a run that is killed between the two
   * removes it when it goes on.
   */
  #write(trainer: TrainerView, path: string, replaced = ""): void {
    const leaves = replaced !== path && (trainer.ckptPath === null || resolve(trainer.ckptPath) !== replaced); // not the one that this run goes on from
    this.#replaced = leaves ? replaced : "";
    this.#lastStepSaved = trainer.globalStep;
    this.#lastSaved = path;
    trainer.saveCheckpoint(path, {
      weightsOnly: this.#options.saveWeightsOnly,
      metadata: { ...this.#own.metadataFor(path), ...(this.#options.saveWeightsOnly ? {} : launchMetadata(trainer)) },
      ...(this.#options.dtype === undefined ? {} : { dtype: this.#options.dtype }),
    });
    if (trainer.isGlobalZero) {
      const [directory, old] = [this.#directory, this.#replaced];
      const saved = { lastSavedPath: path, bestModelPath: this.bestModelPath };
      trainer.checkpointIO.whenSaved(() => {
        for (const logger of trainer.loggers) logger.afterSaveCheckpoint(saved);
        this.#own.remove(directory, old, trainer.checkpointIO);
      });
    }
    this.#replaced = "";
  }

  /**
   * Where the Trainer saves what an interrupted run needs to go on, and with which mark; null before the first run.
   * @internal
   */
  interruptedFile(
    trainer: TrainerView,
  ): { readonly path: string; readonly metadata: Readonly<Record<string, string>> } | null {
    if (this.#directory === null) return null;
    const path = this.#freePath(trainer, "interrupted", join(this.#directory, `interrupted${EXTENSION}`));
    return { path, metadata: { ...this.#own.metadataFor(path), ...launchMetadata(trainer) } };
  }

  /** The same in all processes. */
  #freePath(trainer: TrainerView, template: string, replaced = ""): string {
    return decided(trainer, () => this.#nameFor(trainer, template, replaced));
  }

  /** A name that overwrites nothing but `replaced`, if that is ours. */
  #nameFor(trainer: TrainerView, template: string, replaced = ""): string {
    const values = { ...trainer.callbackMetrics, epoch: trainer.currentEpoch, step: trainer.globalStep };
    const name = formatName(template, values, this.#options.autoInsertMetricName);
    const { checkpointIO, strategy } = trainer;
    const sharded = strategy.stateDictType === "sharded" || checkpointIO.writesFolders;
    const overwrites = !this.#options.enableVersionCounter;
    const directory = this.resolveDirectory(trainer);
    // Whether a name is taken, and by whom, its file says.
    for (const awaited of [join(directory, name), replaced]) if (awaited !== "") checkpointIO.wait(awaited);
    return freePath(directory, name, { replaced, own: this.#own, sharded, overwrites });
  }

  /** Path of the checkpoint that was written last; "" before the first. */
  get lastSavedPath(): string {
    return this.#lastSaved;
  }

  override stateDict(): Record<string, unknown> {
    return {
      monitor: this.monitor,
      dirpath: this.dirpath,
      bestModelPath: this.bestModelPath,
      bestModelScore: this.bestModelScore,
      lastModelPath: this.lastModelPath,
      bestKModels: { ...this.bestKModels },
      replaced: this.#replaced,
      lastStepSaved: this.#lastStepSaved,
      deferred: this.#deferred,
      lastDue: this.#lastDue,
      writers: [...this.#own.writers],
    };
  }

  override loadStateDict(state: Record<string, unknown>): void {
    const saved = checkState("ModelCheckpoint.loadStateDict", STATE, state);
    this.bestModelPath = saved.bestModelPath ?? this.bestModelPath;
    this.#restoredStep = saved.lastStepSaved ?? null;
    this.#deferred = saved.deferred ?? false;
    this.#lastDue = this.#options.saveLast && (saved.lastDue ?? false);
    if (state.dirpath !== this.dirpath) {
      // Evaluation has no folder, and saves nothing.
      if (this.dirpath !== null)
        warn(
          "WARN_CHECKPOINT_FOLDER",
          plainText(
            `ModelCheckpoint: the folder has changed from ${String(state.dirpath)} to ${this.dirpath}; of the earlier checkpoints only the best one's path is remembered.`,
          ),
        );
      return;
    }
    this.#own.inherit(saved.writers);
    // Files that Lightning wrote have their ranks; only this class's own are ever removed.
    const has = (path: string): boolean =>
      this.#own.has(this.dirpath, path) || (saved.keepsAnyFile === true && isTaken(path));
    this.bestModelScore = saved.bestModelScore ?? this.bestModelScore;
    if (saved.lastModelPath !== undefined && has(saved.lastModelPath)) this.lastModelPath = saved.lastModelPath;
    if (saved.bestKModels !== undefined)
      this.bestKModels = Object.fromEntries(Object.entries(saved.bestKModels).filter(([path]) => has(path)));
    if (saved.replaced !== undefined) this.#own.remove(this.dirpath, saved.replaced);
  }
}
