import { kinds, where, type OptionNames, type Tensor } from "@nbit/torch";
import { MatrixMetric } from "./matrix-metric.js";
import {
  plainReaders,
  type BinaryPlainCall,
  type MulticlassPlainCall,
  type MultilabelPlainCall,
  type TaskPlainCall,
} from "./plain-arguments.js";
import type { Setting } from "./task.js";

export interface Normalization {
  /** Counts become shares: of what is a class (rows), of what is taken for it (columns), or of all. Default null: counts. */
  readonly normalize?: "true" | "pred" | "all" | "none" | null;
}
const NORMALIZE = {
  normalize: kinds.byDefault(null, kinds.orNull(kinds.oneOf("true", "pred", "all", "none"))),
} satisfies OptionNames<Normalization>;
const readers = plainReaders<Normalization>(NORMALIZE);

/** How often each class (rows) was taken for which (columns). A share of nothing is 0. */
abstract class ConfusionMatrixOfTask extends MatrixMetric<Setting & Normalization> {
  protected score(confmat: Tensor): Tensor {
    const { normalize = null } = this.setting;
    if (normalize === null || normalize === "none") return confmat.clone();
    const counts = confmat.to("float32");
    const dims = { true: [-1], pred: [-2], all: [-2, -1] }[normalize];
    const shares = counts.div(counts.sum(dims, true));
    return where(shares.isnan(), 0, shares);
  }
}
export class ConfusionMatrix extends ConfusionMatrixOfTask {
  constructor(...given: TaskPlainCall<Normalization>) {
    super(readers.ofTask(new.target.name, given));
  }
}
export class BinaryConfusionMatrix extends ConfusionMatrixOfTask {
  constructor(...given: BinaryPlainCall<Normalization>) {
    super(readers.binary(new.target.name, given));
  }
}
export class MulticlassConfusionMatrix extends ConfusionMatrixOfTask {
  constructor(...given: MulticlassPlainCall<Normalization>) {
    super(readers.multiclass(new.target.name, given));
  }
}
export class MultilabelConfusionMatrix extends ConfusionMatrixOfTask {
  constructor(...given: MultilabelPlainCall<Normalization>) {
    super(readers.multilabel(new.target.name, given));
  }
}
