/** A curve: x ascending, both lists of one length. NaN and infinite values are gaps. */
export interface Series {
  readonly name: string;
  /** Index of its run, by which it is drawn. */
  readonly colour: number;
  readonly x: readonly number[];
  readonly y: readonly number[];
  /** What `y` was before smoothing, drawn faintly behind it. */
  readonly raw?: readonly number[];
  /** Events on the curve: steps that were skipped. */
  readonly marks?: readonly Mark[];
}

export interface Mark {
  readonly x: number;
  readonly y: number;
  readonly text: string;
}

/** More points than a chart has pixels make the file large and the curve no better. */
const MAX_POINTS = 600;

/**
 * Centred moving average over `span` points. Near the start, where losses fall fast, it narrows so as not to lag; near
 * the end it keeps the points before. Gaps stay gaps and do not count.
 */
export function smooth(values: readonly number[], span: number): number[] {
  const sums = [0];
  const counts = [0];
  for (const value of values) {
    const finite = Number.isFinite(value);
    sums.push((sums.at(-1) ?? 0) + (finite ? value : 0));
    counts.push((counts.at(-1) ?? 0) + (finite ? 1 : 0));
  }
  const half = Math.floor(span / 2);
  return values.map((value, i) => {
    if (!Number.isFinite(value)) return value;
    const before = Math.min(half, i);
    const after = Math.min(before, values.length - 1 - i);
    const total = (sums[i + after + 1] ?? 0) - (sums[i - before] ?? 0);
    return total / ((counts[i + after + 1] ?? 0) - (counts[i - before] ?? 0));
  });
}

/**
 * Thin a series to at most `MAX_POINTS` points: of each stretch, the points where the raw values are lowest and highest
 * stay, so spikes stay visible. The first and the last point always stay.
 */
export function thin(series: Series): Series {
  const { x, y, raw } = series;
  if (x.length <= MAX_POINTS) return series;
  const shape = raw ?? y;
  const stretches = MAX_POINTS / 2 - 1;
  const keep = new Set<number>([0, x.length - 1]);
  for (let s = 0; s < stretches; s++) {
    const start = Math.floor((s * x.length) / stretches);
    const stop = Math.floor(((s + 1) * x.length) / stretches);
    let low = start;
    let high = start;
    for (let i = start; i < stop; i++) {
      if ((shape[i] ?? 0) < (shape[low] ?? 0)) low = i;
      if ((shape[i] ?? 0) > (shape[high] ?? 0) || !Number.isFinite(shape[i] ?? 0)) high = i;
    }
    keep.add(low).add(high);
  }
  const kept = [...keep].sort((a, b) => a - b);
  const pick = (values: readonly number[]): number[] => kept.map((i) => values[i] ?? Number.NaN);
  return { ...series, x: pick(x), y: pick(y), ...(raw === undefined ? {} : { raw: pick(raw) }) };
}
