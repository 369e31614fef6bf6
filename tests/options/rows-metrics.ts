/** How to call the metrics: what they are made with before their options, and functions with a batch in front of that. */
import * as metrics from "@nbit/metrics";
import { ones, tensor } from "@nbit/torch";

interface Row {
  readonly args: readonly unknown[];
}

const TASKS = [
  ["Binary", []],
  ["Multiclass", [3]],
  ["Multilabel", [3]],
  ["", ["binary"]],
] as const;
const OF_TASKS =
  "AUROC Accuracy AveragePrecision CalibrationError CohenKappa ConfusionMatrix F1Score FBetaScore HammingDistance JaccardIndex " +
  "MatthewsCorrCoef Precision PrecisionRecallCurve ROC Recall Specificity StatScores";
const PLAIN =
  "BLEUScore CatMetric CharErrorRate CosineSimilarity ExplainedVariance KLDivergence MaxMetric MeanAbsoluteError MeanAbsolutePercentageError " +
  "MeanMetric MeanSquaredError MinMetric PearsonCorrCoef Perplexity R2Score RunningMean RunningSum SpearmanCorrCoef SumMetric WordErrorRate";
/** Whose names the functions spell otherwise. */
const SPELT: Readonly<Record<string, string>> = { CorrCoef: "Corrcoef", FBetaScore: "FbetaScore" };

function functionOf(name: string): string {
  const spelt = Object.entries(SPELT).reduce((text, [from, to]) => text.replace(from, to), name);
  return spelt.replace(/^(?:AUROC|ROC|KL|BLEU|[A-Z])/, (head) => head.toLowerCase());
}

const made = new Map<string, readonly unknown[]>();
for (const name of OF_TASKS.split(" "))
  for (const [task, args] of TASKS) {
    const beta = name === "FBetaScore" && task !== "" ? [1] : [];
    if (Object.hasOwn(metrics, task + name)) made.set(task + name, [...beta, ...args]);
  }
for (const name of PLAIN.split(" ")) made.set(name, []);

const batch = [ones([2]), tensor([0, 1], { dtype: "int64" })];
export const METRICS: Readonly<Record<string, () => Row>> = Object.fromEntries(
  [...made].flatMap(([name, args]) => {
    const rows: [string, () => Row][] = [[`metrics.${name}`, () => ({ args })]];
    const fn = functionOf(name);
    if (Object.hasOwn(metrics.functional, fn))
      rows.push([`metrics.functional.${fn}`, () => ({ args: [...batch, ...args] })]);
    return rows;
  }),
);

/** Without options. */
export const PLAIN_METRICS: Readonly<Record<string, string>> = {
  "metrics.": "MetricTracker dimZeroCat",
  "metrics.Metric#": "addState persistent reset sync unsync",
  "metrics.MetricCollection#": "addMetrics reset persistent clone",
  "metrics.MetricTracker#": "increment computeAll bestMetric reset resetAll",
  ...Object.fromEntries(
    "BLEUScore CatMetric CosineSimilarity ExplainedVariance KLDivergence MaxMetric MeanMetric MinMetric PearsonCorrCoef Perplexity R2Score SpearmanCorrCoef SumMetric"
      .split(" ")
      .map((name) => [`metrics.${name}#`, "update"]),
  ),
};
