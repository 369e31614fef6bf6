/** Metrics made of how true and false positives change with the threshold. */
import {
  atMost,
  arange,
  ArgumentError,
  argsort,
  cat,
  cumsum,
  isFloatingPoint,
  kinds,
  linspace,
  nn,
  ones,
  tensor,
  Tensor,
  where,
  zeros,
  type OptionNames,
} from "@nbit/torch";
import { checkTensors } from "../errors.js";
import { Metric, optionsOf } from "../metric.js";
import { dimZeroCat } from "../states.js";
import { asProbabilities, validOf } from "./labels.js";
import type { Setting } from "./task.js";

export interface CurveOptions {
  /**
   * Where the curve is looked at: so many thresholds from 0 to 1, or these; memory is then that of the table. Default
   * null: at every prediction, all of which are kept.
   */
  readonly thresholds?: number | readonly number[] | Tensor | null;
}
export const CURVE = {
  thresholds: kinds.byDefault(
    null,
    kinds.such<number | readonly number[] | Tensor | null>(
      "a whole number ≥ 2, numbers from 0 to 1, or null",
      (v) =>
        v === null ||
        v instanceof Tensor ||
        (typeof v === "number" && Number.isInteger(v) && v >= 2) ||
        (Array.isArray(v) && v.every((t) => typeof t === "number" && t >= 0 && t <= 1)),
    ),
  ),
} satisfies OptionNames<CurveOptions>;

export type CurveSetting = Setting & CurveOptions;

/** Predictions with their targets, 0 and 1, and the labels that these are of; or a table `[thresholds, (classes,) 2, 2]`; in front what is looked at as one curve. */
export type Points =
  | { readonly preds: Tensor; readonly target: Tensor; readonly labels: Tensor; readonly table: null }
  | { readonly table: Tensor; readonly thresholds: Tensor };

/**
 * What such metrics share. `update(preds, target)`: predictions are probabilities or logits; of several classes `[n,
 * classes, …]`, of several labels `[n, labels, …]`. Targets are 0 and 1, or classes.
 */
export abstract class CurveMetric<S extends CurveSetting = CurveSetting> extends Metric {
  declare preds: Tensor[];
  declare target: Tensor[];
  declare confmat: Tensor;
  protected readonly setting: S;
  private readonly at: readonly number[] | null;

  protected constructor(setting: S) {
    super(optionsOf(setting));
    this.setting = setting;
    this.at = thresholdsOf(setting.thresholds ?? null);
    if (this.at === null) {
      this.addState("preds", [], "cat");
      this.addState("target", [], "cat");
    } else this.addState("confmat", zeros(this.tableShape(this.at.length), { dtype: "int64" }), "sum");
  }

  /** Number of curves: classes or labels, or one. */
  protected get curves(): number {
    return this.setting.numClasses ?? this.setting.numLabels ?? 1;
  }
  private tableShape(thresholds: number): number[] {
    return this.setting.task === "binary" ? [thresholds, 2, 2] : [thresholds, this.curves, 2, 2];
  }
  protected thresholdTensor(like: Tensor): Tensor {
    return tensor([...(this.at ?? [])], { dtype: "float32", device: like.device });
  }

  update(preds: Tensor, target: Tensor): void {
    atMost(`${this.constructor.name}.update`, arguments, 2);
    const { task, ignoreIndex } = this.setting;
    const name = `${this.constructor.name}.update`;
    checkTensors(name, { preds, target });
    if (!isFloatingPoint(preds.dtype))
      throw new ArgumentError(name, "preds to be probabilities or logits", preds, "Labels have no thresholds.");
    if (isFloatingPoint(target.dtype))
      throw new ArgumentError(name, "target of whole numbers or booleans", target, 'Write target.to("int64").');
    const { scores, labels } = this.rows(name, preds, target.to("int64"));
    const valid = validOf(labels, ignoreIndex);
    const counts = task === "multiclass" ? valid.unsqueeze(1) : valid;
    const probabilities = asProbabilities(scores, task === "multiclass" ? "softmax" : "sigmoid", counts);
    if (this.at === null) {
      this.preds.push(probabilities);
      this.target.push(where(valid, labels, LEFT_OUT));
    } else this.confmat = this.confmat.add(this.table(probabilities, labels, valid));
  }

  /** Scores `[n]` or `[n, curves]`, and labels `[n]`, or `[n, curves]` of several labels. */
  private rows(name: string, preds: Tensor, target: Tensor): { readonly scores: Tensor; readonly labels: Tensor } {
    const { task } = this.setting;
    const { curves } = this;
    const expected = [preds.shape[0], ...preds.shape.slice(2)];
    const shape = task === "multiclass" ? expected : preds.shape;
    if (task !== "binary" && preds.shape[1] !== curves)
      throw new ArgumentError(name, `preds of the shape [n, ${curves}, …]`, preds);
    if (shape.length !== target.shape.length || shape.some((n, i) => n !== target.shape[i]))
      throw new ArgumentError(name, `target of the shape [${shape.join(", ")}]`, target);
    const rows = (t: Tensor): Tensor => t.transpose(0, 1).reshape([curves, -1]).t();
    if (task === "binary") return { scores: preds.flatten(), labels: target.flatten() };
    return { scores: rows(preds), labels: task === "multiclass" ? target.flatten() : rows(target) };
  }

  /** How many are on which side of each threshold, by what they are: nothing waits for the device. */
  private table(scores: Tensor, labels: Tensor, valid: Tensor): Tensor {
    const { task } = this.setting;
    const thresholds = this.thresholdTensor(scores);
    const n = thresholds.numel();
    const { curves } = this;
    const is = task === "multiclass" ? nn.functional.oneHot(where(valid, labels, 0), curves) : where(valid, labels, 0);
    const one = (t: Tensor): Tensor => t.reshape([-1, curves, 1]);
    const yes = one(scores).ge(thresholds).to("int64");
    const cell = yes
      .add(one(is).mul(2))
      .add(arange(curves, { device: scores.device }).mul(4).reshape([1, curves, 1]))
      .add(arange(n, { device: scores.device }).mul(4 * curves));
    const counted = (task === "multiclass" ? valid.unsqueeze(1).expand([-1, curves]) : valid)
      .reshape([-1, curves, 1])
      .expand(cell.shape);
    const cells = zeros([n * curves * 4], { dtype: "int64", device: scores.device }).scatterAdd(
      0,
      cell.flatten(),
      counted.to("int64").flatten(),
    );
    return cells.reshape(this.tableShape(n));
  }

  /** All that was taken in, as one curve's points, or those of each class or label. */
  protected get points(): Points {
    if (this.at !== null) return { table: this.confmat, thresholds: this.thresholdTensor(this.confmat) };
    const target = dimZeroCat(this.target);
    return { preds: dimZeroCat(this.preds), target, labels: target, table: null };
  }
  /** The points of one class or label alone. */
  protected pointsOf(i: number): Points {
    const all = this.points;
    if (all.table !== null) return { table: all.table.select(1, i), thresholds: all.thresholds };
    const preds = all.preds.select(1, i);
    if (this.setting.task === "multilabel") return counted(preds, all.target.select(1, i));
    const { preds: scores, labels } = counted(preds, all.target);
    return { preds: scores, target: labels.eq(i).to("int64"), labels, table: null };
  }
  /** Those of a binary task, or of all labels together. */
  protected get together(): Points {
    const all = this.points;
    if (all.table !== null)
      return { table: all.table.ndim === 4 ? all.table.sum(1) : all.table, thresholds: all.thresholds };
    return counted(all.preds.flatten(), all.target.flatten());
  }
  /** How often each class or label occurs, as float32. */
  protected get occurrences(): Tensor {
    const all = this.points;
    if (all.table !== null) return all.table.select(0, 0).select(1, 1).sum(-1).to("float32");
    const { target } = all;
    if (this.setting.task === "multilabel") return target.eq(1).sum(0).to("float32");
    const classes = arange(this.curves, { device: target.device });
    return target.unsqueeze(1).eq(classes).sum(0).to("float32");
  }
}

/** A target that is left out, where predictions are kept. */
const LEFT_OUT = -(2 ** 31);

/** Without what is left out. Waits for the device, as every curve over all predictions does. */
function counted(preds: Tensor, target: Tensor): Extract<Points, { readonly table: null }> {
  const left = target.eq(LEFT_OUT);
  if (Number(left.any().item()) === 0) return { preds, target, labels: target, table: null };
  const kept = left.logicalNot();
  const labels = target.maskedSelect(kept);
  return { preds: preds.maskedSelect(kept), target: labels, labels, table: null };
}

function thresholdsOf(given: NonNullable<CurveOptions["thresholds"]> | null): readonly number[] | null {
  if (given === null) return null;
  if (typeof given === "number") return linspace(0, 1, given).tolist() as number[];
  return given instanceof Tensor ? (given.flatten().tolist() as number[]) : given;
}

/** False and true positives at each prediction that differs from the one above it, and these predictions. */
export function clfCurve(preds: Tensor, target: Tensor): { fps: Tensor; tps: Tensor; thresholds: Tensor } {
  const order = argsort(preds, -1, true);
  const sorted = preds.indexSelect(0, order);
  const is = target.indexSelect(0, order).eq(1).to("int64");
  const n = sorted.numel();
  const last = tensor([n - 1], { dtype: "int64", device: preds.device });
  const differs = sorted.narrow(0, 1, n - 1).ne(sorted.narrow(0, 0, n - 1));
  const ends = cat([differs.nonzero().flatten(), last]);
  const tps = cumsum(is, 0).indexSelect(0, ends);
  return { fps: ends.add(1).sub(tps), tps, thresholds: sorted.indexSelect(0, ends) };
}

/** One more element at an end. */
export function withLast(t: Tensor, value: 0 | 1): Tensor {
  const make = value === 0 ? zeros : ones;
  return cat([t, make([1], { dtype: t.dtype, device: t.device })]);
}
export function withFirst(t: Tensor, value: 0 | 1): Tensor {
  const make = value === 0 ? zeros : ones;
  return cat([make([1], { dtype: t.dtype, device: t.device }), t]);
}

/** Columns of a table of one curve. */
export function columns(table: Tensor): { tps: Tensor; fps: Tensor; fns: Tensor; tns: Tensor } {
  const at = (is: number, said: number): Tensor => table.select(1, is).select(1, said);
  return { tps: at(1, 1), fps: at(0, 1), fns: at(1, 0), tns: at(0, 0) };
}

/** The coordinates of a curve, and where it was looked at. */
export type Curve = readonly [x: Tensor, y: Tensor, thresholds: Tensor];
/** The coordinates of several curves, by class or label; one list of thresholds where all are looked at in the same places. */
export type Curves = readonly [x: Tensor[], y: Tensor[], thresholds: Tensor[] | Tensor];

/** Gives the curve itself; of several classes or labels a list of each of its parts, by class. */
export abstract class CurveOfTask<C extends Curve> extends CurveMetric {
  protected abstract curveOf(points: Points): C;

  compute(): C | Curves {
    if (this.setting.task === "binary") return this.curveOf(this.together);
    const all = Array.from({ length: this.curves }, (_, i) => this.curveOf(this.pointsOf(i)));
    const thresholds = all.map(([, , t]) => t);
    const shared = this.points.table === null ? thresholds : (thresholds[0] as Tensor);
    return [all.map(([x]) => x), all.map(([, y]) => y), shared];
  }
}
