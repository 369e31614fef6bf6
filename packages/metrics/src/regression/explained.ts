/** How much of the targets' variance predictions explain. */
import {
  atMost,
  ArgumentError,
  isclose,
  kinds,
  onesLike,
  signature,
  where,
  zeros,
  zerosLike,
  type Call,
  type OptionNames,
  type Tensor,
} from "@nbit/torch";
import { checkSameShape } from "../errors.js";
import { Metric, METRIC_OPTIONS, type MetricOptions, optionsOf } from "../metric.js";

/** Of several outputs: their mean, weighted by the targets' variances or not, or each. */
export type Multioutput = "raw_values" | "uniform_average" | "variance_weighted";
export interface ExplainedVarianceArguments extends MetricOptions {
  /** Default `"uniform_average"`. */
  readonly multioutput?: Multioutput;
}
export interface R2ScoreArguments extends ExplainedVarianceArguments {
  /** How many independent variables predict: the score is adjusted for them. Default 0. */
  readonly adjusted?: number;
}
const multioutput = kinds.byDefault(
  "uniform_average",
  kinds.oneOf("raw_values", "uniform_average", "variance_weighted"),
);
const EXPLAINED = { multioutput, ...METRIC_OPTIONS } satisfies OptionNames<ExplainedVarianceArguments>;
const R2 = {
  adjusted: kinds.byDefault(0, kinds.whole("[0, ∞)")),
  multioutput,
  ...METRIC_OPTIONS,
} satisfies OptionNames<R2ScoreArguments>;
const readExplained = signature("ExplainedVariance", EXPLAINED, 1);
const readR2 = signature("R2Score", R2, 2);
type ExplainedCall = Call<ExplainedVarianceArguments, ["multioutput"], [multioutput?: Multioutput]>;
type R2Call = Call<R2ScoreArguments, ["adjusted", "multioutput"], [adjusted?: number, multioutput?: Multioutput]>;

function averaged(scores: Tensor, weights: Tensor, how: Multioutput): Tensor {
  if (how === "raw_values") return scores;
  if (how === "uniform_average") return scores.mean();
  return weights.div(weights.sum()).mul(scores).sum();
}

/** The coefficient of determination: 1 is all, 0 as much as the mean of the targets. Computing waits for the device. */
export class R2Score extends Metric {
  static override readonly higherIsBetter: boolean = true;
  declare sumSquaredError: Tensor;
  declare sumError: Tensor;
  declare residual: Tensor;
  declare total: Tensor;
  readonly adjusted: number;
  readonly multioutput: Multioutput;

  constructor(...given: R2Call) {
    const { adjusted, multioutput: how, ...options } = readR2(given, new.target.name);
    super(optionsOf(options));
    this.adjusted = adjusted;
    this.multioutput = how;
    for (const name of ["sumSquaredError", "sumError", "residual"]) this.addState(name, zeros([]), "sum");
    this.addState("total", zeros([], { dtype: "int64" }), "sum");
  }
  /** @param preds - `[n]` or `[n, outputs]`. */
  update(preds: Tensor, target: Tensor): void {
    atMost(`${this.constructor.name}.update`, arguments, 2);
    const name = `${this.constructor.name}.update`;
    checkSameShape(name, preds, target);
    if (preds.ndim < 1 || preds.ndim > 2)
      throw new ArgumentError(name, "preds of the shape [n] or [n, outputs]", preds);
    const rest = target.sub(preds);
    this.sumError = this.sumError.add(target.sum(0));
    this.sumSquaredError = this.sumSquaredError.add(target.mul(target).sum(0));
    this.residual = this.residual.add(rest.mul(rest).sum(0));
    this.total = this.total.add(target.shape[0] ?? 0);
  }
  compute(): Tensor {
    const n = Number(this.total.item());
    if (n < 2) throw new ArgumentError("R2Score.compute", "at least two samples", n, "", "ERR_METRIC_EMPTY");
    const whole = this.sumSquaredError.sub(this.sumError.mul(this.sumError.div(n)));
    const isSmall = (t: Tensor): Tensor => isclose(t, zerosLike(t), 1e-5, 1e-4);
    const scores = where(isSmall(this.residual), 1, where(isSmall(whole), 0, this.residual.div(whole).neg().add(1)));
    const score = averaged(scores, whole, this.multioutput);
    if (this.adjusted === 0 || this.adjusted >= n - 1) {
      if (this.adjusted > 0)
        process.emitWarning(
          `R2Score: ${this.adjusted} independent variables are too many to adjust the score of ${n} samples for: it is not adjusted.`,
          { type: "NbitWarning", code: "WARN_METRIC_ADJUSTED" },
        );
      return score;
    }
    return score
      .neg()
      .add(1)
      .mul((n - 1) / (n - this.adjusted - 1))
      .neg()
      .add(1);
  }
}

/** As the coefficient of determination, but for a constant error, which it forgives. */
export class ExplainedVariance extends Metric {
  static override readonly higherIsBetter: boolean = true;
  declare sumError: Tensor;
  declare sumSquaredError: Tensor;
  declare sumTarget: Tensor;
  declare sumSquaredTarget: Tensor;
  declare numObs: Tensor;
  readonly multioutput: Multioutput;

  constructor(...given: ExplainedCall) {
    const { multioutput: how, ...options } = readExplained(given, new.target.name);
    super(optionsOf(options));
    this.multioutput = how;
    for (const name of ["sumError", "sumSquaredError", "sumTarget", "sumSquaredTarget", "numObs"])
      this.addState(name, zeros([]), "sum");
  }
  update(preds: Tensor, target: Tensor): void {
    atMost(`${this.constructor.name}.update`, arguments, 2);
    checkSameShape(`${this.constructor.name}.update`, preds, target);
    const error = target.sub(preds);
    this.sumError = this.sumError.add(error.sum(0));
    this.sumSquaredError = this.sumSquaredError.add(error.mul(error).sum(0));
    this.sumTarget = this.sumTarget.add(target.sum(0));
    this.sumSquaredTarget = this.sumSquaredTarget.add(target.mul(target).sum(0));
    this.numObs = this.numObs.add(target.shape[0] ?? 0);
  }
  compute(): Tensor {
    const variance = (squares: Tensor, sum: Tensor): Tensor => {
      const mean = sum.div(this.numObs);
      return squares.div(this.numObs).sub(mean.mul(mean));
    };
    const rest = variance(this.sumSquaredError, this.sumError);
    const whole = variance(this.sumSquaredTarget, this.sumTarget);
    const explained = where(whole.eq(0), 0, rest.div(whole).neg().add(1));
    return averaged(where(rest.eq(0), onesLike(rest), explained), whole, this.multioutput);
  }
}
