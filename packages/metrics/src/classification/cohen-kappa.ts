import { abs, arange, ArgumentError, kinds, type OptionNames, type Tensor } from "@nbit/torch";
import { MatrixMetric } from "./matrix-metric.js";
import { plainReaders, type BinaryPlainCall, type MulticlassPlainCall, type TaskPlainCall } from "./plain-arguments.js";
import type { Setting } from "./task.js";

export interface KappaWeights {
  /** How far off a class counts: by distance, by its square, or (`"none"`, null) any error alike. Default null. */
  readonly weights?: "linear" | "quadratic" | "none" | null;
}
const WEIGHTS = {
  weights: kinds.byDefault(null, kinds.orNull(kinds.oneOf("linear", "quadratic", "none"))),
} satisfies OptionNames<KappaWeights>;
const readers = plainReaders<KappaWeights>(WEIGHTS);

/** Agreement beyond what chance gives: 1 is all, 0 as much as chance. Of binary tasks and of several classes. */
abstract class CohenKappaOfTask extends MatrixMetric<Setting & KappaWeights> {
  static override readonly higherIsBetter: boolean = true;
  protected constructor(setting: Setting & KappaWeights) {
    if (setting.task === "multilabel")
      throw new ArgumentError("CohenKappa", 'task to be "binary" or "multiclass"', setting.task);
    super(setting);
  }
  protected score(matrix: Tensor): Tensor {
    const { weights = null } = this.setting;
    const confmat = matrix.to("float32");
    const taken = confmat.sum([0], true);
    const expected = confmat.sum([1], true).matmul(taken).div(taken.sum());
    const classes = arange(confmat.shape[0] ?? 0, { dtype: "float32", device: confmat.device });
    const apart = abs(classes.unsqueeze(0).sub(classes.unsqueeze(1)));
    const cost = weights === "linear" ? apart : weights === "quadratic" ? apart.mul(apart) : apart.ne(0).to("float32");
    return cost.mul(confmat).sum().div(cost.mul(expected).sum()).neg().add(1);
  }
}
export class CohenKappa extends CohenKappaOfTask {
  constructor(...given: TaskPlainCall<KappaWeights>) {
    super(readers.ofTask(new.target.name, given));
  }
}
export class BinaryCohenKappa extends CohenKappaOfTask {
  constructor(...given: BinaryPlainCall<KappaWeights>) {
    super(readers.binary(new.target.name, given));
  }
}
export class MulticlassCohenKappa extends CohenKappaOfTask {
  constructor(...given: MulticlassPlainCall<KappaWeights>) {
    super(readers.multiclass(new.target.name, given));
  }
}
