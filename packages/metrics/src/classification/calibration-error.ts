import {
  atMost,
  ArgumentError,
  bucketize,
  isFloatingPoint,
  kinds,
  linspace,
  nanToNum,
  zeros,
  type OptionNames,
  type Tensor,
} from "@nbit/torch";
import { checkSameShape, checkTensors } from "../errors.js";
import { Metric, optionsOf } from "../metric.js";
import { dimZeroCat } from "../states.js";
import { asProbabilities, validOf } from "./labels.js";
import { plainReaders, type BinaryPlainCall, type MulticlassPlainCall, type TaskPlainCall } from "./plain-arguments.js";
import type { Setting } from "./task.js";

export interface CalibrationOptions {
  /** Confidences are put in so many bins of equal width. Default 15. */
  readonly nBins?: number;
  /** Errors of bins as one: their weighted mean, its square root of squares, or the greatest. Default `"l1"`. */
  readonly norm?: "l1" | "l2" | "max";
}
const OPTIONS = {
  nBins: kinds.byDefault(15, kinds.whole("[1, ∞)")),
  norm: kinds.byDefault("l1", kinds.oneOf("l1", "l2", "max")),
} satisfies OptionNames<CalibrationOptions>;
const readers = plainReaders<CalibrationOptions>(OPTIONS);

/** How far confidence is from accuracy. Of binary tasks and of several classes; updates with `ignoreIndex` wait for the device. */
abstract class CalibrationErrorOfTask extends Metric {
  static override readonly higherIsBetter: boolean = false;
  declare confidences: Tensor[];
  declare accuracies: Tensor[];
  protected readonly setting: Setting & CalibrationOptions;

  protected constructor(setting: Setting & CalibrationOptions) {
    if (setting.task === "multilabel")
      throw new ArgumentError("CalibrationError", 'task to be "binary" or "multiclass"', setting.task);
    super(optionsOf(setting));
    this.setting = setting;
    this.addState("confidences", [], "cat");
    this.addState("accuracies", [], "cat");
  }

  update(preds: Tensor, target: Tensor): void {
    atMost(`${this.constructor.name}.update`, arguments, 2);
    const name = `${this.constructor.name}.update`;
    const { task, numClasses, ignoreIndex } = this.setting;
    checkTensors(name, { preds, target });
    if (!isFloatingPoint(preds.dtype)) throw new ArgumentError(name, "preds to be probabilities or logits", preds);
    if (task === "multiclass" && (preds.ndim !== target.ndim + 1 || preds.shape[1] !== numClasses))
      throw new ArgumentError(
        name,
        `preds to be scores of ${numClasses ?? 0} classes, [n, ${numClasses ?? 0}, …]`,
        preds,
      );
    if (task === "binary") checkSameShape(name, preds, target);
    let scores = task === "binary" ? preds.flatten() : preds.movedim(1, -1).reshape([-1, numClasses ?? 0]);
    let labels = target.flatten();
    if (ignoreIndex !== null) {
      const rows = validOf(labels, ignoreIndex).nonzero().flatten();
      scores = scores.indexSelect(0, rows);
      labels = labels.indexSelect(0, rows);
    }
    const probabilities = asProbabilities(scores, task === "binary" ? "sigmoid" : "softmax");
    if (task === "binary") {
      this.confidences.push(probabilities.to("float32"));
      this.accuracies.push(labels.to("float32"));
    } else {
      const best = probabilities.max(1);
      this.confidences.push(best.values.to("float32"));
      this.accuracies.push(best.indices.eq(labels).to("float32"));
    }
  }

  compute(): Tensor {
    const { nBins = 15, norm = "l1" } = this.setting;
    const confidences = dimZeroCat(this.confidences);
    const edges = linspace(0, 1, nBins + 1, { device: confidences.device });
    const bins = bucketize(confidences, edges, { right: true }).sub(1);
    const sums = (values: Tensor): Tensor =>
      zeros([nBins + 1], { device: confidences.device }).scatterAdd(0, bins, values);
    const counts = sums(confidences.mul(0).add(1));
    const mean = (values: Tensor): Tensor => nanToNum(sums(values).div(counts));
    const gaps = mean(dimZeroCat(this.accuracies)).sub(mean(confidences)).abs();
    const shares = counts.div(counts.sum());
    if (norm === "max") return gaps.max();
    return norm === "l1" ? gaps.mul(shares).sum() : gaps.mul(gaps).mul(shares).sum().sqrt();
  }
}
export class CalibrationError extends CalibrationErrorOfTask {
  constructor(...given: TaskPlainCall<CalibrationOptions>) {
    super(readers.ofTask(new.target.name, given));
  }
}
export class BinaryCalibrationError extends CalibrationErrorOfTask {
  constructor(...given: BinaryPlainCall<CalibrationOptions>) {
    super(readers.binary(new.target.name, given));
  }
}
export class MulticlassCalibrationError extends CalibrationErrorOfTask {
  constructor(...given: MulticlassPlainCall<CalibrationOptions>) {
    super(readers.multiclass(new.target.name, given));
  }
}
