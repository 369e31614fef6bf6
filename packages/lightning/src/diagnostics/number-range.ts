import {
  atMost,
  amp,
  bincount,
  checkArguments,
  dtypeKind,
  frexp,
  kinds,
  maskedSelect,
  noGrad,
  scope,
  tensorKind,
} from "@nbit/torch";
import type { DType, Tensor } from "@nbit/torch";

/** What a floating dtype can hold, as powers of two. */
export interface DTypeRange {
  /** Numbers of 2^(`largest` + 1) and more overflow. */
  readonly largest: number;
  /** Below 2^`normal` digits are lost one by one. */
  readonly normal: number;
  /** The smallest number above zero is 2^`smallest`. */
  readonly smallest: number;
}

const RANGES: Partial<Record<DType, DTypeRange>> = {
  float16: { largest: 15, normal: -14, smallest: -24 },
  bfloat16: { largest: 127, normal: -126, smallest: -133 },
  float32: { largest: 127, normal: -126, smallest: -149 },
  float64: { largest: 1023, normal: -1022, smallest: -1074 },
  float8_e4m3fn: { largest: 8, normal: -6, smallest: -9 },
  float8_e5m2: { largest: 15, normal: -14, smallest: -16 },
};

export function rangeOf(dtype: DType): DTypeRange {
  atMost("rangeOf", arguments, 1);
  checkArguments("rangeOf", { dtype }, { dtype: dtypeKind });
  return RANGES[dtype] ?? { largest: 127, normal: -126, smallest: -149 };
}

/** The magnitudes of many numbers. Plain data: it goes into JSON as it is. */
export interface NumberRange {
  readonly count: number;
  readonly zeros: number;
  readonly infinities: number;
  readonly nans: number;
  /** Smallest and largest finite magnitude above zero; null when there is none. */
  readonly smallest: number | null;
  readonly largest: number | null;
  /** `counts[i]` numbers have a magnitude in [2^(`exponent` + i), 2^(`exponent` + i + 1)). */
  readonly exponent: number;
  readonly counts: readonly number[];
}

/** Shares of all numbers, in 0…1, if they were kept in a dtype. */
export interface RangeShares {
  /** Would become zero, or has. Numbers that are zero already do not count: nobody knows why they are. */
  readonly lost: number;
  /** Would keep only part of their digits. */
  readonly subnormal: number;
  /** Would become infinite, or are not finite now. */
  readonly overflow: number;
}

const { having, listOf, orNull, real, whole } = kinds;
const COUNT = whole("[0, ∞)");
const RANGE = having<NumberRange>("what measureRange returns", {
  count: COUNT,
  zeros: COUNT,
  infinities: COUNT,
  nans: COUNT,
  smallest: orNull(real()),
  largest: orNull(real()),
  exponent: whole("[-5000, 5000]"),
  counts: listOf(COUNT),
});

export const NOTHING: NumberRange = Object.freeze({
  count: 0,
  zeros: 0,
  infinities: 0,
  nans: 0,
  smallest: null,
  largest: null,
  exponent: 0,
  counts: [],
});

/**
 * Count the magnitudes of a tensor by powers of two. Reads it once: waits for the device.
 * Dtypes: any floating one; sparse tensors count what they store.
 */
export function measureRange(tensor: Tensor): NumberRange {
  atMost("measureRange", arguments, 1);
  checkArguments("measureRange", { tensor }, { tensor: tensorKind });
  return scope(() =>
    noGrad(() =>
      amp.autocast({ deviceType: tensor.device.type, enabled: false }, () => {
        const dense = tensor.isSparse ? tensor.detach().coalesce().values() : tensor.detach();
        const x = (dense.dtype === "float64" ? dense : dense.to("float32")).abs().flatten();
        const count = x.numel();
        if (count === 0) return NOTHING;
        const nans = x.isnan().sum().item();
        const infinities = x.isinf().sum().item();
        const finite = maskedSelect(x, x.isfinite().logicalAnd(x.ne(0)));
        const kept = finite.numel();
        const zeros = count - Number(nans) - Number(infinities) - kept;
        const base = { count, zeros, infinities: Number(infinities), nans: Number(nans) };
        if (kept === 0) return { ...base, smallest: null, largest: null, exponent: 0, counts: [] };
        // frexp's mantissa is in [0.5, 1): its exponent is one above ours.
        const exponents = (frexp(finite)[1] as Tensor).to("int64").sub(1);
        const exponent = Number(exponents.min().item());
        const counts = bincount(exponents.sub(exponent)).tolist() as number[];
        return {
          ...base,
          smallest: Number(finite.min().item()),
          largest: Number(finite.max().item()),
          exponent,
          counts,
        };
      }),
    ),
  );
}

export function mergeRanges(a: NumberRange, b: NumberRange): NumberRange {
  checkArguments("mergeRanges", { a, b }, { a: RANGE, b: RANGE });
  if (a.count === 0) return b;
  if (b.count === 0) return a;
  const least = (x: number | null, y: number | null): number | null =>
    x === null ? y : y === null ? x : Math.min(x, y);
  const most = (x: number | null, y: number | null): number | null =>
    x === null ? y : y === null ? x : Math.max(x, y);
  const parts = [a, b].filter((r) => r.counts.length > 0);
  const exponent = parts.length === 0 ? 0 : Math.min(...parts.map((r) => r.exponent));
  const end = parts.length === 0 ? 0 : Math.max(...parts.map((r) => r.exponent + r.counts.length));
  const counts = new Array<number>(end - exponent).fill(0);
  for (const r of parts)
    r.counts.forEach((n, i) => (counts[r.exponent - exponent + i] = (counts[r.exponent - exponent + i] ?? 0) + n));
  return {
    count: a.count + b.count,
    zeros: a.zeros + b.zeros,
    infinities: a.infinities + b.infinities,
    nans: a.nans + b.nans,
    smallest: least(a.smallest, b.smallest),
    largest: most(a.largest, b.largest),
    exponent,
    counts,
  };
}

/** What a dtype would make of these numbers, each multiplied by 2^`shift` before. */
export function sharesIn(range: NumberRange, dtype: DType, shift = 0): RangeShares {
  atMost("sharesIn", arguments, 3);
  checkArguments("sharesIn", { range, shift }, { range: RANGE, shift: kinds.real() });
  const { largest, normal, smallest } = rangeOf(dtype);
  let lost = 0;
  let subnormal = 0;
  let overflow = range.infinities + range.nans;
  range.counts.forEach((n, i) => {
    const exponent = range.exponent + i + shift;
    // Half of the smallest number still rounds up to it.
    if (exponent < smallest - 1) lost += n;
    else if (exponent < normal) subnormal += n;
    else if (exponent > largest) overflow += n;
  });
  const of = Math.max(1, range.count);
  return { lost: lost / of, subnormal: subnormal / of, overflow: overflow / of };
}
