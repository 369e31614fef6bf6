import type { Tensor } from "@nbit/torch";
import { CountMetric } from "./count-metric.js";
import { statScoresOf, type Counts } from "./counts.js";
import { readersOf, type BinaryCall, type MulticlassCall, type MultilabelCall, type TaskCall } from "./task.js";

const readers = readersOf();

/** tp, fp, tn, fn and how many targets each class has, in the last dimension. */
abstract class StatScoresOfTask extends CountMetric {
  protected score(counts: Counts): Tensor {
    return statScoresOf(counts, this.setting);
  }
}
export class StatScores extends StatScoresOfTask {
  constructor(...given: TaskCall) {
    super(readers.ofTask(new.target.name, given));
  }
}
export class BinaryStatScores extends StatScoresOfTask {
  constructor(...given: BinaryCall) {
    super(readers.binary(new.target.name, given));
  }
}
export class MulticlassStatScores extends StatScoresOfTask {
  constructor(...given: MulticlassCall) {
    super(readers.multiclass(new.target.name, given));
  }
}
export class MultilabelStatScores extends StatScoresOfTask {
  constructor(...given: MultilabelCall) {
    super(readers.multilabel(new.target.name, given));
  }
}
