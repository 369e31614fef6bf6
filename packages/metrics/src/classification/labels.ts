/**
 * Predictions and targets as labels in a form of their own: the same numbers of rows, a mask of what counts, and no
 * indexing by masks, which would wait for a GPU.
 */
import { ArgumentError, isFloatingPoint, onesLike, sigmoid, softmax, type Tensor, topk, where } from "@nbit/torch";
import { checkSameShape, checkTensors } from "../errors.js";
import type { Setting } from "./task.js";

/** Labels of a batch. */
export interface Labels {
  /** int64: classes, `[rows, n]`; of labels 0 and 1, `[rows, labels, n]` or, of binary tasks, `[rows, n]`. */
  readonly preds: Tensor;
  readonly target: Tensor;
  /** bool, of the same shape. */
  readonly valid: Tensor;
  /** How many targets are neither left out nor classes: int64, no dimensions. */
  readonly wrong: Tensor;
}

/** Scores outside of [0, 1] among those that count make all of them logits. */
export function asProbabilities(preds: Tensor, kind: "sigmoid" | "softmax", valid: Tensor | null = null): Tensor {
  const outside = preds.lt(0).logicalOr(preds.gt(1));
  const any = (valid === null ? outside : outside.logicalAnd(valid)).any();
  return where(any, kind === "sigmoid" ? sigmoid(preds) : softmax(preds, 1), preds);
}

export function isScore(preds: Tensor): boolean {
  return isFloatingPoint(preds.dtype);
}

/** What counts: everything but the targets of `ignoreIndex`. */
export function validOf(target: Tensor, ignoreIndex: number | null): Tensor {
  return ignoreIndex === null ? onesLike(target, { dtype: "bool" }) : target.ne(ignoreIndex);
}

function checkTarget(fn: string, target: Tensor): void {
  if (isFloatingPoint(target.dtype))
    throw new ArgumentError(fn, "target of whole numbers or booleans", target, 'Write target.to("int64").');
}

/** 0 and 1 where predictions and targets are; of binary and multilabel tasks. */
function thresholded(fn: string, preds: Tensor, target: Tensor, s: Setting): Labels {
  checkSameShape(fn, preds, target);
  checkTarget(fn, target);
  const valid = validOf(target, s.ignoreIndex);
  const labels = isScore(preds) ? asProbabilities(preds, "sigmoid").gt(s.threshold) : preds;
  const own = target.to("int64");
  const wrong = valid.logicalAnd(own.ne(0)).logicalAnd(own.ne(1)).sum();
  return checked(fn, { preds: labels.to("int64"), target: own, valid, wrong }, "0 and 1", s);
}

export function binaryLabels(fn: string, preds: Tensor, target: Tensor, s: Setting): Labels {
  const { preds: p, target: t, valid, wrong } = thresholded(fn, preds, target, s);
  const rows = (x: Tensor): Tensor => rowsOf(x, s);
  return { preds: rows(p), target: rows(t), valid: rows(valid), wrong };
}

export function multilabelLabels(fn: string, preds: Tensor, target: Tensor, s: Setting): Labels {
  const labels = s.numLabels ?? 0;
  if (preds.ndim < 2 || preds.shape[1] !== labels)
    throw new ArgumentError(fn, `preds of the shape [n, ${labels}, …]: numLabels is ${labels}`, preds);
  const { preds: p, target: t, valid, wrong } = thresholded(fn, preds, target, s);
  const rows = (x: Tensor): Tensor => x.reshape([x.shape[0] ?? 0, labels, -1]);
  return { preds: rows(p), target: rows(t), valid: rows(valid), wrong };
}

/** Classes; of scores `[n, classes, …]` the greatest, or the target's where it is among the `topK` greatest. */
export function multiclassLabels(fn: string, preds: Tensor, target: Tensor, s: Setting): Labels {
  const classes = s.numClasses ?? 0;
  checkTarget(fn, target);
  const own = target.to("int64");
  let labels = preds;
  if (preds.ndim === target.ndim + 1) {
    if (preds.shape[1] !== classes || !isScore(preds))
      throw new ArgumentError(fn, `preds to be scores of ${classes} classes, [n, ${classes}, …]`, preds);
    if (s.topK === 1) labels = preds.argmax(1);
    else {
      const best = topk(preds, s.topK, 1).indices;
      const found = best.eq(own.unsqueeze(1)).any(1);
      labels = where(found, own, best.select(1, 0));
    }
  } else if (s.topK !== 1) throw new ArgumentError(fn, "preds to be scores of every class, since topK is not 1", preds);
  checkSameShape(fn, labels, own);
  const valid = validOf(own, s.ignoreIndex);
  const wrong = valid.logicalAnd(own.lt(0).logicalOr(own.ge(classes))).sum();
  const rows = (x: Tensor): Tensor => rowsOf(x, s);
  const formatted = { preds: rows(labels.to("int64")), target: rows(own), valid: rows(valid), wrong };
  return checked(fn, formatted, `classes from 0 to ${classes - 1}`, s);
}

/** A row for each sample, or one for all. */
function rowsOf(x: Tensor, { multidimAverage }: Setting): Tensor {
  return multidimAverage === "samplewise" ? x.reshape([x.shape[0] ?? 0, -1]) : x.reshape([1, -1]);
}

/** On the CPU at once, with the line that called; elsewhere when the metric is computed. */
function checked(fn: string, labels: Labels, expected: string, s: Setting): Labels {
  if (labels.wrong.device.type === "cpu") checkWrong(fn, labels.wrong, expected, s);
  return labels;
}

/** @throws {ArgumentError} where targets were found that no class is. Waits for the device. */
export function checkWrong(fn: string, wrong: Tensor, expected: string, { ignoreIndex }: Setting): void {
  const count = Number(wrong.item());
  if (count === 0) return;
  throw new ArgumentError(
    fn,
    `targets to be ${expected}${ignoreIndex === null ? "" : `, or ignoreIndex, ${ignoreIndex}`}`,
    `${count} others`,
    ignoreIndex === null ? "ignoreIndex leaves out those of one value." : undefined,
    "ERR_METRIC_TARGET",
  );
}

/** What targets may be, for messages. */
export function expectedTargets({ task, numClasses }: Setting): string {
  return task === "multiclass" ? `classes from 0 to ${(numClasses ?? 1) - 1}` : "0 and 1";
}

export function labelsOf(fn: string, preds: Tensor, target: Tensor, s: Setting): Labels {
  checkTensors(fn, { preds, target });
  const read = { binary: binaryLabels, multiclass: multiclassLabels, multilabel: multilabelLabels }[s.task];
  return read(fn, preds, target, s);
}
