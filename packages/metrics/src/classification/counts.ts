/** True and false positives and negatives, by class, and what numbers are made of them. */
import { onesLike, stack, where, zeros, type Tensor } from "@nbit/torch";
import type { Labels } from "./labels.js";
import type { Setting } from "./task.js";

/** int64; by class `[classes]`, or one; of samples with one more dimension in front. */
export interface Counts {
  readonly tp: Tensor;
  readonly fp: Tensor;
  readonly tn: Tensor;
  readonly fn: Tensor;
}

export function countsOf(labels: Labels, s: Setting): Counts {
  return s.task === "multiclass" ? classCounts(labels, s) : labelCounts(labels, s);
}

function labelCounts({ preds, target, valid }: Labels, s: Setting): Counts {
  const global = s.multidimAverage === "global";
  const dims = s.task === "multilabel" ? (global ? [0, 2] : [2]) : global ? [0, 1] : [1];
  const yes = preds.eq(1);
  const is = target.eq(1);
  const count = (what: Tensor): Tensor => what.logicalAnd(valid).sum(dims);
  return {
    tp: count(yes.logicalAnd(is)),
    fp: count(yes.logicalAnd(is.logicalNot())),
    tn: count(yes.logicalNot().logicalAnd(is.logicalNot())),
    fn: count(yes.logicalNot().logicalAnd(is)),
  };
}

/** One number of each where all classes count together, else one for each class: no table of classes by classes. */
function classCounts({ preds, target, valid }: Labels, s: Setting): Counts {
  const classes = s.numClasses ?? 0;
  const right = preds.eq(target).logicalAnd(valid);
  const row = (t: Tensor): Tensor => (s.multidimAverage === "global" ? t.squeeze(0) : t);
  const n = valid.sum(1);
  if (s.average === "micro") {
    const tp = right.sum(1);
    const missed = n.sub(tp);
    return { tp: row(tp), fp: row(missed), fn: row(missed), tn: row(n.mul(classes).sub(missed.mul(2)).sub(tp)) };
  }
  const inside = valid.logicalAnd(target.ge(0)).logicalAnd(target.lt(classes));
  const byClass = (labels: Tensor, which: Tensor): Tensor =>
    zeros([labels.shape[0] ?? 0, classes], { dtype: "int64", device: labels.device }).scatterAdd(
      1,
      where(which, labels, 0),
      which.to("int64"),
    );
  const tp = byClass(target, right);
  const fp = byClass(preds, inside).sub(tp);
  const fn = byClass(target, inside).sub(tp);
  const tn = n.unsqueeze(1).sub(tp).sub(fp).sub(fn);
  return { tp: row(tp), fp: row(fp), fn: row(fn), tn: row(tn) };
}

/** A quotient; where the denominator is 0, `zeroDivision`. Whole numbers become float32. */
export function safeDivide(numerator: Tensor, denominator: Tensor, zeroDivision = 0): Tensor {
  const a = numerator.isFloatingPoint() ? numerator : numerator.to("float32");
  const b = denominator.isFloatingPoint() ? denominator : denominator.to("float32");
  return where(b.ne(0), a.div(b), zeroDivision);
}

/** The share that is as it should be: of classes, of those that are there. */
export function hitRate({ tp, fp, tn, fn }: Counts, { task }: Setting): Tensor {
  if (task === "multiclass") return safeDivide(tp, tp.add(fn));
  return safeDivide(tp.add(tn), tp.add(tn).add(fp).add(fn));
}

/** All classes together, if that is asked for and they are not yet. */
export function summed({ tp, fp, tn, fn }: Counts, s: Setting): Counts {
  const classes = s.multidimAverage === "global" ? tp.ndim === 1 : tp.ndim === 2;
  if (s.average !== "micro" || s.task === "binary" || !classes) return { tp, fp, tn, fn };
  const sum = (t: Tensor): Tensor => t.sum(-1);
  return { tp: sum(tp), fp: sum(fp), tn: sum(tn), fn: sum(fn) };
}

/** Scores of classes as the setting averages them; of one score, that. */
export function averaged(score: Tensor, { tp, fp, fn }: Counts, s: Setting, topK = 1): Tensor {
  if (s.task === "binary" || s.average === "micro" || s.average === null || s.average === "none") return score;
  let weights: Tensor;
  if (s.average === "weighted") weights = tp.add(fn).to(score.dtype);
  else {
    weights = onesLike(score);
    // A class that nobody has seen says nothing.
    const seen = topK === 1 ? tp.add(fp).add(fn) : tp.add(fn);
    if (s.task === "multiclass") weights = where(seen.eq(0), 0, weights);
  }
  return safeDivide(weights.mul(score), weights.sum([-1], true)).sum(-1);
}

/** tp, fp, tn, fn and how often each class occurs, in the last dimension. */
export function statScoresOf({ tp, fp, tn, fn }: Counts, s: Setting): Tensor {
  const scores = stack([tp, fp, tn, fn, tp.add(fn)], -1);
  if (s.task === "binary" || s.average === null || s.average === "none") return scores;
  const byClass = scores.ndim === (s.multidimAverage === "global" ? 2 : 3);
  if (!byClass) return scores;
  const dim = scores.ndim - 2;
  if (s.average === "micro") return scores.sum(dim);
  if (s.average === "macro") return scores.to("float32").mean(dim);
  const weight = tp.add(fn).to("float32");
  const whole = s.task === "multilabel" ? weight.sum() : weight.sum([-1], true);
  return scores.mul(weight.div(whole).unsqueeze(-1)).sum(dim);
}
