/** `precision.report()`: what a step computed in, looked at now or by a callback before. */
import { checkOptions, kinds, verbatim } from "@nbit/torch";
import type { nn, OptionNames } from "@nbit/torch";
import { MisconfigurationError, misconfigured } from "../errors.js";
import { globalRank } from "@nbit/torch/distributed";
import type { Batch } from "../types.js";
import type { StepPrecision } from "./step-precision.js";

export interface ReportOptions {
  /** What to make a dry run of a step on. Default: none is made. */
  readonly batch?: Batch;
  /** Print it too. Default true. */
  readonly print?: boolean;
}

const REPORT: OptionNames<ReportOptions> = { batch: true, print: kinds.flag };

/** Makes dry runs of a step on a batch. */
export type StepObserver = (batch: Batch) => StepPrecision;

// By precision, which knows nothing of modules' steps.
/** What a report without a batch returns. */
const latest = new WeakMap<object, StepPrecision>();
const observers = new WeakMap<object, StepObserver>();

/** Keep a report for {@link reportStep} to return. */
export function keepReport(precision: object, report: StepPrecision): void {
  latest.set(precision, report);
}

/** From here on, {@link reportStep} has this observer for its batches. */
export function observeWith(precision: object, observer: StepObserver): void {
  observers.set(precision, observer);
}

/**
 * The report of a dry run on `options.batch`, or the latest one. `module`: the one in training, null before the first.
 */
export function reportStep(precision: object, module: nn.Module | null, options: ReportOptions): StepPrecision {
  checkOptions("report", options, REPORT, misconfigured("report", "ERR_REPORT_OPTION"));
  const report = options.batch === undefined ? latest.get(precision) : observe(precision, module, options.batch);
  if (report === undefined) {
    const fix = "Call trainer.precision.report({ batch }) after fit, or add new PrecisionReport() to callbacks.";
    throw new MisconfigurationError(
      "report",
      "a batch, or a PrecisionReport callback that has run",
      verbatim("neither"),
      fix,
      "ERR_NO_REPORT",
    );
  }
  keepReport(precision, report);
  if (options.print !== false && globalRank() === 0) console.log(report.toString());
  return report;
}

function observe(precision: object, module: nn.Module | null, batch: Batch): StepPrecision {
  const observer = observers.get(precision);
  if (observer === undefined)
    throw new MisconfigurationError(
      "report",
      "a module in training",
      module,
      "Call trainer.fit first.",
      "ERR_NOT_ATTACHED",
    );
  return observer(batch);
}
