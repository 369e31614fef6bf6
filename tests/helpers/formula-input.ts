/**
 * Inputs by formula: elements come from an integer hash of (seed, index), so that Python and TypeScript make equal
 * tensors without a file.
 */
import { tensor, viewAsComplex, type DType, type Tensor } from "@nbit/torch";

export type EncodedNumber = number | boolean | { readonly number: string } | readonly [number, number];
export type Fill =
  readonly ["uniform" | "integers" | "bools", number, number, number] | readonly ["values", readonly EncodedNumber[]];
export interface InputSpec {
  readonly shape: readonly number[];
  readonly dtype: DType;
  readonly fill: Fill;
  readonly layout?: "transposed" | "strided" | "expanded" | "channelsLast";
  readonly grad?: boolean;
}

/** `n` numbers in [0, 1) with 32 bits each. `dsl.py` has the same lines. */
export function hashed(seed: number, n: number): Float64Array {
  const out = new Float64Array(n);
  for (let i = 0; i < n; i++) {
    let x = (Math.imul(i, 2654435761) + seed) >>> 0;
    x = Math.imul(x ^ (x >>> 16), 0x45d9f3b) >>> 0;
    x = Math.imul(x ^ (x >>> 16), 0x45d9f3b) >>> 0;
    out[i] = ((x ^ (x >>> 16)) >>> 0) / 2 ** 32;
  }
  return out;
}

/** JSON has no NaN and no infinity. */
export function decodeNumber(value: EncodedNumber): number {
  if (typeof value === "object" && "number" in value)
    return value.number === "nan" ? NaN : value.number === "inf" ? Infinity : -Infinity;
  return Number(value);
}

const isComplex = (dtype: DType): boolean => dtype.startsWith("complex");
const product = (shape: readonly number[]): number => shape.reduce((a, b) => a * b, 1);

/** Float64 elements (real and imaginary parts in turn for complex dtypes) shaped and cast. */
export function fromDoubles(data: Float64Array, shape: readonly number[], dtype: DType): Tensor {
  if (!isComplex(dtype)) return tensor(data).reshape(shape).to(dtype);
  return viewAsComplex(tensor(data).reshape([...shape, 2])).to(dtype);
}

function baseShape(spec: InputSpec): number[] {
  const shape = [...spec.shape];
  const last = shape.length - 1;
  if (spec.layout === "transposed") [shape[last], shape[last - 1]] = [shape[last - 1] ?? 1, shape[last] ?? 1];
  else if (spec.layout === "strided") shape[last] = (shape[last] ?? 1) * 2;
  else if (spec.layout === "expanded") shape[0] = 1;
  return shape;
}

/** The contiguous leaf that {@link layOut} turns into the argument; gradients are those of this leaf. */
export function makeBase(spec: InputSpec): Tensor {
  const shape = baseShape(spec);
  const n = product(shape) * (isComplex(spec.dtype) ? 2 : 1);
  let data: Float64Array;
  if (spec.fill[0] === "values") data = Float64Array.from(spec.fill[1], decodeNumber);
  else {
    const [kind, seed, lo, hi] = spec.fill;
    const unit = hashed(seed, n);
    data = kind === "bools" ? unit.map((u) => (u < 0.5 ? 1 : 0)) : unit.map((u) => lo + (hi - lo) * u);
    if (kind === "integers") data = data.map(Math.floor);
  }
  return fromDoubles(data, shape, spec.dtype);
}

export function layOut(spec: InputSpec, base: Tensor): Tensor {
  switch (spec.layout) {
    case "transposed":
      return base.transpose(-1, -2);
    case "strided":
      return base.slice(-1, 0, null, 2);
    case "expanded":
      return base.expand(spec.shape);
    case "channelsLast":
      return base.to({ memoryFormat: "channelsLast" });
    default:
      return base;
  }
}
