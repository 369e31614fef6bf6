import { atMost, ArgumentError, checkOptions, kinds, type OptionNames } from "@nbit/torch";
import type { LightningModule } from "../module.js";
import { partsOf } from "../diagnostics/dry-run.js";
import { mergeReports } from "../diagnostics/common-report.js";
import { observeStep } from "../diagnostics/observe-step.js";
import { keepReport } from "../diagnostics/report.js";
import type { StepPrecision } from "../diagnostics/step-precision.js";
import type { TrainerView } from "../trainer-view.js";
import type { Batch } from "../types.js";
import { paintFor, streamKind, type OutputStream } from "../ui/ansi.js";
import { Callback } from "./callback.js";

export interface PrecisionReportOptions {
  /** Optimizer steps before the one to look at, or several such numbers. Default 0: the first batch. */
  readonly step?: number | readonly number[];
  /**
   * Also write each report as JSON, for `writePrecisionReport` of `@nbit/dashboard`. With several steps `{step}` in the
   * path is the step.
   */
  readonly path?: string;
  /** Print the table. Default true. */
  readonly print?: boolean;
  /** Default `process.stdout`. */
  readonly stream?: OutputStream;
}
const { either, filled, flag, listOf, whole } = kinds;
const NAMES: OptionNames<PrecisionReportOptions> = {
  step: either(whole("[0, ∞)"), listOf(whole("[0, ∞)"))),
  path: filled,
  print: flag,
  stream: streamKind,
};

/**
 * Shows what a step computes in, module by module: operators and their dtypes with the reason for each, casts, times,
 * and how activations and gradients fit the compute dtype.
 *
 * Two dry runs of the step are made before it: forward and backward run twice more, once measured and once traced, and
 * leave weights, gradients, buffers and random state as they were, so that training goes on as if nobody had looked.
 * Every other step costs a comparison. With several processes numbers are those of all, exchanged once per report;
 * process 0 prints and writes it.
 *
 * @throws {ArgumentError} `PrecisionReport: expected step to be a whole number ≥ 0, or an array, every element a whole
 * number ≥ 0. Received: -1.`
 * @example
 * const report = new PrecisionReport({ path: "precision.json" });
 * await new Trainer({ precision: "bf16", callbacks: [report] }).fit(model, { trainDataloaders });
 * report.latest?.totals().casts;
 */
export class PrecisionReport extends Callback {
  readonly #steps: Set<number>;
  readonly #options: PrecisionReportOptions;
  /** All reports so far, in order. */
  readonly reports: StepPrecision[] = [];

  constructor(options: PrecisionReportOptions = {}) {
    atMost("PrecisionReport", arguments, 1);
    super();
    checkOptions("PrecisionReport", options, NAMES);
    const steps: readonly number[] = typeof options.step === "number" ? [options.step] : (options.step ?? [0]);
    if (steps.length === 0) throw new ArgumentError("PrecisionReport", "step to be at least one number", options.step);
    this.#steps = new Set(steps);
    this.#options = options;
  }

  get latest(): StepPrecision | null {
    return this.reports.at(-1) ?? null;
  }

  override onTrainBatchStart(trainer: TrainerView, module: LightningModule, batch: Batch, batchIdx: number): void {
    if (!this.#steps.delete(trainer.globalStep)) return;
    const step = trainer.globalStep;
    const mine = observeStep(partsOf(trainer, module, batch, batchIdx), { step });
    const all = trainer.strategy.collectives?.allGatherObject(mine.toJSON());
    const report = all === undefined ? mine : mergeReports(all);
    this.reports.push(report);
    keepReport(trainer.precision, report);
    if (!trainer.isGlobalZero) return;
    if (this.#options.path !== undefined) report.save(this.#options.path.replaceAll("{step}", String(step)));
    const stream = this.#options.stream ?? process.stdout;
    if (this.#options.print !== false) stream.write(`${report.toString(paintFor(stream))}\n`);
  }
}
