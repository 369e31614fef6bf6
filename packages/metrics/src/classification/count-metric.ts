/** Metrics made of counts of true and false positives and negatives. */
import { atMost, zeros, type Tensor } from "@nbit/torch";
import { Metric, optionsOf } from "../metric.js";
import { dimZeroCat } from "../states.js";
import { countsOf, type Counts } from "./counts.js";
import { checkWrong, expectedTargets, labelsOf } from "./labels.js";
import type { Setting } from "./task.js";

const STATES = ["tp", "fp", "tn", "fn"] as const;

/**
 * What such metrics share. `update(preds, target)`: predictions are probabilities, logits or labels; of several classes
 * scores `[n, classes, …]` or labels `[n, …]`, of several labels `[n, labels, …]`. Scores outside of [0, 1] are logits.
 * Targets that no class is are an error: on the CPU at once, elsewhere when the metric is computed.
 */
export abstract class CountMetric<S extends Setting = Setting> extends Metric {
  declare tp: Tensor | Tensor[];
  declare fp: Tensor | Tensor[];
  declare tn: Tensor | Tensor[];
  declare fn: Tensor | Tensor[];
  declare wrong: Tensor;
  protected readonly setting: S;

  protected constructor(setting: S) {
    super(optionsOf(setting));
    this.setting = setting;
    const classes = setting.average === "micro" ? null : setting.numClasses;
    const size = { binary: null, multiclass: classes, multilabel: setting.numLabels }[setting.task];
    for (const name of STATES)
      if (setting.multidimAverage === "samplewise") this.addState(name, [], "cat");
      else this.addState(name, zeros(size === null ? [] : [size], { dtype: "int64" }), "sum");
    this.addState("wrong", zeros([], { dtype: "int64" }), "sum");
  }

  override groupKey(): string | null {
    const { task, numClasses, numLabels, threshold, topK, average, multidimAverage, ignoreIndex } = this.setting;
    if (multidimAverage === "samplewise") return null;
    return JSON.stringify(["counts", task, numClasses, numLabels, threshold, topK, average === "micro", ignoreIndex]);
  }
  update(preds: Tensor, target: Tensor): void {
    atMost(`${this.constructor.name}.update`, arguments, 2);
    const labels = labelsOf(`${this.constructor.name}.update`, preds, target, this.setting);
    const counts = countsOf(labels, this.setting);
    for (const name of STATES) {
      const state = this[name];
      if (Array.isArray(state)) state.push(counts[name]);
      else this[name] = state.add(counts[name]);
    }
    this.wrong = this.wrong.add(labels.wrong);
  }

  compute(): Tensor {
    checkWrong(`${this.constructor.name}.compute`, this.wrong, expectedTargets(this.setting), this.setting);
    const [tp, fp, tn, fn] = [this.tp, this.fp, this.tn, this.fn].map((state) => dimZeroCat(state)) as [
      Tensor,
      Tensor,
      Tensor,
      Tensor,
    ];
    return this.score({ tp, fp, tn, fn });
  }
  protected abstract score(counts: Counts): Tensor;
}
