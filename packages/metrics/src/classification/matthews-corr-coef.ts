import { finfo, tensor, trace, type Tensor } from "@nbit/torch";
import { MatrixMetric } from "./matrix-metric.js";
import {
  plainReaders,
  type BinaryPlainCall,
  type MulticlassPlainCall,
  type MultilabelPlainCall,
  type TaskPlainCall,
} from "./plain-arguments.js";

const readers = plainReaders({});

/** The correlation of what is and what it is taken for, from -1 to 1. Computing waits for the device. */
abstract class MatthewsCorrCoefOfTask extends MatrixMetric {
  static override readonly higherIsBetter: boolean = true;
  protected score(matrix: Tensor): Tensor {
    const confmat = this.setting.task === "multilabel" ? matrix.sum(0) : matrix;
    const two = confmat.numel() === 4;
    const [tn = 0, fp = 0, fn = 0, tp = 0] = two ? (confmat.flatten().to("float64").tolist() as number[]) : [];
    const number = (value: number): Tensor => tensor(value, { device: confmat.device });
    if (two && tp + tn !== 0 && fp + fn === 0) return number(1);
    if (two && tp + tn === 0 && fp + fn !== 0) return number(-1);
    const counts = confmat.to("float32");
    const targets = counts.sum(-1);
    const taken = counts.sum(-2);
    const all = counts.sum();
    const covariance = trace(counts).mul(all).sub(targets.mul(taken).sum());
    const spread = (sums: Tensor): Tensor => all.mul(all).sub(sums.mul(sums).sum());
    const denominator = spread(taken).mul(spread(targets));
    if (denominator.item() !== 0) return covariance.div(denominator.sqrt());
    return number(two ? degenerate(tn, fp, fn, tp) : 0);
  }
}

/** The limit where a row or column of the table is empty. */
function degenerate(tn: number, fp: number, fn: number, tp: number): number {
  const eps = finfo("float32").eps;
  const small = Math.sqrt(eps);
  let numerator: number;
  if (fn === 0 && tn === 0) numerator = small * (tp - fp);
  else if (fp === 0 && tn === 0) numerator = small * (tp - fn);
  else if (tp === 0 && fn === 0) numerator = small * (tn - fp);
  else if (tp === 0 && fp === 0) numerator = small * (tn - fn);
  else return 0;
  return numerator / Math.sqrt((tp + fp + eps) * (tp + fn + eps) * (tn + fp + eps) * (tn + fn + eps));
}
export class MatthewsCorrCoef extends MatthewsCorrCoefOfTask {
  constructor(...given: TaskPlainCall) {
    super(readers.ofTask(new.target.name, given));
  }
}
export class BinaryMatthewsCorrCoef extends MatthewsCorrCoefOfTask {
  constructor(...given: BinaryPlainCall) {
    super(readers.binary(new.target.name, given));
  }
}
export class MulticlassMatthewsCorrCoef extends MatthewsCorrCoefOfTask {
  constructor(...given: MulticlassPlainCall) {
    super(readers.multiclass(new.target.name, given));
  }
}
export class MultilabelMatthewsCorrCoef extends MatthewsCorrCoefOfTask {
  constructor(...given: MultilabelPlainCall) {
    super(readers.multilabel(new.target.name, given));
  }
}
