import { ArgumentError, atMost, checkOptions, kinds, nn, type OptionNames } from "@nbit/torch";
import { isPlain } from "@nbit/torch/realm";
import { Metric, type MetricValue } from "./metric.js";

/** What a collection is made of: metrics under names, or one or several whose names are those of their classes. */
export type Metrics = Metric | readonly (Metric | MetricCollection)[] | { readonly [name: string]: Metric };

export interface MetricCollectionOptions {
  /** In front of each name of what is computed. */
  readonly prefix?: string | null;
  /** Behind it. */
  readonly postfix?: string | null;
  /**
   * Metrics whose states are always the same (those of one class with one setting, counted by precision and recall alike)
   * are updated once: those of lists of names; true: of equal classes of states; false: none. Default true.
   */
  readonly computeGroups?: boolean | readonly (readonly string[])[];
}
const OPTIONS: OptionNames<MetricCollectionOptions> = {
  prefix: kinds.orNull(kinds.text),
  postfix: kinds.orNull(kinds.text),
  computeGroups: kinds.such<boolean | readonly (readonly string[])[]>(
    "true, false or lists of names",
    (v) =>
      typeof v === "boolean" ||
      (Array.isArray(v) && v.every((g) => Array.isArray(g) && g.every((n) => typeof n === "string"))),
  ),
};

/**
 * Several metrics of the same predictions: updated, computed and reset together.
 *
 * @example
 * const metrics = new MetricCollection(
 *   { accuracy: new MulticlassAccuracy(10), f1: new MulticlassF1Score(10) },
 *   { prefix: "val_" },
 * );
 * metrics.update(logits, labels);
 * metrics.compute(); // { val_accuracy: …, val_f1: … }
 */
export class MetricCollection extends nn.ModuleDict<Metric> {
  prefix: string;
  postfix: string;
  private groups: string[][] | null = null;
  private readonly computeGroups: boolean | readonly (readonly string[])[];

  constructor(metrics: Metrics, options: MetricCollectionOptions = {}) {
    super();
    atMost("MetricCollection", arguments, 2);
    checkOptions("MetricCollection", options, OPTIONS);
    this.prefix = options.prefix ?? "";
    this.postfix = options.postfix ?? "";
    this.computeGroups = options.computeGroups ?? true;
    this.addMetrics(metrics);
    if (Array.isArray(this.computeGroups))
      for (const name of this.computeGroups.flat())
        if (!this.has(name))
          throw new ArgumentError("MetricCollection", `computeGroups among ${this.keys().join(", ")}`, name);
  }

  addMetrics(metrics: Metrics): void {
    atMost("addMetrics", arguments, 1);
    for (const [name, metric] of named(metrics)) {
      if (this.has(name))
        throw new ArgumentError(
          "MetricCollection",
          "metrics of different names",
          name,
          "Give names: { top1: …, top5: … }.",
        );
      this.set(name, metric);
    }
    this.groups = null;
  }

  /** Take in a batch. What two metrics would count alike is counted once. */
  override update(...args: readonly unknown[]): this {
    for (const [first, ...others] of this.groupsOf()) {
      const leader = this.get(first as string);
      Reflect.apply(leader.update, leader, args);
      for (const name of others) this.get(name).follow(leader);
    }
    return this;
  }

  /** Take in a batch, and give the numbers of that batch alone. */
  override forward(...args: readonly unknown[]): never {
    return this.named((metric) => Reflect.apply(metric.forward, metric, args) as MetricValue) as never;
  }

  /** The number of each, by prefix, name and postfix. */
  compute(): Record<string, MetricValue> {
    atMost("MetricCollection.compute", arguments, 0);
    return this.named((metric) => Reflect.apply(metric.compute, metric, []) as MetricValue);
  }
  private named(of: (metric: Metric) => MetricValue): Record<string, MetricValue> {
    const values: Record<string, MetricValue> = {};
    for (const [name, metric] of this.items()) values[this.prefix + name + this.postfix] = of(metric);
    return values;
  }

  reset(): void {
    atMost("MetricCollection.reset", arguments, 0);
    for (const metric of this.values()) metric.reset();
  }
  persistent(mode = true): void {
    atMost("MetricCollection.persistent", arguments, 1);
    for (const metric of this.values()) metric.persistent(mode);
  }
  /** A copy, which may have another prefix and postfix: for training and validation, say. */
  override clone(prefix?: string, postfix?: string): this {
    atMost("MetricCollection.clone", arguments, 2);
    const copy = super.clone();
    if (prefix !== undefined) copy.prefix = prefix;
    if (postfix !== undefined) copy.postfix = postfix;
    return copy;
  }

  /** Lists of names, the first of which is updated for all of its list. */
  private groupsOf(): readonly (readonly string[])[] {
    if (this.groups !== null) return this.groups;
    const groups = new Map<unknown, string[]>();
    const given = Array.isArray(this.computeGroups) ? (this.computeGroups as readonly (readonly string[])[]) : [];
    for (const [name, metric] of this.items()) {
      const own = given.find((group) => group.includes(name)) ?? null;
      const key = own ?? (this.computeGroups === true ? (metric.groupKey() ?? metric) : metric);
      groups.set(key, [...(groups.get(key) ?? []), name]);
    }
    // One that was updated alone before is no part of a group.
    this.groups = [...groups.values()].flatMap((group) =>
      group.every((name) => this.get(name).updateCount === this.get(group[0] as string).updateCount)
        ? [group]
        : group.map((name) => [name]),
    );
    return this.groups;
  }
}

function named(metrics: Metrics): readonly (readonly [string, Metric])[] {
  if (metrics instanceof Metric) return [[metrics.constructor.name, metrics]];
  if (Array.isArray(metrics))
    return (metrics as readonly unknown[]).flatMap((each): readonly (readonly [string, Metric])[] => {
      if (each instanceof MetricCollection) return each.items();
      if (each instanceof Metric) return [[each.constructor.name, each]];
      throw new ArgumentError("MetricCollection", "metrics", each);
    });
  if (!isPlain(metrics)) throw new ArgumentError("MetricCollection", "metrics, in an array or under names", metrics);
  return Object.entries(metrics).map(([name, each]) => {
    if (!(each instanceof Metric)) throw new ArgumentError("MetricCollection", `a metric under the name ${name}`, each);
    return [name, each] as const;
  });
}
