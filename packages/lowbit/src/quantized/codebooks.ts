/** The sixteen values that 4-bit codes stand for. */
import { atMost, NbitError, outsideScopes, tensor, type Device, type Tensor } from "@nbit/torch";
import { dynamicMap } from "../map.js";

/** The inverse of the normal distribution function. */
function quantile(p: readonly number[]): number[] {
  const x = tensor([...p], { dtype: "float64" });
  const z = x.mul(2).sub(1).erfinv().mul(Math.SQRT2);
  const values = z.tolist() as number[];
  for (const t of [x, z]) t.dispose();
  return values;
}
const between = (from: number, to: number, n: number): number[] =>
  Array.from({ length: n }, (_, i) => from + ((to - from) * i) / (n - 1));

/**
 * NormalFloat: quantiles of the normal distribution, so that each code is used about as often for weights that are
 * normal. Eight negative, zero, and seven positive ones, the outer probability chosen so that both sides end alike;
 * divided by the largest. Ascending; zero is code 7.
 * @see Dettmers et al., 2023, QLoRA, arXiv:2305.14314, equation 4.
 */
export function nf4Map(): number[] {
  atMost("nf4Map", arguments, 0);
  const outer = 0.9677083;
  const positive = quantile(between(outer, 0.5, 9).slice(0, -1));
  const negative = quantile(between(outer, 0.5, 8).slice(0, -1)).map((v) => -v);
  const values = [...positive, 0, ...negative].sort((a, b) => a - b);
  const largest = Math.max(...values.map(Math.abs));
  return values.map((v) => v / largest);
}

/**
 * A sign, two bits of exponent, one of mantissa, and one subnormal, by code: bit 3 is the sign. Divided by the largest,
 * 12.
 */
export function fp4Map(): number[] {
  atMost("fp4Map", arguments, 0);
  const magnitudes = [0, 0.0625, 8, 12, 4, 6, 2, 3].map((v) => v / 12);
  return [...magnitudes, ...magnitudes.map((v) => -v)];
}

export interface Codebook {
  /** Values by code, float32. */
  readonly values: Tensor;
  /** Midpoints of the ascending values, and the code of each of those; null where codes ascend. */
  readonly midpoints: Tensor;
  readonly order: Tensor | null;
  /** `[256, 2]`: the two values of a byte, the first in the high half. 4 bits only. */
  readonly pairs: Tensor | null;
}

const MAPS = { nf4: nf4Map, fp4: fp4Map, dynamic8: () => dynamicMap(true) } as const;
export type CodebookName = keyof typeof MAPS;
const made = new Map<string, Codebook>();

/** @internal A codebook on a device; lives as long as the process. */
export function codebook(name: CodebookName, device: Device): Codebook {
  const key = `${name} ${device.toString()}`;
  const found = made.get(key);
  if (found !== undefined) return found;
  const book = outsideScopes(() => build(MAPS[name](), device));
  made.set(key, book);
  return book;
}

function build(values: readonly number[], device: Device): Codebook {
  const exact = values.map(Math.fround);
  const codes = exact.map((_, i) => i).sort((a, b) => at(exact, a) - at(exact, b) || a - b);
  // Of the two zeros of fp4 one suffices.
  const used = codes.filter((c, i) => i === 0 || at(exact, c) !== at(exact, codes[i - 1] ?? c));
  const ascending = used.map((c) => at(exact, c));
  const midpoints = ascending.slice(1).map((v, i) => (v + at(ascending, i)) / 2);
  const sorted = used.every((c, i) => c === i);
  const on = { dtype: "float32", device } as const;
  return {
    values: tensor(exact, on),
    midpoints: tensor(midpoints, on),
    order: sorted ? null : tensor(used, { dtype: "uint8", device }),
    pairs:
      exact.length === 16
        ? tensor(
            Array.from({ length: 256 }, (_, byte) => [at(exact, byte >> 4), at(exact, byte & 15)]),
            on,
          )
        : null,
  };
}
function at(list: readonly number[], i: number): number {
  const v = list[i];
  if (v === undefined)
    throw new NbitError(`codebook: expected an index below ${list.length}. Received: ${i}.`, "ERR_INTERNAL");
  return v;
}
