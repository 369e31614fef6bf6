/** From high precision to float8: largest values, scales, codes. */
import { ArgumentError, atMost, cuda, finfo, full, isTensor, linalg, operators, scope, type Tensor } from "@nbit/torch";
import type { Float8DType } from "./recipes.js";

/** Which layouts are needed: the matrix itself, and its transpose (each row-major). */
export interface Wanted {
  readonly rows: boolean;
  readonly columns: boolean;
}
/** Largest magnitudes: of the whole matrix (`rows` alone, `[]`), or of each row `[M, 1]` and each column `[1, K]`. */
export interface Amax {
  readonly rows: Tensor | null;
  readonly columns: Tensor | null;
}
/** A matrix `[M, K]` in float8. value ≈ code × inverse. */
export interface Float8Matrix {
  /** `[M, K]`, row-major. */
  readonly rows: Tensor | null;
  /** Its transpose `[K, M]`, row-major. */
  readonly columns: Tensor | null;
  /** float32 `[]`, or `[M, 1]`. */
  readonly rowInverse: Tensor | null;
  /** float32 `[]`, or `[K, 1]`. */
  readonly columnInverse: Tensor | null;
}

/** Amax below this counts as this: zeros stay zeros. */
const SMALLEST = 1e-12;

/** The largest magnitude of a tensor, `[]` float32; NaN when there is one. Reads once, does not synchronize. */
export function amaxOf(x: Tensor): Tensor {
  atMost("amaxOf", arguments, 1);
  if (!isTensor(x)) throw new ArgumentError("amaxOf", "a tensor", x);
  if (!vectorized(x)) return linalg.vectorNorm(x, Infinity, null, false, { dtype: "float32" });
  return scope(() => {
    const [least, most] = x.aminmax();
    return most.maximum(least.neg()).to("float32");
  });
}
export function amaxOfRows(x: Tensor): Tensor {
  return amaxAlong(x, 1);
}
export function amaxOfColumns(x: Tensor): Tensor {
  return amaxAlong(x, 0);
}
function amaxAlong(x: Tensor, dim: 0 | 1): Tensor {
  return vectorized(x)
    ? scope(() => x.abs().amax([dim], true).to("float32"))
    : linalg.vectorNorm(x, Infinity, [dim], true, { dtype: "float32" });
}
/**
 * On the CPU the infinity norm takes one element at a time; minimum and maximum are vectorized, and ten to thirty times
 * as fast. On a GPU the norm is one kernel that writes float32.
 */
function vectorized(x: Tensor): boolean {
  return x.device.type === "cpu";
}

/** What a scale is made of: value × scale fills the format; code × inverse gives the value back. */
export function scalesOf(amax: Tensor, dtype: Float8DType): { readonly scale: Tensor; readonly inverse: Tensor } {
  const bounded = amax.clampMin(SMALLEST); // NaN stays NaN
  const { max } = finfo(dtype);
  return { scale: full([], max, { dtype: "float32", device: amax.device }).div(bounded), inverse: bounded.div(max) };
}

/** By kind, at every cast. */
function checkCast(fn: string, x: unknown, amax: unknown, dtype: unknown, wanted: unknown): void {
  if (!isTensor(x)) throw new ArgumentError(fn, "a matrix", x);
  const { rows, columns } = (amax ?? {}) as Partial<Record<keyof Amax, unknown>>;
  if (!(rows === null || isTensor(rows)) || !(columns === null || isTensor(columns)))
    throw new ArgumentError(fn, "largest magnitudes { rows, columns }, tensors or null", amax);
  if (dtype !== "float8_e4m3fn" && dtype !== "float8_e5m2")
    throw new ArgumentError(fn, "float8_e4m3fn or float8_e5m2", dtype);
  if (
    typeof wanted !== "object" ||
    wanted === null ||
    typeof Reflect.get(wanted, "rows") !== "boolean" ||
    typeof Reflect.get(wanted, "columns") !== "boolean"
  )
    throw new ArgumentError(fn, "which layouts are wanted, { rows, columns }", wanted);
}

/**
 * Codes of a matrix by plain operators, clamped to the format's range; what is not finite becomes NaN, never the
 * largest code. The kernel on CUDA returns the same codes.
 */
export function castReference(x: Tensor, amax: Amax, dtype: Float8DType, wanted: Wanted): Float8Matrix {
  atMost("castReference", arguments, 4);
  checkCast("castReference", x, amax, dtype, wanted);
  const { max } = finfo(dtype);
  const wide = x.to("float32");
  const poison = x.isfinite();
  const codes = (scale: Tensor): Tensor => {
    const v = wide.mul(scale).clamp(-max, max);
    return v.where(poison, NaN).to(dtype);
  };
  if (amax.columns === null && amax.rows !== null && amax.rows.ndim === 0) {
    const { scale, inverse } = scalesOf(amax.rows, dtype);
    const q = codes(scale);
    return {
      rows: wanted.rows ? q : null,
      columns: wanted.columns ? q.t().contiguous() : null,
      rowInverse: inverse,
      columnInverse: inverse,
    };
  }
  const byRow = amax.rows === null || !wanted.rows ? null : scalesOf(amax.rows, dtype);
  const byColumn = amax.columns === null || !wanted.columns ? null : scalesOf(amax.columns, dtype);
  return {
    rows: byRow === null ? null : codes(byRow.scale),
    columns: byColumn === null ? null : codes(byColumn.scale).t().contiguous(),
    rowInverse: byRow === null ? null : byRow.inverse,
    columnInverse: byColumn === null ? null : byColumn.inverse.view([-1, 1]),
  };
}

const capable = new Map<number, boolean>();
function hasKernel(x: Tensor): boolean {
  if (x.device.type !== "cuda" || operators("nbit")["float8_cast"] === undefined) return false;
  const index = x.device.index ?? 0;
  let found = capable.get(index);
  if (found === undefined) {
    const [major, minor] = cuda.getDeviceCapability(index);
    found = major * 10 + minor >= 89;
    capable.set(index, found);
  }
  return found;
}

/**
 * Codes of a contiguous matrix whose sides are multiples of 4. On CUDA one kernel reads it once and writes both
 * layouts; elsewhere {@link castReference}.
 */
export function castFloat8(x: Tensor, amax: Amax, dtype: Float8DType, wanted: Wanted): Float8Matrix {
  atMost("castFloat8", arguments, 4);
  checkCast("castFloat8", x, amax, dtype, wanted);
  if (!hasKernel(x)) return castReference(x, amax, dtype, wanted);
  const [rows, columns, rowInverse, columnInverse] = operators("nbit")["float8_cast"]?.(
    x,
    amax.rows,
    amax.columns,
    dtype === "float8_e5m2",
    wanted.rows,
    wanted.columns,
  ) as unknown as readonly [Tensor, Tensor, Tensor, Tensor];
  const whole = amax.columns === null && amax.rows?.ndim === 0;
  return {
    rows: wanted.rows ? rows : null,
    columns: wanted.columns ? columns : null,
    rowInverse: whole || wanted.rows ? rowInverse : null,
    columnInverse: whole ? rowInverse : wanted.columns ? columnInverse : null,
  };
}
