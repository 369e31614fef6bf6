/** Sums, means and extremes of numbers that come in batches. */
import {
  atMost,
  ArgumentError,
  full,
  getDefaultDtype,
  kinds,
  maximum,
  minimum,
  signature,
  tensor,
  Tensor,
  where,
  zeros,
  type Call,
  type OptionNames,
} from "@nbit/torch";
import { Metric, METRIC_OPTIONS, type MetricOptions, optionsOf } from "./metric.js";
import { dimZeroCat } from "./states.js";

/**
 * What becomes of values that are not a number: an error, or left out with or without a warning (these wait for the
 * device), or replaced by a number, or taken as they are (`"disable"`).
 */
export type NanStrategy = "error" | "warn" | "ignore" | "disable" | number;
export interface AggregatorArguments extends MetricOptions {
  /** Default `"warn"`. */
  readonly nanStrategy?: NanStrategy;
}
const ROWS = {
  nanStrategy: kinds.byDefault(
    "warn",
    kinds.such<NanStrategy>(
      '"error", "warn", "ignore", "disable" or a number',
      (v) => typeof v === "number" || ["error", "warn", "ignore", "disable"].includes(v as string),
    ),
  ),
  ...METRIC_OPTIONS,
} satisfies OptionNames<AggregatorArguments>;
const read = signature("metric", ROWS, 1);
type AggregatorCall = Call<AggregatorArguments, ["nanStrategy"], [nanStrategy?: NanStrategy]>;

abstract class Aggregator extends Metric {
  protected readonly nanStrategy: NanStrategy;

  constructor(...given: AggregatorCall) {
    const { nanStrategy, ...options } = read(given, new.target.name);
    super(optionsOf(options));
    this.nanStrategy = nanStrategy;
  }

  /** Values with their weights, as tensors of one shape, without what is not a number. */
  protected numbers(value: Tensor | number, weight: Tensor | number = 1): { values: Tensor; weights: Tensor } {
    const dtype = getDefaultDtype();
    const asTensor = (v: Tensor | number, like?: Tensor): Tensor => {
      if (v instanceof Tensor) return v.to(dtype);
      if (typeof v === "number") return tensor(v, { dtype, ...(like === undefined ? {} : { device: like.device }) });
      throw new ArgumentError(`${this.constructor.name}.update`, "a number or a tensor", v);
    };
    const values = asTensor(value);
    const weights = asTensor(weight, values).broadcastTo(values.shape);
    if (this.nanStrategy === "disable") return { values, weights };
    const nans = values.isnan().logicalOr(weights.isnan());
    if (typeof this.nanStrategy === "number")
      return { values: where(nans, this.nanStrategy, values), weights: where(nans, 1, weights) };
    if (Number(nans.any().item()) === 0) return { values, weights };
    if (this.nanStrategy === "error")
      throw new ArgumentError(`${this.constructor.name}.update`, "numbers", value, "", "ERR_METRIC_NAN");
    if (this.nanStrategy === "warn")
      process.emitWarning(`${this.constructor.name}.update: values that are not a number were left out.`, {
        type: "NbitWarning",
        code: "WARN_METRIC_NAN",
      });
    const kept = nans.logicalNot();
    return { values: values.maskedSelect(kept), weights: weights.maskedSelect(kept) };
  }
}

/** The sum of all values. */
export class SumMetric extends Aggregator {
  declare sumValue: Tensor;
  constructor(...given: AggregatorCall) {
    super(...given);
    this.addState("sumValue", zeros([]), "sum");
  }
  update(value: Tensor | number): void {
    atMost(`${this.constructor.name}.update`, arguments, 1);
    this.sumValue = this.sumValue.add(this.numbers(value).values.sum());
  }
  compute(): Tensor {
    return this.sumValue.clone();
  }
}

/** The mean of all values, each of which may have a weight. */
export class MeanMetric extends Aggregator {
  declare meanValue: Tensor;
  declare weight: Tensor;
  constructor(...given: AggregatorCall) {
    super(...given);
    this.addState("meanValue", zeros([]), "sum");
    this.addState("weight", zeros([]), "sum");
  }
  /** @param weight - Of each value, or of all. Default 1. */
  update(value: Tensor | number, weight: Tensor | number = 1): void {
    atMost(`${this.constructor.name}.update`, arguments, 2);
    const { values, weights } = this.numbers(value, weight);
    this.meanValue = this.meanValue.add(values.mul(weights).sum());
    this.weight = this.weight.add(weights.sum());
  }
  compute(): Tensor {
    return this.meanValue.div(this.weight);
  }
}

/** The greatest value. */
export class MaxMetric extends Aggregator {
  declare maxValue: Tensor;
  constructor(...given: AggregatorCall) {
    super(...given);
    this.addState("maxValue", full([], -Infinity), "max");
  }
  update(value: Tensor | number): void {
    atMost(`${this.constructor.name}.update`, arguments, 1);
    const { values } = this.numbers(value);
    if (values.numel() > 0) this.maxValue = maximum(this.maxValue, values.max());
  }
  compute(): Tensor {
    return this.maxValue.clone();
  }
}

/** The least value. */
export class MinMetric extends Aggregator {
  declare minValue: Tensor;
  constructor(...given: AggregatorCall) {
    super(...given);
    this.addState("minValue", full([], Infinity), "min");
  }
  update(value: Tensor | number): void {
    atMost(`${this.constructor.name}.update`, arguments, 1);
    const { values } = this.numbers(value);
    if (values.numel() > 0) this.minValue = minimum(this.minValue, values.min());
  }
  compute(): Tensor {
    return this.minValue.clone();
  }
}

/** All values behind each other. */
export class CatMetric extends Aggregator {
  declare value: Tensor[];
  constructor(...given: AggregatorCall) {
    super(...given);
    this.addState("value", [], "cat");
  }
  update(value: Tensor | number): void {
    atMost(`${this.constructor.name}.update`, arguments, 1);
    const { values } = this.numbers(value);
    if (values.numel() > 0) this.value.push(values.clone());
  }
  compute(): Tensor {
    return dimZeroCat(this.value).clone();
  }
}

export interface RunningArguments extends AggregatorArguments {
  /** Of how many updates. Default 5. */
  readonly window?: number;
}
const RUNNING = { window: kinds.byDefault(5, kinds.whole("[1, ∞)")), ...ROWS } satisfies OptionNames<RunningArguments>;
const readRunning = signature("metric", RUNNING, 2);
type RunningCall = Call<RunningArguments, ["window", "nanStrategy"], [window?: number, nanStrategy?: NanStrategy]>;

/** Sums and weights of the newest updates, a place of a ring each. */
abstract class Running extends Aggregator {
  declare sums: Tensor;
  declare weights: Tensor;
  readonly window: number;
  private seen = 0;

  constructor(...given: RunningCall) {
    const { window, nanStrategy, ...options } = readRunning(given, new.target.name);
    super(nanStrategy, optionsOf(options));
    this.window = window;
    this.addState("sums", zeros([window]), "sum");
    this.addState("weights", zeros([window]), "sum");
  }
  update(value: Tensor | number): void {
    atMost(`${this.constructor.name}.update`, arguments, 1);
    const { values, weights } = this.numbers(value);
    const place = tensor([this.seen++ % this.window], { dtype: "int64", device: values.device });
    this.sums = this.sums.indexCopy(0, place, values.sum().reshape([1]));
    this.weights = this.weights.indexCopy(0, place, weights.sum().reshape([1]));
  }
  override reset(): void {
    super.reset();
    this.seen = 0;
  }
  /** The ring is one place further than the batch alone would say. */
  override forward(...args: Parameters<this["update"]>): ReturnType<this["compute"]> {
    const [value] = args as unknown as [Tensor | number];
    const { values, weights } = this.numbers(value);
    const alone = this.ofSums(values.sum(), weights.sum());
    Reflect.apply(this.update, this, args);
    return alone as ReturnType<this["compute"]>;
  }
  compute(): Tensor {
    return this.ofSums(this.sums.sum(), this.weights.sum());
  }
  protected abstract ofSums(sum: Tensor, weight: Tensor): Tensor;
}

/** The mean over the newest updates. */
export class RunningMean extends Running {
  protected ofSums(sum: Tensor, weight: Tensor): Tensor {
    return sum.div(weight);
  }
}
/** The sum over the newest updates. */
export class RunningSum extends Running {
  protected ofSums(sum: Tensor): Tensor {
    return sum.clone();
  }
}
