import { zerosLike, type Tensor } from "@nbit/torch";
import { safeDivide } from "./counts.js";
import { CURVE, clfCurve, columns, CurveOfTask, withFirst, type CurveOptions, type Points } from "./curve-metric.js";
import {
  plainReaders,
  type BinaryPlainCall,
  type MulticlassPlainCall,
  type MultilabelPlainCall,
  type TaskPlainCall,
} from "./plain-arguments.js";

const readers = plainReaders<CurveOptions>(CURVE);

/** False and true positive rates at thresholds that fall. */
export type RocCurve = readonly [fpr: Tensor, tpr: Tensor, thresholds: Tensor];

export function rocOf(points: Points): RocCurve {
  if (points.table !== null) {
    const { tps, fps, fns, tns } = columns(points.table);
    const rate = (part: Tensor, rest: Tensor): Tensor => safeDivide(part, part.add(rest)).flip([0]);
    return [rate(fps, tns), rate(tps, fns), points.thresholds.flip([0])];
  }
  const found = clfCurve(points.preds, points.target);
  const thresholds = withFirst(found.thresholds, 1);
  const rate = (counts: Tensor): Tensor => {
    const all = counts.narrow(0, counts.numel() - 1, 1);
    // A rate of nothing is 0.
    return all.item() === 0 ? zerosLike(thresholds) : counts.div(all);
  };
  return [rate(withFirst(found.fps, 0)), rate(withFirst(found.tps, 0)), thresholds];
}

/** `[fpr, tpr, thresholds]`; of several classes or labels a list of each, by class. */
abstract class ROCOfTask extends CurveOfTask<RocCurve> {
  protected override curveOf(points: Points): RocCurve {
    return rocOf(points);
  }
}
export class ROC extends ROCOfTask {
  constructor(...given: TaskPlainCall<CurveOptions>) {
    super(readers.ofTask(new.target.name, given));
  }
}
export class BinaryROC extends ROCOfTask {
  constructor(...given: BinaryPlainCall<CurveOptions>) {
    super(readers.binary(new.target.name, given));
  }
}
export class MulticlassROC extends ROCOfTask {
  constructor(...given: MulticlassPlainCall<CurveOptions>) {
    super(readers.multiclass(new.target.name, given));
  }
}
export class MultilabelROC extends ROCOfTask {
  constructor(...given: MultilabelPlainCall<CurveOptions>) {
    super(readers.multilabel(new.target.name, given));
  }
}
