import type { Tensor } from "@nbit/torch";
import { CountMetric } from "./count-metric.js";
import { averaged, safeDivide, summed, type Counts } from "./counts.js";
import { readersOf, type BinaryCall, type MulticlassCall, type MultilabelCall, type TaskCall } from "./task.js";

const readers = readersOf();

/** Of what is not of a class, the share that is not taken for it. */
abstract class SpecificityOfTask extends CountMetric {
  static override readonly higherIsBetter: boolean = true;
  protected score(counts: Counts): Tensor {
    const { tn, fp } = summed(counts, this.setting);
    return averaged(safeDivide(tn, tn.add(fp)), counts, this.setting);
  }
}
export class Specificity extends SpecificityOfTask {
  constructor(...given: TaskCall) {
    super(readers.ofTask(new.target.name, given));
  }
}
export class BinarySpecificity extends SpecificityOfTask {
  constructor(...given: BinaryCall) {
    super(readers.binary(new.target.name, given));
  }
}
export class MulticlassSpecificity extends SpecificityOfTask {
  constructor(...given: MulticlassCall) {
    super(readers.multiclass(new.target.name, given));
  }
}
export class MultilabelSpecificity extends SpecificityOfTask {
  constructor(...given: MultilabelCall) {
    super(readers.multilabel(new.target.name, given));
  }
}
