/** Curves of precision over recall. */
import { ArgumentError } from "../../errors.js";
import { Message } from "../../io/protobuf.js";
import { floatTensor, metadataOf, summary } from "./summary.js";

/** Six rows of one number per threshold: true and false positives, true and false negatives, precision, recall. */
export type CurveRows = readonly [
  truePositives: ArrayLike<number>,
  falsePositives: ArrayLike<number>,
  trueNegatives: ArrayLike<number>,
  falseNegatives: ArrayLike<number>,
  precision: ArrayLike<number>,
  recall: ArrayLike<number>,
];

/** TensorBoard's own limit. */
export const MOST_THRESHOLDS = 127;

export function curveSummary(fn: string, tag: string, rows: CurveRows, thresholds: number): Message {
  const columns = rows[0].length;
  if (rows.some((row) => row.length !== columns || row.length === 0))
    throw new ArgumentError(
      fn,
      "six lists of one length, not empty",
      rows.map((row) => row.length),
    );
  const data = rows.flatMap((row) => Array.from(row));
  return summary([
    {
      tag,
      content: { tensor: floatTensor([rows.length, columns], data) },
      metadata: metadataOf("pr_curves", new Message().int(2, thresholds)),
    },
  ]);
}

/**
 * @param labels - 0 or 1. @param predictions - Probabilities, 0 … 1. @param weights - Of each; null: all count 1.
 */
export function curveOf(
  fn: string,
  labels: Float64Array,
  predictions: Float64Array,
  thresholds: number,
  weights: Float64Array | null,
): CurveRows {
  if (labels.length !== predictions.length || (weights !== null && ![1, labels.length].includes(weights.length)))
    throw new ArgumentError(fn, "as many predictions and weights as labels", [
      labels.length,
      predictions.length,
      weights?.length ?? null,
    ]);
  const [hits, misses] = [new Float64Array(thresholds), new Float64Array(thresholds)];
  predictions.forEach((prediction, i) => {
    const bucket = Math.floor(prediction * (thresholds - 1));
    if (!(bucket >= 0 && bucket < thresholds)) throw new ArgumentError(fn, "predictions in [0, 1]", prediction);
    const [label, weight] = [labels[i] as number, weights === null ? 1 : (weights[i % weights.length] as number)];
    hits[bucket] = (hits[bucket] as number) + label * weight;
    misses[bucket] = (misses[bucket] as number) + (1 - label) * weight;
  });
  const [tp, fp] = [fromAbove(hits), fromAbove(misses)];
  const tn = fp.map((n) => (fp[0] as number) - n);
  const fnegative = tp.map((n) => (tp[0] as number) - n);
  const share = (part: number, all: number): number => part / Math.max(1e-7, all);
  return [
    tp,
    fp,
    tn,
    fnegative,
    tp.map((n, i) => share(n, n + (fp[i] as number))),
    tp.map((n, i) => share(n, n + (fnegative[i] as number))),
  ];
}

/** Sums of what lies at a place or behind it. */
function fromAbove(values: Float64Array): Float64Array {
  const sums = Float64Array.from(values);
  for (let i = sums.length - 2; i >= 0; i--) sums[i] = (sums[i] as number) + (sums[i + 1] as number);
  return sums;
}
