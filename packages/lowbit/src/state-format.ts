/** State formats: how an optimizer's moments are kept between steps. A value type: codes, scales, map. */
import type { Tensor } from "@nbit/torch";

/** One quantized tensor. */
export interface Quantized {
  /** uint8, or float8: one per element (two per byte in 4 bits). */
  readonly codes: Tensor;
  /** float32, one per block: the largest magnitude in it. */
  readonly absmax: Tensor;
  readonly shape: readonly number[];
  readonly blockSize: number;
}

/** `moments4` is what Adam4bit keeps: signed as dynamic4, unsigned as linear4, whose map has no zero. */
export type FormatName = "dynamic8" | "linear8" | "dynamic4" | "linear4" | "moments4" | "float8";

export interface StateFormat {
  readonly name: FormatName;
  readonly bits: 4 | 8;
  /** In words, as `8-bit dynamic`. */
  readonly description: string;
  /**
   * float32 in; the plain ATen reference, nearest by midpoints. `keepPositive`: a value above 0 keeps a code that
   * stands for more than 0.
   */
  quantize(
    x: Tensor,
    options: { readonly signed: boolean; readonly blockSize: number; readonly keepPositive?: boolean },
  ): Quantized;
  /** float32 out. */
  dequantize(q: Quantized, signed: boolean): Tensor;
  map(signed: boolean): Tensor | null;
}
