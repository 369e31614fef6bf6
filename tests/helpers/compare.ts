/**
 * Comparing a tensor with recorded bytes: shape, dtype, then every element; the answer is a description a person can
 * act on.
 */
import { tensorFromBytes, viewAsReal, type DType, type Tensor } from "@nbit/torch";

export interface Recorded {
  readonly shape: readonly number[];
  readonly dtype: DType;
  /** base64 of the little-endian elements in row-major order. */
  readonly data: string;
}
export interface Tolerance {
  readonly rtol: number;
  readonly atol: number;
}

/** The recorded tensor, for printing and for arithmetic comparison. */
export function revive(recorded: Recorded): Tensor {
  return tensorFromBytes(Buffer.from(recorded.data, "base64"), recorded.dtype, recorded.shape);
}

/** Values as doubles; complex numbers as pairs. */
function doubles(t: Tensor): ArrayLike<number> {
  const real = t.isComplex() ? viewAsReal(t.resolveConj()) : t;
  const values = real.detach().double().contiguous().toTypedArray();
  return values as Float64Array;
}

function bits(value: number, bytes: Uint8Array, at: number, size: number): string {
  const raw = Buffer.from(bytes.subarray(at * size, (at + 1) * size))
    .reverse()
    .toString("hex");
  return `${String(value)} (0x${raw})`;
}

/**
 * Null when equal, else what differs. Two NaNs are equal whatever their payload; 0 and -0 are not, unless a tolerance
 * is given.
 */
export function difference(
  what: string,
  actual: Tensor,
  expected: Recorded,
  tolerance: Tolerance | null = null,
): string | null {
  if (actual.dtype !== expected.dtype) return `${what}: dtype ${actual.dtype}, expected ${expected.dtype}`;
  const shape = actual.shape;
  if (shape.length !== expected.shape.length || shape.some((n, i) => n !== expected.shape[i])) {
    return `${what}: shape [${shape.join(", ")}], expected [${expected.shape.join(", ")}]`;
  }
  const plain = actual.isComplex() ? actual.detach().resolveConj() : actual.detach();
  const got = new Uint8Array(plain.toBytes());
  const want = new Uint8Array(Buffer.from(expected.data, "base64"));
  if (got.length === want.length && Buffer.compare(got, want) === 0) return null;
  if (got.length !== want.length) return `${what}: ${got.length} bytes, expected ${want.length}`;
  const a = doubles(actual);
  const b = doubles(revive(expected));
  const size = a.length === 0 ? 1 : got.length / a.length;
  const wrong: string[] = [];
  let count = 0;
  let worst = 0;
  for (let i = 0; i < a.length; i++) {
    const x = a[i] as number;
    const y = b[i] as number;
    if (Number.isNaN(x) && Number.isNaN(y)) continue;
    const near =
      tolerance === null
        ? Buffer.compare(got.subarray(i * size, (i + 1) * size), want.subarray(i * size, (i + 1) * size)) === 0
        : Math.abs(x - y) <= tolerance.atol + tolerance.rtol * Math.abs(y);
    if (near) continue;
    count++;
    worst = Math.max(worst, Math.abs(x - y));
    if (wrong.length < 4) wrong.push(`  [${i}] got ${bits(x, got, i, size)}, expected ${bits(y, want, i, size)}`);
  }
  if (count === 0) return null;
  return `${what} ${expected.dtype} [${expected.shape.join(", ")}]: ${count} of ${a.length} elements differ, by up to ${worst.toPrecision(3)}\n${wrong.join("\n")}`;
}
