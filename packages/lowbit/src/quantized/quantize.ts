/** Weights in 4 and 8 bits: values, not layers. */
import {
  ArgumentError,
  atMost,
  bucketize,
  cat,
  checkOptions,
  constantPadNd,
  type DType,
  isTensor,
  kinds,
  type OptionNames,
  scope,
  type Tensor,
} from "@nbit/torch";
import { codebook, type CodebookName } from "./codebooks.js";

export type WeightFormat = "nf4" | "nf4-dq" | "fp4" | "fp4-dq" | "int8";
export const WEIGHT_FORMATS: readonly WeightFormat[] = Object.freeze(["nf4", "nf4-dq", "fp4", "fp4-dq", "int8"]);

/** Codes and scales of one weight. */
export interface QuantizedWeight {
  readonly format: WeightFormat;
  readonly shape: readonly number[];
  /** Elements that share a scale; a row's length for int8. */
  readonly blockSize: number;
  /** 4 bits: uint8 `[n / 2]`, the first of two codes in the high half. int8: int8 `[rows, columns]`. */
  readonly codes: Tensor;
  /** Largest magnitudes by block, float32; with "-dq" their codes, uint8. For int8 by row. */
  readonly absmax: Tensor;
  /**
   * "-dq": float32, largest magnitudes of the absmax by blocks of 256, and in the last place the mean that was taken
   * off before.
   */
  readonly nested: Tensor | null;
}

/** Scales that share one scale of theirs. */
const NESTED_BLOCK = 256;

/** @internal */
export function formatOf(fn: string, format: unknown): WeightFormat {
  if (!WEIGHT_FORMATS.includes(format as WeightFormat))
    throw new ArgumentError(
      fn,
      `format to be one of ${WEIGHT_FORMATS.map((f) => JSON.stringify(f)).join(", ")}`,
      format,
    );
  return format as WeightFormat;
}
export interface QuantizeWeightOptions {
  readonly format: WeightFormat;
  /** Elements that share a scale, 16 to 4096. Default 64. Not for int8, which has one scale per row. */
  readonly blockSize?: number;
}
/** @internal */
export const QUANTIZE: OptionNames<QuantizeWeightOptions> = { format: true, blockSize: kinds.whole("[16, 4096]") };
/** @internal */
export function checkWeightBlock(fn: string, blockSize: unknown): number {
  if (typeof blockSize !== "number" || !Number.isInteger(blockSize) || blockSize < 16 || blockSize > 4096)
    throw new ArgumentError(fn, "blockSize to be a whole number from 16 to 4096", blockSize);
  return blockSize;
}

/**
 * Codes of flat float32 values by blocks: the nearest of a codebook after division by the block's largest magnitude.
 */
function encode(
  flat: Tensor,
  name: CodebookName,
  blockSize: number,
): { readonly codes: Tensor; readonly absmax: Tensor } {
  const book = codebook(name, flat.device);
  const n = flat.numel();
  const short = n % blockSize;
  const blocks = (short === 0 ? flat : constantPadNd(flat, [0, blockSize - short])).view([-1, blockSize]);
  const absmax = blocks.abs().amax([1]);
  const scale = absmax.where(absmax.gt(0), absmax.add(1));
  const place = bucketize(blocks.div(scale.unsqueeze(1)), book.midpoints);
  const codes = book.order === null ? place.to("uint8") : book.order.indexSelect(0, place.view([-1]));
  return { codes: codes.view([-1]).narrow(0, 0, n), absmax };
}

/**
 * Quantize a matrix for inference and for training beside it.
 *
 * nf4 and fp4: 4-bit codes by blocks of the flattened matrix, with one float32 scale per block: 4 + 32 / blockSize bits
 * per element. "-dq" quantizes the scales too, to 8 bits by blocks of 256: 4 + 8 / blockSize + 32 / (256 · blockSize),
 * which is 4.127 at 64. int8: one float32 scale per row.
 *
 * @param weight - `[rows, columns]`, float32, bfloat16 or float16, finite. Not changed.
 * @param options.blockSize - 16 to 4096, default 64.
 * @returns Tensors on the weight's device, without a graph. Waits for the device once, to see that the weight is
 * finite.
 * @throws {ArgumentError} `quantizeWeight: expected a finite weight. Received: …`
 * @example quantizeWeight(randn([64, 64]), { format: "nf4" }).codes.nbytes; // 2048
 * @see Dettmers et al., 2023, QLoRA, arXiv:2305.14314; int8 by rows: Dettmers et al., 2022, arXiv:2208.07339.
 */
export function quantizeWeight(weight: Tensor, options: QuantizeWeightOptions): QuantizedWeight {
  atMost("quantizeWeight", arguments, 2);
  checkOptions("quantizeWeight", options, QUANTIZE);
  const fn = "quantizeWeight";
  const format = formatOf(fn, options.format);
  if (format === "int8" && options.blockSize !== undefined)
    throw new ArgumentError(fn, "blockSize to be left out for int8, which has one scale per row", options.blockSize);
  if (!isTensor(weight) || weight.ndim !== 2 || !["float32", "bfloat16", "float16"].includes(weight.dtype))
    throw new ArgumentError(fn, "a matrix in float32, bfloat16 or float16", weight);
  const blockSize = format === "int8" ? weight.size(1) : checkWeightBlock(fn, options.blockSize ?? 64);
  const shape = [...weight.shape];
  const made = scope(() => {
    const wide = weight.detach().to("float32");
    if (wide.isfinite().all().item() === 0)
      throw new ArgumentError(fn, "a finite weight", weight, "It holds NaN or infinity.");
    if (format === "int8") {
      const absmax = wide.abs().amax([1]);
      const scale = absmax.where(absmax.gt(0), absmax.add(1)).div(127);
      return { codes: wide.div(scale.unsqueeze(1)).round().to("int8"), absmax, nested: null };
    }
    const { codes, absmax } = encode(wide.reshape([-1]), format.startsWith("nf4") ? "nf4" : "fp4", blockSize);
    const even = codes.numel() % 2 === 0 ? codes : constantPadNd(codes, [0, 1]);
    const pairs = even.view([-1, 2]);
    const packed = pairs.select(1, 0).mul(16).add(pairs.select(1, 1));
    if (!format.endsWith("-dq")) return { codes: packed, absmax, nested: null };
    const mean = absmax.mean();
    const second = encode(absmax.sub(mean), "dynamic8", NESTED_BLOCK);
    return { codes: packed, absmax: second.codes.contiguous(), nested: cat([second.absmax, mean.view([1])]) };
  });
  return { format, shape, blockSize, ...made };
}

/** @internal Whether these are codes and scales of a weight, by kind: at every forward, so without a table. */
export function checkQuantized(fn: string, w: unknown): void {
  const { format, shape, blockSize, codes, absmax, nested } = (w ?? {}) as Partial<
    Record<keyof QuantizedWeight, unknown>
  >;
  if (
    !isTensor(codes) ||
    !isTensor(absmax) ||
    !(nested === null || isTensor(nested)) ||
    !Array.isArray(shape) ||
    typeof blockSize !== "number" ||
    !(blockSize >= 1)
  )
    throw new ArgumentError(fn, "what quantizeWeight returns", w);
  formatOf(fn, format);
}

/** Scales by block, float32. */
function absmaxOf(w: QuantizedWeight): Tensor {
  if (w.nested === null) return w.absmax;
  const blocks = w.nested.numel() - 1;
  const n = w.absmax.numel();
  const values = codebook("dynamic8", w.absmax.device).values.indexSelect(0, w.absmax.to("int32"));
  const scale = w.nested.narrow(0, 0, blocks).repeatInterleave(NESTED_BLOCK, 0).narrow(0, 0, n);
  return values.mul(scale).add(w.nested.narrow(0, blocks, 1));
}

/** The matrix that codes stand for, in `dtype`. A new tensor; does not synchronize. */
export function dequantizeWeight(w: QuantizedWeight, dtype: DType = "float32"): Tensor {
  atMost("dequantizeWeight", arguments, 2);
  checkQuantized("dequantizeWeight", w);
  return scope(() => {
    const [rows = 0, columns = 0] = w.shape;
    if (w.format === "int8") return w.codes.to("float32").mul(w.absmax.div(127).unsqueeze(1)).to(dtype);
    const { pairs } = codebook(w.format.startsWith("nf4") ? "nf4" : "fp4", w.codes.device);
    if (pairs === null) throw new ArgumentError("dequantizeWeight", "a 4-bit codebook", w.format);
    const n = rows * columns;
    const flat = pairs.indexSelect(0, w.codes.to("int32")).view([-1]);
    const absmax = absmaxOf(w);
    if (n % w.blockSize === 0)
      return flat.view([-1, w.blockSize]).mul_(absmax.unsqueeze(1)).view([rows, columns]).to(dtype);
    return flat
      .narrow(0, 0, n)
      .mul(absmax.repeatInterleave(w.blockSize, 0).narrow(0, 0, n))
      .view([rows, columns])
      .to(dtype);
  });
}

/** Bytes that codes and scales take. */
export function quantizedBytes(w: QuantizedWeight): number {
  atMost("quantizedBytes", arguments, 1);
  checkQuantized("quantizedBytes", w);
  return w.codes.nbytes + w.absmax.nbytes + (w.nested?.nbytes ?? 0);
}
