/** Metrics made of a table of classes by classes: what is (rows) against what it is taken for (columns). */
import { atMost, arange, where, zeros, type Tensor } from "@nbit/torch";
import { Metric, optionsOf } from "../metric.js";
import { checkWrong, expectedTargets, labelsOf } from "./labels.js";
import type { Setting } from "./task.js";

/**
 * What such metrics share: `confmat` is `[classes, classes]`, of binary tasks `[2, 2]`, of several labels `[labels, 2,
 * 2]`. `update(preds, target)` takes what metrics of counts take.
 */
export abstract class MatrixMetric<S extends Setting = Setting> extends Metric {
  declare confmat: Tensor;
  declare wrong: Tensor;
  protected readonly setting: S;

  protected constructor(setting: S) {
    super(optionsOf(setting));
    this.setting = setting;
    this.addState("confmat", zeros(shapeOf(setting), { dtype: "int64" }), "sum");
    this.addState("wrong", zeros([], { dtype: "int64" }), "sum");
  }

  override groupKey(): string {
    const { task, numClasses, numLabels, threshold, ignoreIndex } = this.setting;
    return JSON.stringify(["matrix", task, numClasses, numLabels, threshold, ignoreIndex]);
  }
  update(preds: Tensor, target: Tensor): void {
    atMost(`${this.constructor.name}.update`, arguments, 2);
    const { setting } = this;
    const found = labelsOf(`${this.constructor.name}.update`, preds, target, setting);
    const [labels, classes] =
      setting.task === "multilabel" ? [setting.numLabels ?? 1, 2] : [1, setting.numClasses ?? 2];
    let cell = found.target.mul(classes).add(found.preds);
    if (setting.task === "multilabel")
      cell = cell.add(arange(labels, { device: cell.device }).mul(4).reshape([1, labels, 1]));
    const counted = found.valid.logicalAnd(found.target.ge(0)).logicalAnd(found.target.lt(classes));
    const cells = zeros([labels * classes * classes], { dtype: "int64", device: cell.device }).scatterAdd(
      0,
      where(counted, cell, 0).flatten(),
      counted.to("int64").flatten(),
    );
    this.confmat = this.confmat.add(cells.reshape(this.confmat.shape));
    this.wrong = this.wrong.add(found.wrong);
  }

  compute(): Tensor {
    checkWrong(`${this.constructor.name}.compute`, this.wrong, expectedTargets(this.setting), this.setting);
    return this.score(this.confmat);
  }
  protected abstract score(confmat: Tensor): Tensor;
}

function shapeOf({ task, numClasses, numLabels }: Setting): number[] {
  if (task === "multilabel") return [numLabels ?? 1, 2, 2];
  const classes = task === "binary" ? 2 : (numClasses ?? 2);
  return [classes, classes];
}
