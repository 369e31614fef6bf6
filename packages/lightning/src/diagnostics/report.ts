/** `precision.report()`: what a step computed in, looked at now or by a callback before. */
import { checkOptions, kinds, scope, verbatim } from "@nbit/torch";
import type { OptionNames } from "@nbit/torch";
import type { nn } from "@nbit/torch";
import { mapTensors } from "../collections.js";
import { MisconfigurationError, misconfigured } from "../errors.js";
import { LightningModule } from "../module.js";
import type { Precision } from "../precision/precision.js";
import type { Batch } from "../types.js";
import { observeStep } from "./observe-step.js";
import type { StepPrecision } from "./step-precision.js";

export interface ReportOptions {
  /** What to make a dry run of a step on. Default: none is made. */
  readonly batch?: Batch;
  /** Print it too. Default true. */
  readonly print?: boolean;
}

const REPORT: OptionNames<ReportOptions> = { batch: true, print: kinds.flag };

/** What a report without a batch returns. */
const latest = new WeakMap<Precision, StepPrecision>();

/** Keep a report for {@link reportStep} to return. */
export function keepReport(precision: Precision, report: StepPrecision): void {
  latest.set(precision, report);
}

/** The report of a dry run on `options.batch`, or the latest one. */
export function reportStep(precision: Precision, module: nn.Module | null, options: ReportOptions): StepPrecision {
  checkOptions("report", options, REPORT, misconfigured("report", "ERR_REPORT_OPTION"));
  const report = options.batch === undefined ? latest.get(precision) : observe(precision, module, options.batch);
  if (report === undefined) {
    const fix = "Call trainer.precision.report({ batch }) after fit, or add new PrecisionReport() to callbacks.";
    throw new MisconfigurationError("report", "a batch, or a PrecisionReport callback that has run", verbatim("neither"), fix, "ERR_NO_REPORT");
  }
  keepReport(precision, report);
  if (options.print !== false) console.log(report.toString());
  return report;
}

function observe(precision: Precision, module: nn.Module | null, batch: Batch): StepPrecision {
  if (!(module instanceof LightningModule)) {
    throw new MisconfigurationError("report", "a module in training", module, "Call trainer.fit first.", "ERR_NOT_ATTACHED");
  }
  const { context } = precision;
  const device = context === null ? module.device : context.accelerator.device(context.deviceIndex);
  const training = [...module.modules()].map((m): [nn.Module, boolean] => [m, m.training]);
  module.train();
  try {
    return scope(() => {
      const converted = precision.convertsInput ? precision.convertInput(batch) : batch;
      const moved = mapTensors(converted, (tensor) => tensor.to(device));
      return observeStep({ module, precision, device, batch: moved, batchIdx: 0 }, { step: module.globalStep });
    });
  } finally {
    for (const [m, was] of training) m.training = was;
  }
}
