import { atMost, checkArguments, kinds } from "@nbit/torch/options";
import { RUN } from "./records.js";
import type { Metrics, Run } from "./records.js";

/** The few numbers by which runs are compared. */
export interface Figures {
  /** Mean over epochs; null when no epoch ended. Training batches only. */
  readonly secondsPerEpoch: number | null;
  readonly samplesPerSecond: number | null;
  /** Samples per second as a multiple of the baseline's; null without one. */
  readonly speed: number | null;
  /**
   * The most bytes that tensors held above what was there before the run: parameters, gradients, optimizer state,
   * activations, batches.
   */
  readonly peakMemory: number | null;
  /** In 0…1: from the last test run, otherwise from the last validation. */
  readonly accuracy: number | null;
  readonly accuracyFrom: "test" | "validate" | null;
  readonly skippedSteps: number;
}

/** The run that others are compared with: the first in full float32, otherwise the first. */
export function baselineOf(runs: readonly Run[]): Run | undefined {
  atMost("baselineOf", arguments, 1);
  checkArguments("baselineOf", { runs }, { runs: kinds.listOf(RUN) });
  return runs.find((run) => run.precision === "32-true") ?? runs[0];
}

export function figuresOf(run: Run, baseline: Run | undefined): Figures {
  atMost("figuresOf", arguments, 2);
  checkArguments(
    "figuresOf",
    { run, baseline },
    {
      run: RUN,
      baseline: kinds.either(
        RUN,
        kinds.such<undefined>("undefined", (v) => v === undefined),
      ),
    },
  );
  const seconds = run.epochs.reduce((sum, e) => sum + e.trainingSeconds, 0);
  const rate = rateOf(run);
  const baseRate = baseline === undefined ? null : rateOf(baseline);
  const peak =
    Math.max(run.end?.memory.peakTensors ?? 0, ...run.epochs.map((e) => e.memory.peakTensors)) - run.tensorsBefore;
  const test = accuracyOf(run, "test");
  const validate = accuracyOf(run, "validate");
  return {
    secondsPerEpoch: run.epochs.length === 0 ? null : seconds / run.epochs.length,
    samplesPerSecond: rate,
    speed: rate === null || baseRate === null ? null : rate / baseRate,
    peakMemory: peak > 0 ? peak : null,
    accuracy: test ?? validate,
    accuracyFrom: test !== null ? "test" : validate !== null ? "validate" : null,
    skippedSteps: run.end?.skippedSteps ?? run.skips.length,
  };
}

function rateOf(run: Run): number | null {
  const seconds = run.epochs.reduce((sum, e) => sum + e.trainingSeconds, 0);
  const samples = run.epochs.reduce((sum, e) => sum + e.samples, 0);
  return seconds > 0 && samples > 0 ? samples / seconds : null;
}

function accuracyOf(run: Run, stage: "test" | "validate"): number | null {
  const last = run.evaluations.filter((e) => e.stage === stage).at(-1);
  return last === undefined ? null : findAccuracy(last.metrics);
}

/** The metric named accuracy or acc, with whatever stands before or after: `val_acc`, `test/accuracy`, `acc_top1`. */
function findAccuracy(metrics: Metrics): number | null {
  for (const [name, value] of Object.entries(metrics)) if (isAccuracy(name)) return value;
  return null;
}

/** Whether a metric is a score, at most one and best there, by its name. */
export function isScore(name: string): boolean {
  return (
    isAccuracy(name) ||
    /(^|[^a-z])(au(roc|c|prc?)|f1|f_?beta|precision|recall|specificity|sensitivity|m?iou|jaccard|dice|r2|mcc|kappa|mean_?average_?precision|m?ap|bleu|rouge[a-z0-9]*|ssim|top_?[0-9]+|hit_?rate|ndcg|mrr)([^a-z]|$)/i.test(
      name,
    )
  );
}

/** Whether a metric is one that training brings down towards 0, by its name. */
export function isLoss(name: string): boolean {
  return (
    !isScore(name) && /loss|nll|cross_?entropy|perplexity|(^|[^a-z])(mse|mae|rmse|elbo|kld?|bce)([^a-z]|$)/i.test(name)
  );
}

export function isAccuracy(name: string): boolean {
  return /(^|[^a-z])acc(uracy)?([^a-z]|$)/i.test(name);
}
