import { MisconfigurationError } from "../errors.js";
import type { Results } from "../logging/results.js";
import { mustEnd } from "../promises.js";
import { captureRng, disposeRng, restoreRng } from "../rng.js";
import { InterruptSignal } from "../signals.js";
import type { LoopContext } from "./context.js";
import type { EvaluationLoop } from "./evaluation.js";
import type { BatchSource } from "./batch-source.js";
import type { FitProgress } from "./progress.js";
import type { StepReplays } from "./step-replays.js";
import type { Stopping } from "./stopping.js";

export interface FitValidationParts {
  /** Replays of training's steps; null: there are none. */
  readonly replays?: StepReplays | null;
  /** Null: none is asked for. */
  readonly validation: EvaluationLoop | null;
  /** Of the training batches. */
  readonly fetcher: BatchSource;
  readonly progress: FitProgress;
  /** Of training. */
  readonly results: Results;
}

/** Validation between the batches of a fit: when it runs, and that training goes on as if it had not. */
export class FitValidation {
  readonly #context: LoopContext;
  readonly #parts: FitValidationParts;
  readonly #stopping: Stopping;
  /** Every how many batches; Infinity: at the end of an epoch of unknown length. */
  every: number;
  /** The epoch in which its loaders were asked for; null: nothing was validated on them. */
  loadedIn: number | null = null;

  constructor(context: LoopContext, parts: FitValidationParts, stopping: Stopping) {
    this.#context = context;
    this.#parts = parts;
    this.#stopping = stopping;
    this.every = batchesBetween(context, parts);
  }

  /** Training goes on with other loaders. */
  useLoaders(fetcher: BatchSource): void {
    this.every = batchesBetween(this.#context, { ...this.#parts, fetcher });
  }

  /** The loaders of the sanity check are those of the first validation, unless that is in a later epoch. */
  beforeSanityCheck(): void {
    this.loadedIn = this.#isDueThisEpoch() ? this.#parts.progress.epoch : LONG_AGO;
  }

  #reload(validation: EvaluationLoop): void {
    const { reloadDataloadersEveryNEpochs: every } = this.#context.options;
    const { epoch } = this.#parts.progress;
    const due = every > 0 && this.loadedIn !== null && epoch - this.loadedIn >= every;
    if (due) validation.reload();
    if (due || this.loadedIn === null) this.loadedIn = epoch;
  }

  /** After the batch that was just done. */
  isDue(): boolean {
    const { options, shouldStop } = this.#context;
    const { progress, validation } = this.#parts;
    if (validation === null || !this.#isDueThisEpoch()) return false;
    if (progress.isLastBatch && this.every === Infinity) return true;
    if (shouldStop && this.#stopping.stopsEarly()) return true;
    const batches = options.checkValEveryNEpoch === null ? progress.totalBatches : progress.batchesDone;
    return batches % this.every === 0;
  }

  #isDueThisEpoch(): boolean {
    const every = this.#context.options.checkValEveryNEpoch;
    return every === null || (this.#parts.progress.epoch + 1) % every === 0;
  }

  async run(): Promise<void> {
    const { progress, validation, results } = this.#parts;
    if (validation === null) return;
    const { module, options, strategy, metricStore } = this.#context;
    progress.phase = "validated";
    this.#parts.replays?.rest();
    if (!progress.windowOpen && options.limitValBatches !== 0)
      mustEnd("onValidationModelZeroGrad", module.onValidationModelZeroGrad());
    const device = strategy.rootDevice;
    const rng = captureRng(device);
    this.#reload(validation);
    validation.mark();
    try {
      await validation.run(false);
    } catch (error) {
      if (error instanceof InterruptSignal) {
        // A checkpoint from here goes on with the whole validation.
        progress.phase = "batch_logged";
        validation.goBack();
        restoreRng(rng, device);
      }
      throw error;
    } finally {
      validation.unmark();
      disposeRng(rng);
      this.#context.stage = "train";
      metricStore.activate(results, true);
    }
  }
}

/** An epoch that is further back than any number of epochs. */
const LONG_AGO = -(2 ** 52);

/** `valCheckInterval` in batches. */
function batchesBetween({ options }: LoopContext, { fetcher, validation }: FitValidationParts): number {
  const asked = options.valCheckInterval;
  if (asked === undefined) return fetcher.sized ? fetcher.length : Infinity;
  if (Number.isInteger(asked)) {
    if (validation !== null && options.checkValEveryNEpoch !== null && asked > fetcher.length) {
      throw new MisconfigurationError(
        "Trainer",
        `valCheckInterval to be at most the ${fetcher.length} training batches of an epoch`,
        asked,
        "Use a smaller number, or checkValEveryNEpoch: null to count batches across epochs.",
        "ERR_VAL_CHECK_INTERVAL",
      );
    }
    return asked;
  }
  if (!fetcher.sized) {
    throw new MisconfigurationError(
      "Trainer",
      "valCheckInterval to be a whole number for a loader without a length",
      asked,
      undefined,
      "ERR_VAL_CHECK_INTERVAL",
    );
  }
  return Math.max(1, Math.floor(fetcher.length * asked));
}
