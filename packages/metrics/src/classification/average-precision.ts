import { stack, where, type OptionNames, type Tensor } from "@nbit/torch";
import { averageOfCurves } from "./curve-average.js";
import { CURVE, CurveMetric, type CurveOptions, type CurveSetting, type Points } from "./curve-metric.js";
import {
  plainReaders,
  type BinaryPlainCall,
  type MulticlassPlainCall,
  type MultilabelPlainCall,
  type TaskPlainCall,
} from "./plain-arguments.js";
import { precisionRecallOf } from "./precision-recall-curve.js";
import { KINDS, type Average } from "./task.js";

export interface AveragePrecisionOptions extends CurveOptions {
  /** Of several classes or labels. Default `"macro"`. */
  readonly average?: Average;
}
const OPTIONS = { ...CURVE, average: KINDS.average("macro") } satisfies OptionNames<AveragePrecisionOptions>;
const readers = plainReaders<AveragePrecisionOptions>(OPTIONS);

/** Precisions, each weighted by how much recall it adds. Of nothing, where a table says nothing, it is 0. */
function areaOf(points: Points): Tensor {
  const [precision, recall] = precisionRecallOf(points);
  const known = (t: Tensor): Tensor => (points.table === null ? t : where(t.isnan(), 0, t));
  const n = recall.numel() - 1;
  const steps = known(recall)
    .narrow(0, 1, n)
    .sub(known(recall).narrow(0, 0, n));
  return steps
    .mul(known(precision).narrow(0, 0, n))
    .sum()
    .neg();
}

/** The area under the precision–recall curve, as steps. */
abstract class AveragePrecisionOfTask extends CurveMetric<CurveSetting & AveragePrecisionOptions> {
  static override readonly higherIsBetter: boolean = true;
  compute(): Tensor {
    const { task, average } = this.setting;
    if (task === "binary" || (task === "multilabel" && average === "micro")) return areaOf(this.together);
    const areas = stack(Array.from({ length: this.curves }, (_, i) => areaOf(this.pointsOf(i))));
    return averageOfCurves(areas, average, () => this.occurrences);
  }
}
export class AveragePrecision extends AveragePrecisionOfTask {
  constructor(...given: TaskPlainCall<AveragePrecisionOptions>) {
    super(readers.ofTask(new.target.name, given));
  }
}
export class BinaryAveragePrecision extends AveragePrecisionOfTask {
  constructor(...given: BinaryPlainCall<AveragePrecisionOptions>) {
    super(readers.binary(new.target.name, given));
  }
}
export class MulticlassAveragePrecision extends AveragePrecisionOfTask {
  constructor(...given: MulticlassPlainCall<AveragePrecisionOptions>) {
    super(readers.multiclass(new.target.name, given));
  }
}
export class MultilabelAveragePrecision extends AveragePrecisionOfTask {
  constructor(...given: MultilabelPlainCall<AveragePrecisionOptions>) {
    super(readers.multilabel(new.target.name, given));
  }
}
