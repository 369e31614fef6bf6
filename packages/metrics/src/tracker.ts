import { ArgumentError, atMost, nn, stack, Tensor, verbatim } from "@nbit/torch";
import { MetricCollection } from "./collection.js";
import { Metric, type MetricValue } from "./metric.js";

/** A metric, epoch after epoch: what it came to in each, and in which it was best. */
export class MetricTracker extends nn.Module {
  private readonly steps: (Metric | MetricCollection)[] = [];

  /** @param maximize - Whether greater is better; of a collection for each by name. Default: as the metric says. */
  constructor(
    readonly base: Metric | MetricCollection,
    readonly maximize: boolean | Readonly<Record<string, boolean>> | null = null,
  ) {
    super();
    atMost("MetricTracker", arguments, 2);
    if (!(base instanceof Metric || base instanceof MetricCollection))
      throw new ArgumentError("MetricTracker", "a metric, or a collection of metrics", base);
  }

  /** Begin an epoch. */
  increment(): void {
    atMost("increment", arguments, 0);
    const next = this.base.clone();
    next.reset();
    this.steps.push(next);
  }
  get nSteps(): number {
    return this.steps.length;
  }
  private get last(): Metric | MetricCollection {
    const last = this.steps.at(-1);
    if (last === undefined)
      throw new ArgumentError(
        "MetricTracker",
        "increment to be called first",
        verbatim("none"),
        undefined,
        "ERR_METRIC_EMPTY",
      );
    return last;
  }
  update(...args: readonly unknown[]): void {
    Reflect.apply(this.last.update, this.last, args);
  }
  override forward(...args: readonly unknown[]): never {
    return Reflect.apply(this.last.forward, this.last, args) as never;
  }
  compute(): MetricValue {
    return Reflect.apply(this.last.compute, this.last, []) as MetricValue;
  }
  /** What each epoch came to: stacked, of a collection by name. */
  computeAll(): Tensor | Record<string, Tensor> {
    atMost("computeAll", arguments, 0);
    const values = this.steps.map((step) => Reflect.apply(step.compute, step, []) as MetricValue);
    if (this.base instanceof Metric) return stack(values.map(one));
    const names = Object.keys((values[0] ?? {}) as object);
    const of = (value: MetricValue, name: string): Tensor =>
      one((value as Record<string, MetricValue>)[name] as MetricValue);
    return Object.fromEntries(names.map((name) => [name, stack(values.map((value) => of(value, name)))]));
  }
  /** The best value, and in which epoch; of a collection by name. Waits for the device. */
  bestMetric(): { readonly value: number; readonly step: number } | Record<string, { value: number; step: number }> {
    atMost("bestMetric", arguments, 0);
    const all = this.computeAll();
    if (all instanceof Tensor) return best(all, this.isHigherBetter(null, this.base as Metric));
    const metrics = this.base as MetricCollection;
    const higher = Object.fromEntries(
      metrics
        .items()
        .map(([name, metric]) => [metrics.prefix + name + metrics.postfix, this.isHigherBetter(name, metric)]),
    );
    return Object.fromEntries(Object.entries(all).map(([name, values]) => [name, best(values, higher[name] ?? true)]));
  }
  private isHigherBetter(name: string | null, metric: Metric): boolean {
    const { maximize } = this;
    const said = typeof maximize === "boolean" ? maximize : name === null ? null : (maximize?.[name] ?? null);
    const own = said ?? (metric.constructor as typeof Metric).higherIsBetter;
    if (own === null)
      throw new ArgumentError(
        "MetricTracker",
        "maximize, since the metric does not say whether greater is better",
        null,
      );
    return own;
  }
  reset(): void {
    atMost("MetricTracker.reset", arguments, 0);
    this.last.reset();
  }
  resetAll(): void {
    atMost("resetAll", arguments, 0);
    for (const step of this.steps) step.reset();
  }
}

function one(value: MetricValue): Tensor {
  if (value instanceof Tensor) return value;
  throw new ArgumentError("MetricTracker", "metrics that come to one tensor", value);
}
function best(values: Tensor, higher: boolean): { value: number; step: number } {
  const numbers = values.tolist() as number[];
  const value = higher ? Math.max(...numbers) : Math.min(...numbers);
  return { value, step: numbers.indexOf(value) };
}
