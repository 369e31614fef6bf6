import { onesLike, type Tensor } from "@nbit/torch";
import { CURVE, clfCurve, columns, CurveOfTask, withLast, type CurveOptions, type Points } from "./curve-metric.js";
import {
  plainReaders,
  type BinaryPlainCall,
  type MulticlassPlainCall,
  type MultilabelPlainCall,
  type TaskPlainCall,
} from "./plain-arguments.js";

const readers = plainReaders<CurveOptions>(CURVE);

/** Precision and recall at thresholds that rise; one element more than thresholds, for which nothing is taken for it. */
export type Curve = readonly [precision: Tensor, recall: Tensor, thresholds: Tensor];

export function precisionRecallOf(points: Points): Curve {
  if (points.table !== null) {
    const { tps, fps, fns } = columns(points.table);
    const share = (rest: Tensor): Tensor => tps.to("float32").div(tps.add(rest).to("float32"));
    return [withLast(share(fps), 1), withLast(share(fns), 0), points.thresholds];
  }
  const { fps, tps, thresholds } = clfCurve(points.preds, points.target);
  const precision = tps.div(tps.add(fps));
  const all = tps.narrow(0, tps.numel() - 1, 1);
  // Of nothing, all is found; of one class among several, it cannot be said.
  const recall = Number(points.labels.eq(0).all().item()) !== 0 ? onesLike(precision) : tps.div(all);
  return [withLast(precision.flip([0]), 1), withLast(recall.flip([0]), 0), thresholds.flip([0])];
}

/** `[precision, recall, thresholds]`; of several classes or labels a list of each, by class. */
abstract class PrecisionRecallCurveOfTask extends CurveOfTask<Curve> {
  protected override curveOf(points: Points): Curve {
    return precisionRecallOf(points);
  }
}
export class PrecisionRecallCurve extends PrecisionRecallCurveOfTask {
  constructor(...given: TaskPlainCall<CurveOptions>) {
    super(readers.ofTask(new.target.name, given));
  }
}
export class BinaryPrecisionRecallCurve extends PrecisionRecallCurveOfTask {
  constructor(...given: BinaryPlainCall<CurveOptions>) {
    super(readers.binary(new.target.name, given));
  }
}
export class MulticlassPrecisionRecallCurve extends PrecisionRecallCurveOfTask {
  constructor(...given: MulticlassPlainCall<CurveOptions>) {
    super(readers.multiclass(new.target.name, given));
  }
}
export class MultilabelPrecisionRecallCurve extends PrecisionRecallCurveOfTask {
  constructor(...given: MultilabelPlainCall<CurveOptions>) {
    super(readers.multilabel(new.target.name, given));
  }
}
