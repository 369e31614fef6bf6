/** Initial values of parameters: the same calls in the same order as PyTorch, so that one seed gives one network. */
import { noGrad } from "../autograd/modes.js";
import { ArgumentError } from "../errors.js";
import type { Generator } from "../ops/generator.js";
import type { Tensor } from "../tensor/tensor.js";
import * as ops from "../ops/index.js";

export type FanMode = "fanIn" | "fanOut";
export type Nonlinearity = "linear" | "conv1d" | "conv2d" | "conv3d" | "sigmoid" | "tanh" | "relu" | "leakyRelu" | "selu";
interface Draw {
  readonly generator?: Generator | null;
}

/** The recommended gain after a nonlinearity: 1, 5/3 (tanh), √2 (relu), √(2 / (1 + slope²)) (leakyRelu), 3/4 (selu). */
export function calculateGain(nonlinearity: Nonlinearity, slope = 0.01): number {
  switch (nonlinearity) {
    case "tanh":
      return 5.0 / 3;
    case "relu":
      return Math.sqrt(2.0);
    case "leakyRelu":
      return Math.sqrt(2.0 / (1 + slope ** 2));
    case "selu":
      return 3.0 / 4;
    default:
      return 1;
  }
}

function fans(fn: string, t: Tensor): { readonly fanIn: number; readonly fanOut: number } {
  const shape = t.shape;
  if (shape.length < 2) throw new ArgumentError(fn, "a tensor of at least 2 dimensions", t);
  const receptive = shape.slice(2).reduce((a, b) => a * b, 1);
  return { fanIn: (shape[1] as number) * receptive, fanOut: (shape[0] as number) * receptive };
}

const quietly = (t: Tensor, fill: () => unknown): Tensor => {
  noGrad(fill);
  return t;
};

export function uniform_(t: Tensor, a = 0, b = 1, options: Draw = {}): Tensor {
  return quietly(t, () => t.uniform_(a, b, { generator: options.generator ?? null }));
}
export function normal_(t: Tensor, mean = 0, std = 1, options: Draw = {}): Tensor {
  return quietly(t, () => t.normal_(mean, std, { generator: options.generator ?? null }));
}
export function constant_(t: Tensor, value: number): Tensor {
  return quietly(t, () => t.fill_(value));
}
export function ones_(t: Tensor): Tensor {
  return constant_(t, 1);
}
export function zeros_(t: Tensor): Tensor {
  return constant_(t, 0);
}
export function eye_(t: Tensor): Tensor {
  if (t.ndim !== 2) throw new ArgumentError("init.eye_", "a tensor of 2 dimensions", t);
  return quietly(t, () => t.copy_(ops.eye(t.size(0), t.size(1), { dtype: t.dtype, device: t.device })));
}
/** Glorot and Bengio, 2010: U(-b, b), b = gain · √(6 / (fanIn + fanOut)). */
export function xavierUniform_(t: Tensor, gain = 1, options: Draw = {}): Tensor {
  const { fanIn, fanOut } = fans("init.xavierUniform_", t);
  const bound = Math.sqrt(3.0) * (gain * Math.sqrt(2.0 / (fanIn + fanOut)));
  return uniform_(t, -bound, bound, options);
}
export function xavierNormal_(t: Tensor, gain = 1, options: Draw = {}): Tensor {
  const { fanIn, fanOut } = fans("init.xavierNormal_", t);
  return normal_(t, 0, gain * Math.sqrt(2.0 / (fanIn + fanOut)), options);
}
interface Kaiming extends Draw {
  /** Negative slope of the leaky rectifier that follows. */
  readonly a?: number;
  readonly mode?: FanMode;
  readonly nonlinearity?: Nonlinearity;
}
function kaimingStd(fn: string, t: Tensor, { a = 0, mode = "fanIn", nonlinearity = "leakyRelu" }: Kaiming): number {
  return calculateGain(nonlinearity, a) / Math.sqrt(fans(fn, t)[mode]);
}
/** He et al., 2015: U(-b, b), b = √3 · gain / √fan. */
export function kaimingUniform_(t: Tensor, options: Kaiming = {}): Tensor {
  const bound = Math.sqrt(3.0) * kaimingStd("init.kaimingUniform_", t, options);
  return uniform_(t, -bound, bound, options);
}
export function kaimingNormal_(t: Tensor, options: Kaiming = {}): Tensor {
  return normal_(t, 0, kaimingStd("init.kaimingNormal_", t, options), options);
}
/** A (semi-)orthogonal matrix: the QR of a normal one, signs fixed. */
export function orthogonal_(t: Tensor, gain = 1, options: Draw = {}): Tensor {
  if (t.ndim < 2) throw new ArgumentError("init.orthogonal_", "a tensor of at least 2 dimensions", t);
  return quietly(t, () => {
    const rows = t.size(0);
    const columns = t.numel() / rows;
    let flat = ops.empty([rows, columns], { dtype: t.dtype, device: t.device }).normal_(0, 1, { generator: options.generator ?? null });
    if (rows < columns) flat = flat.t();
    const [q, r] = ops.linalg.qr(flat);
    let signed = q.mul(r.diag().sign());
    if (rows < columns) signed = signed.t();
    t.copy_(signed.reshape([...t.shape])).mul_(gain);
  });
}
/** A normal distribution cut to [a, b], by the inverse of its distribution function. */
export function truncNormal_(t: Tensor, mean = 0, std = 1, a = -2, b = 2, options: Draw = {}): Tensor {
  return quietly(t, () => {
    const cdf = (x: number): number => (1 + erf(x / Math.SQRT2)) / 2;
    const low = cdf((a - mean) / std);
    const high = cdf((b - mean) / std);
    t.uniform_(2 * low - 1, 2 * high - 1, { generator: options.generator ?? null });
    t.erfinv_();
    t.mul_(std * Math.sqrt(2.0));
    t.add_(mean);
    t.clamp_(a, b);
  });
}

function erf(x: number): number {
  const t = ops.special.erf(ops.scalarTensor(x, { dtype: "float64" }));
  const value = t.item();
  t.dispose();
  return value;
}
