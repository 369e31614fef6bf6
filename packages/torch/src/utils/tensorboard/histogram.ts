/** Counts of values in bins. */
import { ArgumentError } from "../../errors.js";
import { Message } from "../../io/protobuf.js";

/** Rules that choose the width of equal bins from the values, as NumPy's of these names. */
export type BinRule = "auto" | "doane" | "fd" | "rice" | "scott" | "sqrt" | "sturges";
/** TensorFlow's bins, which grow by a tenth from 1e-12 to 1e20 on both sides of 0; edges; how many; or a rule. */
export type Bins = "tensorflow" | BinRule | number | readonly number[];

export const BIN_RULES = ["auto", "doane", "fd", "rice", "scott", "sqrt", "sturges"] as const;

let tensorflow: Float64Array | null = null;
function defaultEdges(): Float64Array {
  if (tensorflow !== null) return tensorflow;
  const positive: number[] = [];
  for (let v = 1e-12; v < 1e20; v *= 1.1) positive.push(v);
  return (tensorflow = Float64Array.from([...positive.map((v) => -v).reverse(), 0, ...positive]));
}

export interface HistogramData {
  readonly min: number;
  readonly max: number;
  readonly num: number;
  readonly sum: number;
  readonly sumSquares: number;
  /** Upper limits of buckets, and how many values are in each. */
  readonly bucketLimits: ArrayLike<number>;
  readonly bucketCounts: ArrayLike<number>;
}

/** `HistogramProto`. */
export function histogramProto(data: HistogramData): Message {
  const histogram = new Message();
  [data.min, data.max, data.num, data.sum, data.sumSquares].forEach((value, i) => {
    if (!Object.is(value, 0)) histogram.double(i + 1, value);
  });
  return histogram.doubles(6, data.bucketLimits).doubles(7, data.bucketCounts);
}

/** @throws {ArgumentError} for no values, for values that all lie outside of the bins, and for ones of no range. */
export function histogramOf(fn: string, values: Float64Array, bins: Bins, maxBins: number | null): HistogramData {
  if (values.length === 0) throw new ArgumentError(fn, "values that are not empty", values);
  const facts = factsOf(values);
  const edges = edgesOf(fn, values, facts, bins);
  const coarse = coarser(countsIn(values, edges), edges, maxBins);
  const first = coarse.counts.findIndex((n) => n > 0);
  if (first === -1) throw new ArgumentError(fn, "a value within the bins", values);
  const last = coarse.counts.findLastIndex((n) => n > 0);
  // Readers know upper limits alone: a bucket of nothing before the first says where that begins.
  const before = first === 0 ? [0] : [coarse.counts[first - 1] as number];
  return {
    ...facts,
    num: values.length,
    bucketLimits: coarse.edges.slice(first, last + 2),
    bucketCounts: [...before, ...coarse.counts.slice(first, last + 1)],
  };
}

interface Facts {
  readonly min: number;
  readonly max: number;
  readonly sum: number;
  readonly sumSquares: number;
}
function factsOf(values: Float64Array): Facts {
  let [min, max, sum, sumSquares] = [Infinity, -Infinity, 0, 0];
  for (const value of values) {
    // NaN is the least and the greatest, as NumPy has it.
    if (value < min || Number.isNaN(value)) min = value;
    if (value > max || Number.isNaN(value)) max = value;
    sum += value;
    sumSquares += value * value;
  }
  return Number.isNaN(sum - sum) && values.some(Number.isNaN)
    ? { min: NaN, max: NaN, sum: NaN, sumSquares: NaN }
    : { min, max, sum, sumSquares };
}

function edgesOf(fn: string, values: Float64Array, { min, max }: Facts, bins: Bins): Float64Array {
  if (bins === "tensorflow") return defaultEdges();
  if (typeof bins === "object") {
    const rising = bins.length > 1 && bins.every((edge, i) => i === 0 || edge >= (bins[i - 1] as number));
    if (!rising) throw new ArgumentError(fn, "bins to be edges that do not fall, at least two", bins);
    return Float64Array.from(bins);
  }
  if (!Number.isFinite(max - min)) throw new ArgumentError(fn, `finite values, for bins ${String(bins)}`, [min, max]);
  const [low, high] = min === max ? [min - 0.5, max + 0.5] : [min, max];
  const n = typeof bins === "number" ? bins : Math.max(1, countBy(bins, values, max - min));
  const step = (high - low) / n;
  return Float64Array.from({ length: n + 1 }, (_, i) => (i === n ? high : low + i * step));
}

/** How many bins a rule wants. */
function countBy(rule: BinRule, values: Float64Array, range: number): number {
  const width = WIDTHS[rule](values, range);
  return width > 0 ? Math.ceil(range / width) : 1;
}

const WIDTHS: Readonly<Record<BinRule, (values: Float64Array, range: number) => number>> = {
  sqrt: (values, range) => range / Math.sqrt(values.length),
  sturges: (values, range) => range / (Math.log2(values.length) + 1),
  rice: (values, range) => range / (2 * Math.cbrt(values.length)),
  scott: (values) => Math.cbrt((24 * Math.sqrt(Math.PI)) / values.length) * deviation(values),
  fd: (values) => {
    const sorted = Float64Array.from(values).sort();
    return (2 * (quantile(sorted, 0.75) - quantile(sorted, 0.25))) / Math.cbrt(values.length);
  },
  doane: (values, range) => {
    const n = values.length;
    const sd = deviation(values);
    if (n <= 2 || sd === 0) return 0;
    const mean = meanOf(values);
    const skew = values.reduce((sum, v) => sum + ((v - mean) / sd) ** 3, 0) / n;
    const spread = Math.sqrt((6 * (n - 2)) / ((n + 1) * (n + 3)));
    return range / (1 + Math.log2(n) + Math.log2(1 + Math.abs(skew) / spread));
  },
  auto: (values, range) => {
    const sturges = WIDTHS.sturges(values, range);
    const fd = Math.max(WIDTHS.fd(values, range), WIDTHS.sqrt(values, range) / 2);
    return Math.min(fd, sturges);
  },
};
const meanOf = (values: Float64Array): number => values.reduce((a, b) => a + b, 0) / values.length;
function deviation(values: Float64Array): number {
  const mean = meanOf(values);
  return Math.sqrt(values.reduce((sum, v) => sum + (v - mean) ** 2, 0) / values.length);
}
function quantile(sorted: Float64Array, q: number): number {
  const at = (sorted.length - 1) * q;
  const low = sorted[Math.floor(at)] as number;
  return low + ((sorted[Math.ceil(at)] as number) - low) * (at - Math.floor(at));
}

/** How many values lie in each bin, from its lower edge to below the next; the last has both. */
function countsIn(values: Float64Array, edges: Float64Array): number[] {
  const counts = new Array<number>(edges.length - 1).fill(0);
  const last = edges.length - 1;
  for (const value of values) {
    if (!(value >= (edges[0] as number) && value <= (edges[last] as number))) continue;
    let [low, high] = [0, last];
    while (high - low > 1) {
      const middle = (low + high) >> 1;
      if ((edges[middle] as number) <= value) low = middle;
      else high = middle;
    }
    counts[low] = (counts[low] as number) + 1;
  }
  return counts;
}

interface Counted {
  readonly counts: number[];
  readonly edges: number[];
}
/** Several bins as one, until there are about `maxBins`. */
function coarser(counts: number[], edges: Float64Array, maxBins: number | null): Counted {
  if (maxBins === null || counts.length <= maxBins) return { counts, edges: Array.from(edges) };
  const every = Math.floor(counts.length / maxBins);
  const merged: number[] = [];
  const limits: number[] = [];
  for (let i = 0; i < counts.length; i += every) {
    merged.push(counts.slice(i, i + every).reduce((a, b) => a + b, 0));
    limits.push(edges[i] as number);
  }
  limits.push(edges[edges.length - 1] as number);
  return { counts: merged, edges: limits };
}
