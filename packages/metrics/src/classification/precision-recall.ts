import type { Tensor } from "@nbit/torch";
import { CountMetric } from "./count-metric.js";
import { averaged, safeDivide, summed, type Counts } from "./counts.js";
import {
  readersOf,
  ZERO_DIVISION,
  type Setting,
  type BinaryCall,
  type MulticlassCall,
  type MultilabelCall,
  type TaskCall,
  type ZeroDivision,
} from "./task.js";

const readers = readersOf<ZeroDivision>(ZERO_DIVISION);

/** Of what is taken for a class, the share that is of it. */
abstract class PrecisionOfTask extends CountMetric<Setting & ZeroDivision> {
  static override readonly higherIsBetter: boolean = true;
  protected score(counts: Counts): Tensor {
    const { tp, fp } = summed(counts, this.setting);
    const score = safeDivide(tp, tp.add(fp), this.setting.zeroDivision);
    return averaged(score, counts, this.setting, this.setting.topK);
  }
}
export class Precision extends PrecisionOfTask {
  constructor(...given: TaskCall<ZeroDivision>) {
    super(readers.ofTask(new.target.name, given));
  }
}
export class BinaryPrecision extends PrecisionOfTask {
  constructor(...given: BinaryCall<ZeroDivision>) {
    super(readers.binary(new.target.name, given));
  }
}
export class MulticlassPrecision extends PrecisionOfTask {
  constructor(...given: MulticlassCall<ZeroDivision>) {
    super(readers.multiclass(new.target.name, given));
  }
}
export class MultilabelPrecision extends PrecisionOfTask {
  constructor(...given: MultilabelCall<ZeroDivision>) {
    super(readers.multilabel(new.target.name, given));
  }
}

/** Of what is of a class, the share that is taken for it. */
abstract class RecallOfTask extends CountMetric<Setting & ZeroDivision> {
  static override readonly higherIsBetter: boolean = true;
  protected score(counts: Counts): Tensor {
    const { tp, fn } = summed(counts, this.setting);
    const score = safeDivide(tp, tp.add(fn), this.setting.zeroDivision);
    return averaged(score, counts, this.setting, this.setting.topK);
  }
}
export class Recall extends RecallOfTask {
  constructor(...given: TaskCall<ZeroDivision>) {
    super(readers.ofTask(new.target.name, given));
  }
}
export class BinaryRecall extends RecallOfTask {
  constructor(...given: BinaryCall<ZeroDivision>) {
    super(readers.binary(new.target.name, given));
  }
}
export class MulticlassRecall extends RecallOfTask {
  constructor(...given: MulticlassCall<ZeroDivision>) {
    super(readers.multiclass(new.target.name, given));
  }
}
export class MultilabelRecall extends RecallOfTask {
  constructor(...given: MultilabelCall<ZeroDivision>) {
    super(readers.multilabel(new.target.name, given));
  }
}
