import type { Tensor } from "@nbit/torch";
import { CountMetric } from "./count-metric.js";
import { averaged, hitRate, summed, type Counts } from "./counts.js";
import { readersOf, type BinaryCall, type MulticlassCall, type MultilabelCall, type TaskCall } from "./task.js";

const readers = readersOf();

/** The share of targets that are found; of labels, of those that are as they should be. */
abstract class AccuracyOfTask extends CountMetric {
  static override readonly higherIsBetter: boolean = true;
  protected score(counts: Counts): Tensor {
    const rate = hitRate(summed(counts, this.setting), this.setting);
    return averaged(rate, counts, this.setting, this.setting.topK);
  }
}
export class Accuracy extends AccuracyOfTask {
  constructor(...given: TaskCall) {
    super(readers.ofTask(new.target.name, given));
  }
}
export class BinaryAccuracy extends AccuracyOfTask {
  constructor(...given: BinaryCall) {
    super(readers.binary(new.target.name, given));
  }
}
export class MulticlassAccuracy extends AccuracyOfTask {
  constructor(...given: MulticlassCall) {
    super(readers.multiclass(new.target.name, given));
  }
}
export class MultilabelAccuracy extends AccuracyOfTask {
  constructor(...given: MultilabelCall) {
    super(readers.multilabel(new.target.name, given));
  }
}
