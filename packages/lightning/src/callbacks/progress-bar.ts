import { atMost, checkOptions, kinds, type OptionNames, plainText } from "@nbit/torch";
import type { LightningModule } from "../module.js";
import type { TrainerView } from "../trainer-view.js";
import type { Batch, StepResult } from "../types.js";
import { streamKind, type OutputStream } from "../ui/ansi.js";
import type { Segment } from "../ui/bar.js";
import { countOf } from "../ui/bar.js";
import { lengthOf } from "../ui/batch.js";
import { displayFor } from "../ui/display.js";
import type { Display } from "../ui/display.js";
import { formatClock, formatMetric, formatRate, formatSeconds } from "@nbit/torch/format";
import { RateMeter } from "../ui/rate.js";
import { Callback } from "./callback.js";
import { LossScaleMonitor } from "./loss-scale-monitor.js";

export interface ProgressBarOptions {
  /** What one element of a batch is called, in the plural: "images", "tokens". The default shows batches ("it"). */
  readonly unit?: string;
  /** Redraws per second at most, in (0, 10]. Default 10. */
  readonly refreshRate?: number;
  /** Default `process.stdout`. */
  readonly stream?: OutputStream;
}
const { real, text } = kinds;
const NAMES: OptionNames<ProgressBarOptions> = { unit: text, refreshRate: real("(0, 10]"), stream: streamKind };

/** Segments of the lowest rank go first in a narrow terminal. */
const RANK = { percent: 0, rate: 2, metrics: 3, scale: 1, eta: 4, skipped: 5, count: 6 } as const;

/** A stretch of batches with one bar: a training epoch, a validation run. */
interface Phase {
  readonly label: string;
  readonly total: number;
  readonly rate: RateMeter;
  readonly startedAt: number;
  done: number;
  /** Milliseconds that other phases (validation) took out of the middle of this one. */
  paused: number;
  /** Elements in a full batch, and in all batches of a phase that is over. */
  perBatch: number;
  elements: number | null;
}

/**
 * Progress of a run in the terminal: epoch, bar, rate, time left, metrics, loss scale and skipped steps.
 *
 * In a terminal it is one line, redrawn at most ten times a second, with one line per epoch that stays. Elsewhere (a
 * file, a pipe, CI) it writes plain lines: one per tenth of an epoch or ten seconds.
 *
 * Between redraws a step costs a clock reading and a comparison. Metrics (those logged with `progBar: true`), the loss
 * scale and the count of skipped steps are read only for a redraw, which is when they may wait for the device.
 *
 * @throws {ArgumentError} `ProgressBar: expected refreshRate to be in (0, 10]. Received: 50.`
 * @example
 * new Trainer({ callbacks: [new ProgressBar({ unit: "images" })] });
 * // Epoch 1/2  ━━━━━━━━━━━━━━━━━━╸─────────────  262/469  7,143 images/s  eta 0:04  loss 0.0832  scale 65,536
 */
export class ProgressBar extends Callback {
  readonly #stream: OutputStream;
  readonly #unit: string | null;
  readonly #intervalMs: number;
  #display: Display | null = null;
  #training: Phase | null = null;
  #evaluating: Phase | null = null;

  constructor(options: ProgressBarOptions = {}) {
    atMost("ProgressBar", arguments, 1);
    super();
    checkOptions("ProgressBar", options, NAMES);
    const { refreshRate = 10 } = options;
    this.#stream = options.stream ?? process.stdout;
    this.#unit = options.unit ?? null;
    this.#intervalMs = 1000 / refreshRate;
  }

  override onTrainEpochStart(trainer: TrainerView): void {
    const of = trainer.maxEpochs > 0 && Number.isFinite(trainer.maxEpochs) ? `/${trainer.maxEpochs}` : "";
    this.#training = this.#begin(trainer, `Epoch ${trainer.currentEpoch + 1}${of}`, trainer.numTrainingBatches);
  }

  override onTrainBatchEnd(
    trainer: TrainerView,
    _module: LightningModule,
    _outputs: StepResult,
    batch: Batch,
    batchIdx: number,
  ): void {
    this.#advance(this.#training, trainer, batch, batchIdx + 1);
  }

  override onTrainEpochEnd(trainer: TrainerView): void {
    const phase = this.#training;
    this.#training = null;
    if (phase !== null && phase.done > 0) this.#finish(phase, trainer, "");
  }

  override onSanityCheckStart(trainer: TrainerView): void {
    this.#evaluating = this.#begin(trainer, "Sanity check", sum(trainer.numSanityValBatches));
  }

  override onSanityCheckEnd(): void {
    this.#evaluating = null;
  }

  override onValidationStart(trainer: TrainerView): void {
    // The sanity check is a validation run too, and has its own name.
    if (!trainer.sanityChecking) this.#evaluating = this.#begin(trainer, "Validating", sum(trainer.numValBatches));
  }

  override onValidationBatchEnd(trainer: TrainerView, _module: LightningModule, _outputs: unknown, batch: Batch): void {
    this.#advance(this.#evaluating, trainer, batch);
  }

  override onValidationEnd(trainer: TrainerView): void {
    const phase = this.#evaluating;
    if (phase === null || trainer.sanityChecking) return;
    this.#evaluating = null;
    const now = performance.now();
    if (this.#training !== null) {
      this.#training.paused += now - phase.startedAt;
      this.#training.rate.skipTo(now);
    } else this.#finish(phase, trainer, "Validation");
  }

  override onTestStart(trainer: TrainerView): void {
    this.#evaluating = this.#begin(trainer, "Testing", sum(trainer.numTestBatches));
  }

  override onTestBatchEnd(trainer: TrainerView, _module: LightningModule, _outputs: unknown, batch: Batch): void {
    this.#advance(this.#evaluating, trainer, batch);
  }

  override onTestEnd(trainer: TrainerView): void {
    this.#finishEvaluation(trainer, "Test");
  }

  override onPredictStart(trainer: TrainerView): void {
    this.#evaluating = this.#begin(trainer, "Predicting", sum(trainer.numPredictBatches));
  }

  override onPredictBatchEnd(trainer: TrainerView, _module: LightningModule, _outputs: unknown, batch: Batch): void {
    this.#advance(this.#evaluating, trainer, batch);
  }

  override onPredictEnd(trainer: TrainerView): void {
    this.#finishEvaluation(trainer, "Prediction");
  }

  override onException(trainer: TrainerView): void {
    const phase = this.#evaluating ?? this.#training;
    this.#evaluating = null;
    this.#training = null;
    // Reading metrics may fail in its own way after a device error; the counts are what helps here.
    if (phase !== null && trainer.isGlobalZero) {
      this.#open().print({
        head: `${phase.label} stopped`,
        fraction: null,
        segments: [{ text: countOf(phase.done, phase.total), rank: RANK.count }],
      });
    }
    this.#close();
  }

  override teardown(): void {
    this.#close();
  }

  #open(): Display {
    this.#display ??= displayFor(
      this.#stream,
      this.#stream === process.stdout ? [process.stderr] : [],
      this.#intervalMs,
    );
    return this.#display;
  }

  #close(): void {
    this.#display?.close();
    this.#display = null;
  }

  #begin(trainer: TrainerView, label: string, total: number): Phase | null {
    if (!trainer.isGlobalZero) return null;
    const now = performance.now();
    this.#open().restart(now);
    return { label, total, rate: new RateMeter(now), startedAt: now, done: 0, paused: 0, perBatch: 1, elements: null };
  }

  #advance(phase: Phase | null, trainer: TrainerView, batch: Batch, done = (phase?.done ?? 0) + 1): void {
    if (phase === null || this.#display === null) return;
    phase.done = done;
    const now = performance.now();
    const fraction = Number.isFinite(phase.total) && phase.total > 0 ? done / phase.total : null;
    if (done === 1) phase.perBatch = this.#lengthOf(batch);
    if (done === phase.total) phase.elements = phase.perBatch * (done - 1) + this.#lengthOf(batch);
    if (!this.#display.due(now, fraction)) return;
    // The last batch is often short: it would understate all others.
    if (done < phase.total) phase.perBatch = this.#lengthOf(batch);
    this.#display.show({ head: phase.label, fraction, segments: this.#live(phase, trainer, now) }, now);
  }

  #live(phase: Phase, trainer: TrainerView, now: number): Segment[] {
    const { paint } = this.#open();
    const rate = phase.rate.update(phase.done, now);
    const segments: Segment[] = [{ text: countOf(phase.done, phase.total), rank: RANK.count }];
    if (Number.isFinite(phase.total) && phase.total > 0)
      segments.push({
        text: `${String(Math.floor((100 * phase.done) / phase.total)).padStart(3)}%`,
        rank: RANK.percent,
      });
    segments.push({ text: formatRate(rate * phase.perBatch, this.#unit ?? "it"), rank: RANK.rate });
    const left = (phase.total - phase.done) / rate;
    if (Number.isFinite(left)) segments.push({ text: `${paint("dim", "eta")} ${formatClock(left)}`, rank: RANK.eta });
    else segments.push({ text: formatClock((now - phase.startedAt - phase.paused) / 1000), rank: RANK.eta });
    if (phase === this.#training) segments.push(...this.#trainingSegments(trainer));
    return segments;
  }

  #trainingSegments(trainer: TrainerView): Segment[] {
    const { paint } = this.#open();
    const segments = this.#metrics(trainer);
    const scale = trainer.lossScale;
    if (scale !== null) segments.push({ text: `${paint("dim", "scale")} ${formatMetric(scale)}`, rank: RANK.scale });
    const skipped = trainer.skippedSteps;
    if (skipped > 0)
      segments.push({ text: paint("yellow", `skipped ${skipped}${culprit(trainer)}`), rank: RANK.skipped });
    return segments;
  }

  #metrics(trainer: TrainerView): Segment[] {
    const { paint } = this.#open();
    return Object.entries(trainer.progressBarMetrics).map(([name, value]) => ({
      text: `${paint("dim", plainText(name))} ${formatMetric(value)}`,
      rank: RANK.metrics,
    }));
  }

  #lengthOf(batch: Batch): number {
    return this.#unit === null ? 1 : (lengthOf(batch) ?? 1);
  }

  #finishEvaluation(trainer: TrainerView, label: string): void {
    const phase = this.#evaluating;
    this.#evaluating = null;
    if (phase !== null) this.#finish(phase, trainer, label);
  }

  /** The line of a finished phase, which stays. */
  #finish(phase: Phase, trainer: TrainerView, label: string): void {
    const display = this.#open();
    const seconds = (performance.now() - phase.startedAt - phase.paused) / 1000;
    const training = label === "";
    display.print({
      head: `${training ? phase.label : label} ${display.paint("green", "done")}`,
      fraction: null,
      segments: [
        {
          text: `${phase.done} ${phase.done === 1 ? "batch" : "batches"} in ${formatSeconds(seconds)}`,
          rank: RANK.count,
        },
        {
          text: formatRate((phase.elements ?? phase.done * phase.perBatch) / seconds, this.#unit ?? "it"),
          rank: RANK.rate,
        },
        ...(training ? this.#trainingSegments(trainer) : this.#metrics(trainer)),
      ],
    });
  }
}

/** The first parameter whose gradient overflowed in the latest skipped step, where a monitor knows it. */
function culprit(trainer: TrainerView): string {
  const monitor = trainer.callbacks.find((callback) => callback instanceof LossScaleMonitor);
  const { nonFinite: [first, ...others] = [], ranks: [rank] = [] } = monitor?.overflows.at(-1) ?? {};
  const where = rank === undefined ? "" : `, rank ${rank.rank}`;
  return first === undefined ? "" : ` (${plainText(first)}${others.length === 0 ? "" : ` +${others.length}`}${where})`;
}

function sum(counts: readonly number[]): number {
  return counts.reduce((total, count) => total + count, 0);
}
