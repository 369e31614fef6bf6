/** The formats that there are, and quantization to and from them: fused kernels, and the plain reference of each. */
import {
  ArgumentError,
  atMost,
  checkOptions,
  type DType,
  finfo,
  kinds,
  NbitError,
  operators,
  type OptionNames,
  scope,
  type Tensor,
  zeros,
} from "@nbit/torch";
import { bucketize, cat, isTensor } from "@nbit/torch";
import { mapOn } from "./device.js";
import { dynamicMap, dynamicMap4, linearMap, mapTensor } from "./map.js";
import type { FormatName, Quantized, StateFormat } from "./state-format.js";

/** One operator of the addon. @throws {NbitError} when the addon was built without it. */
export function kernel(name: string): (...args: readonly unknown[]) => unknown {
  const found = operators("nbit")[name];
  if (found === undefined)
    throw new NbitError(
      `${name}: expected an addon with the low-bit kernels. Received: one without. Run \`npx nbit setup\`.`,
      "ERR_NO_OPERATOR",
    );
  return found;
}

/** Whole blocks `[n, blockSize]`, the last one padded with zeros. */
function blocks(x: Tensor, blockSize: number): Tensor {
  const flat = x.detach().reshape([-1]).to("float32");
  const n = flat.numel();
  const pad = (blockSize - (n % blockSize)) % blockSize;
  return (pad === 0 ? flat : cat([flat, zeros([pad], { device: x.device })])).view([-1, blockSize]);
}
function absmaxOf(whole: Tensor): Tensor {
  const magnitude = whole.abs();
  // What is not finite does not scale the rest of its block away.
  return magnitude.where(magnitude.le(finfo("float32").max), zeros([], { device: whole.device })).amax([1]);
}
function normalized(whole: Tensor, absmax: Tensor): Tensor {
  const scale = absmax.where(absmax.gt(0), absmax.mul(0).add(1)).unsqueeze(1);
  const v = whole.div(scale);
  return v.where(v.eq(v), zeros([], { device: whole.device }));
}

function mapped(name: FormatName, bits: 4 | 8, kind: string, values: (signed: boolean) => number[]): StateFormat {
  const map = (signed: boolean): Tensor => mapTensor(`${name} ${signed ? "signed" : "unsigned"}`, () => values(signed));
  return {
    name,
    bits,
    description: `${bits}-bit ${kind}`,
    map,
    quantize(x, { signed, blockSize, keepPositive = false }) {
      checkBlock(blockSize);
      const shape = [...x.shape];
      const [codes, absmax] = scope(() => {
        const whole = blocks(x, blockSize);
        const a = absmaxOf(whole);
        const m = map(signed).to(whole.device);
        const mid = m.slice(0, 0, -1).add(m.slice(0, 1)).mul(0.5);
        const c = bucketize(normalized(whole, a), mid).to("uint8").view([-1]).slice(0, 0, x.numel());
        const kept =
          keepPositive && !signed && values(signed)[0] === 0
            ? c.maximum(x.detach().reshape([-1]).gt(0).to("uint8"))
            : c;
        return [bits === 8 ? kept.reshape(shape) : pack(kept), a];
      });
      return { codes, absmax, shape, blockSize };
    },
    dequantize: (q, signed) => decodeWith(map(signed), q),
  };
}

/** @internal Values of codes under a map of 256, or of 16 with two codes a byte. */
export function decodeWith(map: Tensor, q: Quantized): Tensor {
  return scope(() => {
    const n = q.shape.reduce((a, b) => a * b, 1);
    const c = map.numel() > 16 ? q.codes.reshape([-1]) : unpack(q.codes, n);
    const values32 = map.to(q.codes.device).indexSelect(0, c.to("int32"));
    return values32.mul(scales(q.absmax, q.blockSize, n)).reshape([...q.shape]);
  });
}

/** That of each of `n` elements. Without a look-up, which a compiler would make a gather of. */
function scales(absmax: Tensor, blockSize: number, n: number): Tensor {
  return absmax.unsqueeze(1).expand([-1, blockSize]).reshape([-1]).slice(0, 0, n);
}

// Two codes a byte, the first in the low half.
function pack(codes: Tensor): Tensor {
  const even = codes.numel() % 2 === 0 ? codes : cat([codes, zeros([1], { dtype: "uint8", device: codes.device })]);
  const pairs = even.view([-1, 2]);
  return pairs.select(1, 0).add(pairs.select(1, 1).mul(16));
}
function unpack(packed: Tensor, n: number): Tensor {
  const low = packed.bitwiseAnd(15);
  const high = packed.bitwiseRightShift(4);
  return cat([low.unsqueeze(1), high.unsqueeze(1)], 1)
    .view([-1])
    .slice(0, 0, n);
}

/** float8 e4m3, scaled so that the largest of a block is the format's largest. */
const float8: StateFormat = {
  name: "float8",
  bits: 8,
  description: "float8 e4m3",
  map: () => null,
  quantize(x, { signed, blockSize, keepPositive = false }) {
    checkBlock(blockSize);
    const max = finfo("float8_e4m3fn").max;
    const [codes, absmax] = scope(() => {
      const whole = blocks(x, blockSize);
      const a = absmaxOf(whole);
      const v = normalized(whole, a)
        .clamp(-1, 1)
        .mul(max)
        .to("float8_e4m3fn" satisfies DType);
      const codes = v.view([-1]).slice(0, 0, x.numel());
      if (!keepPositive || signed) return [codes.reshape([...x.shape]), a];
      return [
        codes
          .view("uint8")
          .maximum(x.detach().reshape([-1]).gt(0).to("uint8"))
          .view("float8_e4m3fn")
          .reshape([...x.shape]),
        a,
      ];
    });
    return { codes, absmax, shape: [...x.shape], blockSize };
  },
  dequantize(q) {
    return scope(() => {
      const n = q.shape.reduce((a, b) => a * b, 1);
      const scale = scales(q.absmax.div(finfo("float8_e4m3fn").max), q.blockSize, n);
      return q.codes
        .to("float32")
        .reshape([-1])
        .mul(scale)
        .reshape([...q.shape]);
    });
  },
};

export const FORMATS: Readonly<Record<FormatName, StateFormat>> = Object.freeze({
  dynamic8: mapped("dynamic8", 8, "dynamic", dynamicMap),
  linear8: mapped("linear8", 8, "linear", (signed) => linearMap(signed, 8)),
  dynamic4: mapped("dynamic4", 4, "dynamic", dynamicMap4),
  linear4: mapped("linear4", 4, "linear", (signed) => linearMap(signed, 4)),
  moments4: mapped("moments4", 4, "dynamic and linear", (signed) => (signed ? dynamicMap4(true) : linearMap(false, 4))),
  float8,
});

function checkBlock(blockSize: number): void {
  if (!Number.isInteger(blockSize) || blockSize < 1 || blockSize > 4096)
    throw new ArgumentError("quantizeBlockwise", "blockSize to be a whole number from 1 to 4096", blockSize);
}

/** @internal */
export function defaultBlock(format: StateFormat | null): number {
  return format?.bits === 4 ? 128 : 256;
}

/** The CPU's kernels are always there, the GPU's when the addon was built with CUDA. */
function fused(t: Tensor): boolean {
  return (
    t.device.type === "cpu" || (t.device.type === "cuda" && operators("nbit")["low_bit_step_device_"] !== undefined)
  );
}

export interface QuantizeOptions {
  readonly signed?: boolean;
  /** Elements that share a scale, 1 to 4096. Default 256, and 128 in 4 bits. */
  readonly blockSize?: number;
  readonly format?: FormatName;
}

const BLOCK = kinds.whole("[1, 4096]");
const SHAPE = kinds.listOf(kinds.whole("[0, ∞)"));
const NAMES: OptionNames<QuantizeOptions> = {
  signed: kinds.flag,
  blockSize: BLOCK,
  format: kinds.oneOf(...(Object.keys(FORMATS) as FormatName[])),
};
const { blockSize: _, ...DEQUANTIZE } = NAMES;

/**
 * Blockwise quantization: per block one float32 absmax, per element the code of the nearest value of the map.
 *
 * Elements that are infinite become the largest code, NaN becomes zero; neither changes the block's absmax. The fused
 * kernels (all formats on CPU, those of 8 bits with a map on GPUs) and the reference agree code for code.
 * @param x - float32, bfloat16 or float16, any shape; the last block may be ragged.
 * @returns Owned tensors; no graph.
 * @throws {ArgumentError} `quantizeBlockwise: expected blockSize to be a whole number from 1 to 4096. Received: 0.`
 */
export function quantizeBlockwise(x: Tensor, options: QuantizeOptions = {}): Quantized {
  atMost("quantizeBlockwise", arguments, 2);
  checkOptions("quantizeBlockwise", options, NAMES);
  if (!isTensor(x) || !x.isFloatingPoint())
    throw new ArgumentError("quantizeBlockwise", "x to be a floating point tensor", x);
  const { signed = true, format = "dynamic8" } = options;
  const f = FORMATS[format];
  const { blockSize = defaultBlock(f) } = options;
  checkBlock(blockSize);
  if (bytesWithMap(f) && fused(x) && x.dtype !== "float64") {
    const [codes, absmax] = kernel("quantize_blockwise")(x.detach().contiguous(), mapOn(f, signed, x), blockSize) as [
      Tensor,
      Tensor,
    ];
    return { codes, absmax, shape: [...x.shape], blockSize };
  }
  if (inSmallKernel(f, x.device.type, blockSize, x.numel()) && x.dtype !== "float64") {
    const [codes, absmax] = kernel("quantize_small")(x.detach().contiguous(), f.map(signed), blockSize, false) as [
      Tensor,
      Tensor,
    ];
    return { codes, absmax, shape: [...x.shape], blockSize };
  }
  return f.quantize(x, { signed, blockSize });
}
/** One code of a map of 256 values per byte: dynamic8 and linear8. */
function bytesWithMap(f: StateFormat): boolean {
  return f.name === "dynamic8" || f.name === "linear8";
}
/** 4 bits and float8 on CPU; two codes share a byte, so blocks of 4 bits have to begin at whole ones. */
function inSmallKernel(f: StateFormat, device: string, blockSize: number, numel: number): boolean {
  return device === "cpu" && !bytesWithMap(f) && (f.bits === 8 || blockSize % 2 === 0 || numel <= blockSize);
}
function isQuantized(q: unknown): q is Quantized {
  const { codes, absmax, shape, blockSize } = (q ?? {}) as Partial<Record<keyof Quantized, unknown>>;
  return isTensor(codes) && isTensor(absmax) && SHAPE.accepts(shape) && BLOCK.accepts(blockSize);
}
/** The values that codes stand for: float32, of the shape that was quantized. */
export function dequantizeBlockwise(q: Quantized, options: Omit<QuantizeOptions, "blockSize"> = {}): Tensor {
  atMost("dequantizeBlockwise", arguments, 2);
  checkOptions("dequantizeBlockwise", options, DEQUANTIZE);
  if (!isQuantized(q)) throw new ArgumentError("dequantizeBlockwise", "what quantizeBlockwise returns", q);
  const { signed = true, format = "dynamic8" } = options;
  const f = FORMATS[format];
  if (bytesWithMap(f) && fused(q.codes))
    return kernel("dequantize_blockwise")(q.codes, q.absmax, mapOn(f, signed, q.codes), q.blockSize) as Tensor;
  const n = q.shape.reduce((a, b) => a * b, 1);
  if (inSmallKernel(f, q.codes.device.type, q.blockSize, n))
    return kernel("dequantize_small")(q.codes, q.absmax, f.map(signed), q.blockSize, q.shape) as Tensor;
  return f.dequantize(q, signed);
}
