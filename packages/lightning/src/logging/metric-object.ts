import { Metric, type MetricProgress, type MetricValue } from "@nbit/metrics";
import { Tensor } from "@nbit/torch";
import { MisconfigurationError } from "../errors.js";
import type { nn } from "@nbit/torch";
import type { MetricMeta } from "./metric.js";

/** One logged metric of @nbit/metrics, as a checkpoint has it. */
export interface MetricObjectState {
  readonly meta: MetricMeta;
  /** Where in the module it is: `valAccuracy`, `metrics.f1`. */
  readonly attribute: string;
  /** What the newest batch came to; null: its steps are not logged. */
  readonly last: number | null;
  readonly updates: number;
  readonly states: MetricProgress["states"];
}

/** A metric of the module's that was logged by name: it counts by itself, and is asked and reset at the epoch's end. */
export class LoggedObject {
  /** False until it was logged since the last reset. */
  hasValue = false;
  #step: number | null = null;
  #epoch: number | null = null;

  constructor(
    readonly meta: MetricMeta,
    readonly metric: Metric,
    readonly attribute: string,
  ) {}

  /** Whether the value of the epoch is to be computed. */
  get waits(): boolean {
    return this.hasValue && this.#epoch === null;
  }

  update(): void {
    this.#epoch = null;
    this.#step = null;
    if (this.meta.onStep && this.metric.batchValue === null)
      throw new MisconfigurationError(
        "log",
        `the metric ${JSON.stringify(this.meta.name)} to have been called for this batch, since its steps are logged`,
        "a metric that was updated only",
        `Call this.${this.attribute}.forward(…) instead of update, or pass { onStep: false, onEpoch: true }.`,
        "ERR_LOG_METRIC",
      );
    this.hasValue = true;
  }
  /** Of the newest batch, in this process. Waits for the device. */
  step(): number {
    return (this.#step ??= this.#number(this.metric.batchValue));
  }
  /** The same as it is now, to be read at any later time. Waits for the device. */
  stepLater(): () => number {
    const value = this.step();
    return () => value;
  }
  /** Over the epoch; of several processes, all of them must ask the first time. Waits for the device. */
  epoch(): number {
    return (this.#epoch ??= this.#number(Reflect.apply(this.metric.compute, this.metric, []) as MetricValue));
  }
  #number(value: MetricValue | null): number {
    if (value instanceof Tensor && value.numel() === 1) return value.item();
    throw new MisconfigurationError(
      "log",
      `the metric ${JSON.stringify(this.meta.name)} to come to one number`,
      value,
      "Log what you take of it: this.log(name, metric.compute()[0]); a MetricCollection goes to logDict.",
      "ERR_LOG_VALUE",
    );
  }

  /** @param forget - Whether the metric begins anew: at the end of an epoch. */
  reset(forget: boolean): void {
    if (this.hasValue && forget) this.metric.reset();
    this.hasValue = false;
    this.#step = this.#epoch = null;
  }

  stateDict(): MetricObjectState {
    const last = this.meta.onStep ? this.step() : null;
    return { meta: { ...this.meta }, attribute: this.attribute, last, ...this.metric.saveProgress() };
  }
  loadStateDict({ last, updates, states }: MetricObjectState): void {
    this.metric.loadProgress({ updates, states });
    this.#step = last;
    this.hasValue = true;
  }
}

/**
 * Where in a module a metric is.
 * @throws {MisconfigurationError} where it is no field of the module's: nothing could find it again after a resume, nor in
 * another process.
 */
export function attributeOf(module: nn.Module, metric: Metric, name: string): string {
  for (const [path, each] of module.namedModules({ removeDuplicate: false })) if (each === metric) return path;
  throw new MisconfigurationError(
    "log",
    `the metric ${JSON.stringify(name)} to be a field of the module, or in one`,
    metric.constructor.name,
    "Write it in the class: readonly accuracy = new MulticlassAccuracy(10);",
    "ERR_LOG_METRIC",
  );
}

/** The metric at a place of a module. */
export function metricAt(module: nn.Module, attribute: string): Metric | null {
  for (const [path, each] of module.namedModules({ removeDuplicate: false }))
    if (path === attribute) return each instanceof Metric ? each : null;
  return null;
}
