import { bucketize, cat, kinds, lerp, stack, tensor, trapz, type OptionNames, type Tensor } from "@nbit/torch";
import { averageOfCurves } from "./curve-average.js";
import { CURVE, CurveMetric, type CurveOptions, type CurveSetting, type Points } from "./curve-metric.js";
import {
  plainReaders,
  type BinaryPlainCall,
  type MulticlassPlainCall,
  type MultilabelPlainCall,
  type TaskPlainCall,
} from "./plain-arguments.js";
import { rocOf } from "./roc.js";
import { KINDS, type Average } from "./task.js";

export interface AurocOptions extends CurveOptions {
  /** Of several classes or labels. Default `"macro"`: classes of which there is nothing are left out. */
  readonly average?: Average;
  /** Of binary tasks: the area up to this false positive rate, scaled so that chance is 0.5. Default null: all. */
  readonly maxFpr?: number | null;
}
const AUROC_OPTIONS = {
  ...CURVE,
  average: KINDS.average("macro"),
  maxFpr: kinds.byDefault(null, kinds.orNull(kinds.real("(0, 1]"))),
} satisfies OptionNames<AurocOptions>;
const readers = plainReaders<AurocOptions>(AUROC_OPTIONS);

/** The area under a curve, or under its beginning. */
function areaOf(points: Points, maxFpr: number | null): Tensor {
  const [fpr, tpr] = rocOf(points);
  const nothing = (t: Tensor): boolean => t.sum().item() === 0;
  if (maxFpr === null || maxFpr === 1 || nothing(fpr) || nothing(tpr)) return trapz(tpr, fpr);
  const end = tensor(maxFpr, { device: fpr.device });
  const stop = Number(bucketize(end, fpr, { right: true }).item());
  const [left, right] = [fpr.select(0, stop - 1), fpr.select(0, stop)];
  const height = lerp(tpr.select(0, stop - 1), tpr.select(0, stop), end.sub(left).div(right.sub(left)));
  const upTo = (t: Tensor, last: Tensor): Tensor => catLast(t.narrow(0, 0, stop), last);
  const area = trapz(upTo(tpr, height), upTo(fpr, end));
  const least = 0.5 * maxFpr ** 2;
  return area
    .sub(least)
    .div(maxFpr - least)
    .add(1)
    .mul(0.5);
}
function catLast(t: Tensor, last: Tensor): Tensor {
  return cat([t, last.reshape([1])]);
}

/** The area under the ROC curve: how probably a positive is scored above a negative. */
abstract class AUROCOfTask extends CurveMetric<CurveSetting & AurocOptions> {
  static override readonly higherIsBetter: boolean = true;
  compute(): Tensor {
    const { task, average, maxFpr = null } = this.setting;
    if (task === "binary" || (task === "multilabel" && average === "micro"))
      return areaOf(this.together, task === "binary" ? maxFpr : null);
    const areas = stack(Array.from({ length: this.curves }, (_, i) => areaOf(this.pointsOf(i), null)));
    return averageOfCurves(areas, average, () => this.occurrences);
  }
}
export class AUROC extends AUROCOfTask {
  constructor(...given: TaskPlainCall<AurocOptions>) {
    super(readers.ofTask(new.target.name, given));
  }
}
export class BinaryAUROC extends AUROCOfTask {
  constructor(...given: BinaryPlainCall<AurocOptions>) {
    super(readers.binary(new.target.name, given));
  }
}
export class MulticlassAUROC extends AUROCOfTask {
  constructor(...given: MulticlassPlainCall<AurocOptions>) {
    super(readers.multiclass(new.target.name, given));
  }
}
export class MultilabelAUROC extends AUROCOfTask {
  constructor(...given: MultilabelPlainCall<AurocOptions>) {
    super(readers.multilabel(new.target.name, given));
  }
}
