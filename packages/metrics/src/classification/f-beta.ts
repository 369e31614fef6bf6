import { kinds, type Call, type Tensor } from "@nbit/torch";
import { CountMetric } from "./count-metric.js";
import { averaged, safeDivide, summed, type Counts } from "./counts.js";
import {
  readersOf,
  ZERO_DIVISION,
  type Average,
  type BinaryArguments,
  type BinaryCall,
  type MulticlassArguments,
  type MulticlassCall,
  type MultidimAverage,
  type MultilabelArguments,
  type MultilabelCall,
  type Setting,
  type Task,
  type TaskArguments,
  type TaskCall,
  type ZeroDivision,
} from "./task.js";

export interface Beta {
  /** How many times as much recall counts as precision. */
  readonly beta: number;
}
const beta = kinds.real("(0, ∞)");
const readers = readersOf<ZeroDivision & Beta>(ZERO_DIVISION, { beta });
const taskReaders = readersOf<ZeroDivision & Beta>(ZERO_DIVISION, { beta: kinds.byDefault(1, beta) });
const oneReaders = readersOf<ZeroDivision>(ZERO_DIVISION);

type BetaBinaryCall = Call<
  BinaryArguments & ZeroDivision & Beta,
  ["beta", "threshold", "multidimAverage", "ignoreIndex"],
  [beta: number, threshold?: number, multidimAverage?: MultidimAverage, ignoreIndex?: number | null]
>;
type BetaMulticlassCall = Call<
  MulticlassArguments & ZeroDivision & Beta,
  ["beta", "numClasses", "topK", "average", "multidimAverage", "ignoreIndex"],
  [
    beta: number,
    numClasses: number,
    topK?: number,
    average?: Average,
    multidimAverage?: MultidimAverage,
    ignoreIndex?: number | null,
  ]
>;
type BetaMultilabelCall = Call<
  MultilabelArguments & ZeroDivision & Beta,
  ["beta", "numLabels", "threshold", "average", "multidimAverage", "ignoreIndex"],
  [
    beta: number,
    numLabels: number,
    threshold?: number,
    average?: Average,
    multidimAverage?: MultidimAverage,
    ignoreIndex?: number | null,
  ]
>;
type BetaTaskCall = Call<
  TaskArguments & ZeroDivision & Partial<Beta>,
  ["task", "beta", "threshold", "numClasses", "numLabels", "average"],
  [
    task: Task,
    beta?: number,
    threshold?: number,
    numClasses?: number | null,
    numLabels?: number | null,
    average?: Average,
  ]
>;

/** The harmonic mean of precision and recall, in which recall counts `beta` times as much. */
abstract class FBetaScoreOfTask extends CountMetric<Setting & ZeroDivision & Beta> {
  static override readonly higherIsBetter: boolean = true;
  protected score(counts: Counts): Tensor {
    const { tp, fp, fn } = summed(counts, this.setting);
    const squared = this.setting.beta ** 2;
    const weighted = tp.mul(1 + squared);
    const all = weighted.add(fn.mul(squared)).add(fp);
    return averaged(safeDivide(weighted, all, this.setting.zeroDivision), counts, this.setting);
  }
}
export class FBetaScore extends FBetaScoreOfTask {
  constructor(...given: BetaTaskCall) {
    super(taskReaders.ofTask(new.target.name, given));
  }
}
export class BinaryFBetaScore extends FBetaScoreOfTask {
  constructor(...given: BetaBinaryCall) {
    super(readers.binary(new.target.name, given));
  }
}
export class MulticlassFBetaScore extends FBetaScoreOfTask {
  constructor(...given: BetaMulticlassCall) {
    super(readers.multiclass(new.target.name, given));
  }
}
export class MultilabelFBetaScore extends FBetaScoreOfTask {
  constructor(...given: BetaMultilabelCall) {
    super(readers.multilabel(new.target.name, given));
  }
}

/** The harmonic mean of precision and recall. */
abstract class F1ScoreOfTask extends FBetaScoreOfTask {
  protected constructor(setting: Setting & ZeroDivision) {
    super({ ...setting, beta: 1 });
  }
}
export class F1Score extends F1ScoreOfTask {
  constructor(...given: TaskCall<ZeroDivision>) {
    super(oneReaders.ofTask(new.target.name, given));
  }
}
export class BinaryF1Score extends F1ScoreOfTask {
  constructor(...given: BinaryCall<ZeroDivision>) {
    super(oneReaders.binary(new.target.name, given));
  }
}
export class MulticlassF1Score extends F1ScoreOfTask {
  constructor(...given: MulticlassCall<ZeroDivision>) {
    super(oneReaders.multiclass(new.target.name, given));
  }
}
export class MultilabelF1Score extends F1ScoreOfTask {
  constructor(...given: MultilabelCall<ZeroDivision>) {
    super(oneReaders.multilabel(new.target.name, given));
  }
}
