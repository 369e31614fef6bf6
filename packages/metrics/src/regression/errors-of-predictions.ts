/** Mean errors of predictions. */
import { atMost, kinds, signature, zeros, type Call, type OptionNames, type Tensor } from "@nbit/torch";
import { checkSameShape } from "../errors.js";
import { Metric, METRIC_OPTIONS, type MetricOptions, optionsOf } from "../metric.js";

export interface OutputsArguments extends MetricOptions {
  /** How many numbers each sample has, `[n, numOutputs]`, with an error each. Default 1: of whatever shape, one error. */
  readonly numOutputs?: number;
}
export interface SquaredArguments extends OutputsArguments {
  /** Default true; false: its square root. */
  readonly squared?: boolean;
}
const numOutputs = kinds.byDefault(1, kinds.whole("[1, ∞)"));
const OUTPUTS = { numOutputs, ...METRIC_OPTIONS } satisfies OptionNames<OutputsArguments>;
const SQUARED = {
  squared: kinds.byDefault(true, kinds.flag),
  numOutputs,
  ...METRIC_OPTIONS,
} satisfies OptionNames<SquaredArguments>;
const readOutputs = signature("metric", OUTPUTS, 1);
const readSquared = signature("metric", SQUARED, 2);
type OutputsCall = Call<OutputsArguments, ["numOutputs"], [numOutputs?: number]>;
type SquaredCall = Call<SquaredArguments, ["squared", "numOutputs"], [squared?: boolean, numOutputs?: number]>;

abstract class MeanError extends Metric {
  static override readonly higherIsBetter: boolean = false;
  declare sum: Tensor;
  declare total: Tensor;
  readonly numOutputs: number;

  protected constructor(outputs: number, options: MetricOptions) {
    super(optionsOf(options));
    this.numOutputs = outputs;
    this.addState("sum", zeros(outputs === 1 ? [] : [outputs]), "sum");
    this.addState("total", zeros([], { dtype: "int64" }), "sum");
  }
  update(preds: Tensor, target: Tensor): void {
    atMost(`${this.constructor.name}.update`, arguments, 2);
    checkSameShape(`${this.constructor.name}.update`, preds, target);
    const rows = (t: Tensor): Tensor => (this.numOutputs === 1 ? t.flatten() : t);
    const errors = this.errors(rows(preds), rows(target));
    this.sum = this.sum.add(errors.sum(0));
    this.total = this.total.add(errors.shape[0] ?? 0);
  }
  compute(): Tensor {
    return this.sum.div(this.total);
  }
  protected abstract errors(preds: Tensor, target: Tensor): Tensor;
}

/** The mean of squared differences, or its square root. */
export class MeanSquaredError extends MeanError {
  readonly squared: boolean;
  constructor(...given: SquaredCall) {
    const { squared, numOutputs: outputs, ...options } = readSquared(given, new.target.name);
    super(outputs, options);
    this.squared = squared;
  }
  protected errors(preds: Tensor, target: Tensor): Tensor {
    const difference = preds.sub(target);
    return difference.mul(difference);
  }
  override compute(): Tensor {
    const mean = this.sum.div(this.total);
    return this.squared ? mean : mean.sqrt();
  }
}

/** The mean of absolute differences. */
export class MeanAbsoluteError extends MeanError {
  constructor(...given: OutputsCall) {
    const { numOutputs: outputs, ...options } = readOutputs(given, new.target.name);
    super(outputs, options);
  }
  protected errors(preds: Tensor, target: Tensor): Tensor {
    return preds.sub(target).abs();
  }
}

const readPlain = signature("metric", METRIC_OPTIONS, 0);
type PlainCall = Call<MetricOptions, [], []>;
/** Below it a target counts as it: torchmetrics' own. */
const LEAST_TARGET = 1.17e-6;

/** The mean of absolute differences as shares of the targets. */
export class MeanAbsolutePercentageError extends MeanError {
  constructor(...given: PlainCall) {
    super(1, readPlain(given, new.target.name));
  }
  protected errors(preds: Tensor, target: Tensor): Tensor {
    return preds.sub(target).abs().div(target.abs().clamp(LEAST_TARGET));
  }
}
