/** Metrics over all processes: one exchange for all of them, whatever each has logged. */
import { verbatim } from "@nbit/torch";
import { MisconfigurationError } from "../errors.js";
import type { nn } from "@nbit/torch";
import type { MetricMeta, MetricShare } from "./metric.js";
import type { Results } from "./results.js";

/** What one process has of one metric. */
export interface SharedMetric extends MetricShare {
  readonly key: string;
  readonly meta: MetricMeta;
}

/** What this process adds: values of epochs unless they are to stay local; of steps where they are asked for. */
export function sharesOf(results: Results, onStep: boolean): SharedMetric[] {
  const shares: SharedMetric[] = [];
  for (const [key, metric] of results.metrics) {
    const { meta } = metric;
    const wanted = onStep ? meta.onStep && meta.syncDist === true : meta.onEpoch && meta.syncDist !== false;
    if (!wanted || meta.rankZeroOnly === true || !metric.isUnshared(onStep)) continue;
    shares.push({ key, meta, ...metric.share(onStep) });
  }
  return shares;
}

/** A metric that counts by itself, as all processes must know it to compute it. */
export interface SharedObject {
  readonly key: string;
  readonly meta: MetricMeta;
  readonly attribute: string;
}

/** Metrics that count by themselves whose epoch's value this process does not know yet. */
export function objectsToCompute(results: Results): SharedObject[] {
  return [...results.objects].flatMap(([key, { meta, attribute, waits }]) =>
    waits && meta.onEpoch ? [{ key, meta, attribute }] : [],
  );
}

/** All processes compute what any of them has logged: a process without a batch adds a metric that has seen nothing. */
export function computeTogether(results: Results, all: readonly (readonly SharedObject[])[], module: nn.Module): void {
  const known = new Map<string, SharedObject>();
  for (const each of all.flat()) if (!known.has(each.key)) known.set(each.key, each);
  for (const { key, meta, attribute } of known.values()) results.object(key, meta, attribute, module)?.epoch();
}

/**
 * Takes in what all processes had, in the order of ranks, so that all come to the same number. A metric that some have
 * not logged is reduced over the others.
 *
 * @throws {MisconfigurationError} ERR_LOG_RANKS where processes log one name with different options.
 */
export function takeShares(results: Results, all: readonly (readonly SharedMetric[])[], onStep: boolean): void {
  const byKey = new Map<string, SharedMetric[]>();
  all.forEach((shares, rank) => {
    for (const share of shares) {
      const others = byKey.get(share.key);
      if (others === undefined) byKey.set(share.key, [share]);
      else others.push(checkSame(share, others[0], rank));
    }
  });
  for (const [key, shares] of byKey) {
    const [first] = shares;
    if (first !== undefined) results.entry(key, first.meta).ofAll(onStep, reduced(first.meta, shares));
  }
}

function checkSame(share: SharedMetric, first: SharedMetric | undefined, rank: number): SharedMetric {
  const { name, reduceFx } = share.meta;
  if (first !== undefined && first.meta.reduceFx !== reduceFx)
    throw new MisconfigurationError(
      "log",
      `the same options for ${JSON.stringify(name)} in every process`,
      verbatim(
        `reduceFx: ${JSON.stringify(reduceFx)} on rank ${rank}, ${JSON.stringify(first.meta.reduceFx)} before it`,
      ),
      "Use another name, or the same options.",
      "ERR_LOG_RANKS",
    );
  return share;
}

/** As one process would have reduced the values of all. Of a step's values the mean is weighted by batch sizes too. */
function reduced({ reduceFx }: MetricMeta, shares: readonly SharedMetric[]): number {
  const values = shares.map((s) => s.value);
  const round = shares.some((s) => s.wide) ? (value: number): number => value : Math.fround;
  const total = (numbers: readonly number[]): number => numbers.reduce((a, b) => a + b, 0);
  switch (reduceFx) {
    case "min":
      return Math.min(...values);
    case "max":
      return Math.max(...values);
    case "sum":
      return round(total(values));
    default:
      return round(total(values) / total(shares.map((s) => s.weight)));
  }
}
