import type { Tensor } from "@nbit/torch";
import { CountMetric } from "./count-metric.js";
import { averaged, hitRate, summed, type Counts } from "./counts.js";
import { readersOf, type BinaryCall, type MulticlassCall, type MultilabelCall, type TaskCall } from "./task.js";

const readers = readersOf();

/** What accuracy leaves: the share of labels that are not as they should be. */
abstract class HammingDistanceOfTask extends CountMetric {
  static override readonly higherIsBetter: boolean = false;
  protected score(counts: Counts): Tensor {
    const rate = hitRate(summed(counts, this.setting), this.setting);
    return averaged(rate.neg().add(1), counts, this.setting);
  }
}
export class HammingDistance extends HammingDistanceOfTask {
  constructor(...given: TaskCall) {
    super(readers.ofTask(new.target.name, given));
  }
}
export class BinaryHammingDistance extends HammingDistanceOfTask {
  constructor(...given: BinaryCall) {
    super(readers.binary(new.target.name, given));
  }
}
export class MulticlassHammingDistance extends HammingDistanceOfTask {
  constructor(...given: MulticlassCall) {
    super(readers.multiclass(new.target.name, given));
  }
}
export class MultilabelHammingDistance extends HammingDistanceOfTask {
  constructor(...given: MultilabelCall) {
    super(readers.multilabel(new.target.name, given));
  }
}
