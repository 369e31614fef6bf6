/** The product of two float8 matrices, natively or emulated. */
import { ArgumentError, atMost, aten, Device, isTensor, TorchError, zeros, type DType, type Tensor } from "@nbit/torch";
import type { Float8Recipe } from "./recipes.js";

export interface Float8Support {
  /** Whether the device's own float8 product runs. */
  readonly native: boolean;
  /** One sentence: what runs, and why. */
  readonly reason: string;
}
const found = new Map<string, Float8Support>();

/**
 * What runs the products of a recipe on a device. Tried once per device with a small product, so it may start work
 * there; never waits for its result.
 * @example float8Support(device("cpu"), "tensor").native; // true: correct, not fast
 */
export function float8Support(device: Device, granularity: Float8Recipe["granularity"]): Float8Support {
  atMost("float8Support", arguments, 2);
  if (!(device instanceof Device)) throw new ArgumentError("float8Support", "a device", device);
  if (granularity !== "tensor" && granularity !== "row")
    throw new ArgumentError("float8Support", 'granularity to be "tensor" or "row"', granularity);
  const key = `${device.toString()} ${granularity}`;
  let support = found.get(key);
  if (support === undefined) {
    support = probe(device, granularity);
    found.set(key, support);
  }
  return support;
}

function probe(device: Device, granularity: Float8Recipe["granularity"]): Float8Support {
  const made: Tensor[] = [];
  const make = (shape: number[], dtype: DType): Tensor => {
    const t = zeros(shape, { dtype, device });
    made.push(t);
    return t;
  };
  try {
    const codes = make([32, 32], "float8_e4m3fn");
    const transposed = codes.t();
    made.push(transposed);
    const [a, b] =
      granularity === "tensor"
        ? [make([], "float32"), make([], "float32")]
        : [make([32, 1], "float32"), make([1, 32], "float32")];
    const product = aten["_scaled_mm"]?.(codes, transposed, a, b, null, null, "bfloat16", true);
    if (product !== undefined) made.push(product);
    return device.type === "cpu"
      ? {
          native: true,
          reason:
            "libtorch's float8 product on the CPU: for correctness; it converts to wider numbers and is slower than bfloat16",
        }
      : { native: true, reason: `float8 matrix products of ${device.toString()}` };
  } catch (error) {
    if (!(error instanceof TorchError)) throw error;
    return {
      native: false,
      reason: `emulated: codes become float32 before the product, since this device has none of its own (${error.message.split("\n")[0] ?? ""})`,
    };
  } finally {
    for (const t of made) t.dispose();
  }
}

export interface Factor {
  /** Row-major `[R, S]`; the second factor of a product is given by its transpose, row-major too. */
  readonly codes: Tensor;
  /** float32 `[]` or `[R, 1]`. */
  readonly inverse: Tensor;
}

/** By kind, at every product. */
function checkFactors(fn: string, a: unknown, b: unknown, bias: unknown): void {
  for (const factor of [a, b]) {
    const { codes, inverse } = (factor ?? {}) as Partial<Record<keyof Factor, unknown>>;
    if (!isTensor(codes) || !isTensor(inverse))
      throw new ArgumentError(fn, "factors { codes, inverse } of tensors", factor);
  }
  if (bias !== null && !isTensor(bias)) throw new ArgumentError(fn, "bias to be a tensor or null", bias);
}

/**
 * (A · inverseA) · (B · inverseB)ᵀ + bias, for A `[M, K]` and B `[N, K]`; all K multiples of 16 on CUDA. Sums in
 * float32.
 * @param fast - Sums of the tensor cores keep fewer bits: for outputs, not for gradients.
 */
export function scaledMm(a: Factor, b: Factor, bias: Tensor | null, out: DType, fast: boolean): Tensor {
  atMost("scaledMm", arguments, 5);
  checkFactors("scaledMm", a, b, bias);
  const { device } = a.codes;
  const granularity = a.inverse.ndim === 0 ? "tensor" : "row";
  if (!float8Support(device, granularity).native) return emulated(a, b, bias, out);
  // Per-row products of CUDA come in bfloat16 only; biases are added by the product in 16 bits only.
  const inside: DType = device.type === "cuda" && granularity === "row" ? "bfloat16" : out;
  const fused = bias !== null && inside !== "float32" && bias.dtype === inside;
  const second = granularity === "row" ? b.inverse.view([1, -1]) : b.inverse;
  const product: Tensor | undefined = aten["_scaled_mm"]?.(
    a.codes,
    b.codes.t(),
    a.inverse,
    second,
    fused ? bias : null,
    null,
    inside,
    fast,
  );
  if (product === undefined) return emulated(a, b, bias, out);
  const y = inside === out ? product : product.to(out);
  return bias === null || fused ? y : y.add_(bias);
}

/** The same numbers from float32 operators: what {@link scaledMm} must equal, to the rounding of its sums. */
export function emulated(a: Factor, b: Factor, bias: Tensor | null, out: DType): Tensor {
  atMost("emulated", arguments, 4);
  checkFactors("emulated", a, b, bias);
  const y = a.codes.to("float32").mul(a.inverse).mm(b.codes.to("float32").mul(b.inverse).t());
  return (bias === null ? y : y.add_(bias.to("float32"))).to(out);
}
