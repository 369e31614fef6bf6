import { onesLike, tensor, where, type OptionNames, type Tensor } from "@nbit/torch";
import { safeDivide } from "./counts.js";
import { MatrixMetric } from "./matrix-metric.js";
import {
  plainReaders,
  type BinaryPlainCall,
  type MulticlassPlainCall,
  type MultilabelPlainCall,
  type TaskPlainCall,
} from "./plain-arguments.js";
import { KINDS, ZERO_DIVISION, type Average, type Setting, type ZeroDivision } from "./task.js";

export interface JaccardOptions extends ZeroDivision {
  /** Of several classes or labels. Default `"macro"`. */
  readonly average?: Average;
}
const JACCARD = { average: KINDS.average("macro"), ...ZERO_DIVISION } satisfies OptionNames<JaccardOptions>;
const readers = plainReaders<JaccardOptions>(JACCARD);

/** Intersection over union: what is of a class and taken for it, of what is either. */
abstract class JaccardIndexOfTask extends MatrixMetric<Setting & JaccardOptions> {
  static override readonly higherIsBetter: boolean = true;
  protected score(matrix: Tensor): Tensor {
    const { task, average, ignoreIndex, zeroDivision = 0 } = this.setting;
    const confmat = matrix.to("float32");
    const both = task === "multilabel" ? confmat.select(1, 1).select(1, 1) : confmat.diagonal();
    if (task === "binary") {
      const hit = both.select(0, 1);
      return safeDivide(hit, confmat.sum().sub(both.select(0, 0)), zeroDivision);
    }
    const targets = task === "multilabel" ? confmat.select(1, 1).sum(1) : confmat.sum(1);
    const taken = task === "multilabel" ? confmat.select(2, 1).sum(1) : confmat.sum(0);
    const either = targets.add(taken).sub(both);
    const ignored =
      ignoreIndex !== null && ignoreIndex >= 0 && ignoreIndex < (confmat.shape[0] ?? 0) ? ignoreIndex : null;
    if (average === "micro") {
      const left = ignored === null ? either.sum() : either.sum().sub(either.select(0, ignored));
      return safeDivide(both.sum(), left, zeroDivision);
    }
    const index = safeDivide(both, either, zeroDivision);
    if (average === null || average === "none") return index;
    let weights = targets;
    if (average !== "weighted") {
      weights = onesLike(index);
      if (ignored !== null)
        weights = weights.indexFill(0, tensor([ignored], { dtype: "int64", device: index.device }), 0);
      if (task === "multiclass") weights = where(targets.add(taken).eq(0), 0, weights);
    }
    return weights.mul(index).div(weights.sum()).sum();
  }
}
export class JaccardIndex extends JaccardIndexOfTask {
  constructor(...given: TaskPlainCall<JaccardOptions>) {
    super(readers.ofTask(new.target.name, given));
  }
}
export class BinaryJaccardIndex extends JaccardIndexOfTask {
  constructor(...given: BinaryPlainCall<JaccardOptions>) {
    super(readers.binary(new.target.name, given));
  }
}
export class MulticlassJaccardIndex extends JaccardIndexOfTask {
  constructor(...given: MulticlassPlainCall<JaccardOptions>) {
    super(readers.multiclass(new.target.name, given));
  }
}
export class MultilabelJaccardIndex extends JaccardIndexOfTask {
  constructor(...given: MultilabelPlainCall<JaccardOptions>) {
    super(readers.multilabel(new.target.name, given));
  }
}
