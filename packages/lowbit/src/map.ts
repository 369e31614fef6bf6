/** Codebooks: the values that codes stand for. */
import { atMost, checkArguments, kinds, outsideScopes, tensor, type Tensor } from "@nbit/torch";

/**
 * The dynamic map of 8-bit optimizers: seven decades, each with twice the values of the one below, so that small and
 * large values keep a similar relative error.
 *
 * For i in 0…6: n = 2^i + 1 (signed) or 2^(i+1) + 1; b = n points from 0.1 to 1; the values 10^(i-6) · midpoints of b,
 * with their negatives when signed; and 0 and 1. Exactly 256, ascending; signed: 0 is code 127.
 * @see Dettmers, 2016, arXiv:1511.04561; Dettmers et al., 2022, arXiv:2110.02861.
 */
export function dynamicMap(signed: boolean): number[] {
  atMost("dynamicMap", arguments, 1);
  const values: number[] = [0, 1];
  for (let i = 0; i < 7; i++) {
    const n = (signed ? 2 ** i : 2 ** (i + 1)) + 1;
    const points = Array.from({ length: n }, (_, k) => 0.1 + (0.9 * k) / (n - 1));
    for (let k = 0; k + 1 < n; k++) {
      const mid = (((points[k] as number) + (points[k + 1] as number)) / 2) * 10 ** (i - 6);
      values.push(mid);
      if (signed) values.push(-mid);
    }
  }
  return values.sort((a, b) => a - b);
}

/**
 * Evenly spaced values. Signed: k / 2^(bits-1) up to 1, with as many below 0 as above but one; 0 is code 2^(bits-1) -
 * 1, so that what is zero stays zero. Unsigned, for second moments: k / 2^bits from k = 1 on, without zero, so that
 * none can vanish.
 */
export function linearMap(signed: boolean, bits: 4 | 8): number[] {
  atMost("linearMap", arguments, 2);
  checkArguments("linearMap", { signed, bits }, { signed: kinds.flag, bits: kinds.oneOf(4, 8) });
  const n = 2 ** bits;
  return Array.from({ length: n }, (_, i) => (signed ? (i + 1 - n / 2) / (n / 2) : (i + 1) / n));
}

/** The dynamic map in 4 bits: three decades. @see Li, Chen and Zhu, 2023, arXiv:2309.01507. */
export function dynamicMap4(signed: boolean): number[] {
  atMost("dynamicMap4", arguments, 1);
  const values: number[] = [0, 1];
  for (let i = 0; i < 3; i++) {
    const n = (signed ? 2 ** i : 2 ** (i + 1)) + 1;
    const points = Array.from({ length: n }, (_, k) => 0.1 + (0.9 * k) / (n - 1));
    for (let k = 0; k + 1 < n; k++) {
      const mid = (((points[k] as number) + (points[k + 1] as number)) / 2) * 10 ** (i - 2);
      values.push(mid);
      if (signed) values.push(-mid);
    }
  }
  return values.sort((a, b) => a - b);
}

const tensors = new Map<string, Tensor>();
/** @internal A map as a float32 tensor that lives as long as the process. */
export function mapTensor(name: string, values: () => number[]): Tensor {
  let found = tensors.get(name);
  if (found === undefined || found.disposed) {
    found = outsideScopes(() => tensor(values(), { dtype: "float32" }));
    tensors.set(name, found);
  }
  return found;
}
