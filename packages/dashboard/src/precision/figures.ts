import type { ModulePrecision, NumberRange, OperatorUse, StepPrecisionData } from "./data.js";

/** Powers of two that a dtype can hold: overflow above `largest`, digits lost below `normal`, zero below `smallest`. */
export interface Limits {
  readonly largest: number;
  readonly normal: number;
  readonly smallest: number;
}

export function limitsOf(dtype: string): Limits {
  switch (dtype) {
    case "float16":
      return { largest: 15, normal: -14, smallest: -24 };
    case "bfloat16":
      return { largest: 127, normal: -126, smallest: -133 };
    case "float64":
      return { largest: 1023, normal: -1022, smallest: -1074 };
    case "float8_e4m3fn":
      return { largest: 8, normal: -6, smallest: -9 };
    case "float8_e5m2":
      return { largest: 15, normal: -14, smallest: -16 };
    default:
      return { largest: 127, normal: -126, smallest: -149 };
  }
}

export interface Shares {
  readonly lost: number;
  readonly subnormal: number;
  readonly overflow: number;
}

export function sharesOf(range: NumberRange, limits: Limits, shift = 0): Shares {
  const sum = { lost: 0, subnormal: 0, overflow: range.infinities + range.nans };
  range.counts.forEach((n, i) => {
    const e = range.exponent + i + shift;
    if (e < limits.smallest - 1) sum.lost += n;
    else if (e < limits.normal) sum.subnormal += n;
    else if (e > limits.largest) sum.overflow += n;
  });
  const of = Math.max(1, range.count);
  return { lost: sum.lost / of, subnormal: sum.subnormal / of, overflow: sum.overflow / of };
}

/** Seconds of some operators by dtype, casts apart. */
export interface Split {
  readonly seconds: number;
  readonly casts: number;
  readonly castSeconds: number;
  readonly byDtype: ReadonlyMap<string, number>;
}

export function splitOf(operators: readonly OperatorUse[]): Split {
  const byDtype = new Map<string, number>();
  let seconds = 0;
  let casts = 0;
  let castSeconds = 0;
  for (const o of operators) {
    seconds += o.seconds;
    casts += o.casts;
    castSeconds += Math.min(o.castSeconds, o.seconds);
    const key = o.dtype ?? "other";
    byDtype.set(key, (byDtype.get(key) ?? 0) + Math.max(0, o.seconds - o.castSeconds));
  }
  return { seconds, casts, castSeconds, byDtype };
}

/** One order of dtypes for bars and legend: 16 bits first, as they are what one looks for. */
const ORDER = ["float8_e4m3fn", "float8_e5m2", "float16", "bfloat16", "float32", "float64", "other"];
export function ordered(dtypes: Iterable<string>): string[] {
  const rank = (d: string): number => (ORDER.includes(d) ? ORDER.indexOf(d) : ORDER.length);
  return [...new Set(dtypes)].sort((a, b) => rank(a) - rank(b));
}

export function gradientsOf(m: ModulePrecision): NumberRange | null {
  return m.activationGradients ?? m.parameterGradients;
}

/** All ranges of one kind as one, over the modules that compute something themselves. */
export function overall(
  data: StepPrecisionData,
  pick: (m: ModulePrecision) => NumberRange | null,
  limits: Limits,
  shift = 0,
): Shares & { readonly worst: string | null } {
  let count = 0;
  const total = { lost: 0, subnormal: 0, overflow: 0 };
  let worst: string | null = null;
  let most = 0;
  for (const m of data.modules) {
    const range = m.operators.length === 0 ? null : pick(m);
    if (range === null || range.count === 0) continue;
    const shares = sharesOf(range, limits, shift);
    count += range.count;
    total.lost += shares.lost * range.count;
    total.subnormal += shares.subnormal * range.count;
    total.overflow += shares.overflow * range.count;
    if (shares.lost + shares.overflow > most) {
      most = shares.lost + shares.overflow;
      worst = m.name === "" ? "the step itself" : m.name;
    }
  }
  const of = Math.max(1, count);
  return { lost: total.lost / of, subnormal: total.subnormal / of, overflow: total.overflow / of, worst };
}
