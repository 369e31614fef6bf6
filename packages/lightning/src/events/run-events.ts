import type { TrainerView } from "../trainer-view.js";
import type { RunningStage, TrainerFn } from "../types.js";
import type { WarnOnce } from "../warnings.js";
import type { EventHub } from "./event-hub.js";

/** Tells the readers of a Trainer's events what one run does. */
export class RunEvents {
  readonly #hub: EventHub;
  readonly #fn: TrainerFn;
  readonly #view: TrainerView;
  readonly #warnings: WarnOnce;
  /** Steps skipped that readers know of; null: before training, or what readers hear of it. */
  #skipped: number | null = null;
  #saidLongStep = false;

  constructor(
    hub: EventHub,
    run: { readonly fn: TrainerFn; readonly trainer: TrainerView; readonly warnings: WarnOnce },
  ) {
    this.#hub = hub;
    this.#fn = run.fn;
    this.#view = run.trainer;
    this.#warnings = run.warnings;
  }

  get #place(): { readonly epoch: number; readonly globalStep: number } {
    return { epoch: this.#view.currentEpoch, globalStep: this.#view.globalStep };
  }

  start(): void {
    if (this.#hub.hasReaders) this.#hub.emit({ type: "start", fn: this.#fn });
  }

  stage(before: RunningStage | null, now: RunningStage | null): void {
    if (!this.#hub.hasReaders || before === now) return;
    if (before !== null) this.#hub.emit({ type: "stageEnd", stage: before, ...this.#place });
    // Not before: a checkpoint that is restored counts its own.
    if (now === "train") this.#skipped ??= this.#view.skippedSteps;
    if (now !== null) this.#hub.emit({ type: "stageStart", stage: now, ...this.#place });
  }

  batchEnd(stage: RunningStage | null, batchIdx: number, dataloaderIdx: number): void {
    if (!this.#hub.hasReaders || stage === null) return;
    let read = false;
    this.#hub.emitBatch(batchIdx + 1, () => {
      read = true;
      const metrics = { ...this.#view.callbackMetrics };
      return { type: "batchEnd", stage, batchIdx, dataloaderIdx, metrics, ...this.#place };
    });
    // With the metrics, so that a device is waited for once.
    if (read && stage === "train") this.#findSkipped();
  }

  #findSkipped(): void {
    const { skippedSteps, lossScale } = this.#view;
    const count = skippedSteps - (this.#skipped ?? skippedSteps);
    this.#skipped = skippedSteps;
    if (count > 0) this.#hub.emit({ type: "skippedStep", count, lossScale, ...this.#place });
  }

  epochEnd(): void {
    if (!this.#hub.hasReaders) return;
    this.#findSkipped();
    this.#hub.emit({ type: "epochEnd", metrics: { ...this.#view.callbackMetrics }, ...this.#place });
  }

  evaluationEnd(kind: "validate" | "test", perLoader: readonly Readonly<Record<string, number>>[]): void {
    if (!this.#hub.hasReaders) return;
    const type = kind === "validate" ? "validationEnd" : "testEnd";
    this.#hub.emit({ type, metrics: perLoader.map((record) => ({ ...record })), ...this.#place });
  }

  /** @returns What tells of it, once the checkpoint is there: of the step that it is of, whenever that is. */
  savesCheckpoint(path: string): () => void {
    const place = this.#place;
    return () => {
      if (this.#hub.hasReaders) this.#hub.emit({ type: "checkpointSaved", path, ...place });
    };
  }

  /**
   * A step kept the event loop waiting for long. Once per run: an event, and a line for the user where this process
   * serves others, which is where it matters.
   */
  longStep(milliseconds: number): void {
    if (this.#saidLongStep) return;
    this.#saidLongStep = true;
    this.#hub.emit({ type: "longStep", milliseconds, ...this.#place });
    if (process.getActiveResourcesInfo().includes("TCPServerWrap"))
      this.#warnings.warnOfThisRank(
        "INFO_LONG_STEP",
        `${this.#fn}: a training step took ${Math.round(milliseconds)} ms, and requests to this process's server wait as long. ` +
          "Train in a process of its own where that matters (node:child_process).",
      );
  }
}
