/** Initial values of parameters: the same calls in the same order as PyTorch, so that one seed gives one network. */
import { noGrad } from "../autograd/modes.js";
import { ArgumentError } from "../errors.js";
import { instanceOf, oneOf, orNull, real } from "../kinds.js";
import { tensorKind } from "../tensor/kinds.js";
import { Generator } from "../ops/generator.js";
import { atMost, checkArguments, checkOptions, optionsFrom, type Given, type OptionNames } from "../options.js";
import { scope } from "../tensor/scope.js";
import type { Tensor } from "../tensor/tensor.js";
import * as ops from "../ops/index.js";

export type FanMode = "fanIn" | "fanOut";
export type Nonlinearity =
  "linear" | "conv1d" | "conv2d" | "conv3d" | "sigmoid" | "tanh" | "relu" | "leakyRelu" | "selu";
interface Draw {
  readonly generator?: Generator | null;
}
const DRAW: OptionNames<Draw> = { generator: orNull(instanceOf("a Generator", Generator)) };
const NONLINEARITY = oneOf("linear", "conv1d", "conv2d", "conv3d", "sigmoid", "tanh", "relu", "leakyRelu", "selu");

function prepare(fn: string, t: Tensor, options: Draw = {}): void {
  checkArguments(fn, { tensor: t }, { tensor: tensorKind });
  checkOptions(fn, options, DRAW);
}

/** The recommended gain after a nonlinearity: 1, 5/3 (tanh), √2 (relu), √(2 / (1 + slope²)) (leakyRelu), 3/4 (selu). */
export function calculateGain(nonlinearity: Nonlinearity, slope = 0.01): number {
  atMost("init.calculateGain", arguments, 2);
  checkArguments("init.calculateGain", { nonlinearity, slope }, { nonlinearity: NONLINEARITY, slope: real() });
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
  atMost("init.uniform_", arguments, 4);
  prepare("init.uniform_", t, options);
  checkArguments("init.uniform_", { a, b }, { a: real(), b: real() });
  return quietly(t, () => t.uniform_(a, b, { generator: options.generator ?? null }));
}
export function normal_(t: Tensor, mean = 0, std = 1, options: Draw = {}): Tensor {
  atMost("init.normal_", arguments, 4);
  prepare("init.normal_", t, options);
  checkArguments("init.normal_", { mean, std }, { mean: real(), std: real("[0, ∞)") });
  return quietly(t, () => t.normal_(mean, std, { generator: options.generator ?? null }));
}
export function constant_(t: Tensor, value: number): Tensor {
  atMost("init.constant_", arguments, 2);
  prepare("init.constant_", t);
  checkArguments("init.constant_", { value }, { value: real("[-∞, ∞]") });
  return quietly(t, () => t.fill_(value));
}
export function ones_(t: Tensor): Tensor {
  atMost("init.ones_", arguments, 1);
  return constant_(t, 1);
}
export function zeros_(t: Tensor): Tensor {
  atMost("init.zeros_", arguments, 1);
  return constant_(t, 0);
}
export function eye_(t: Tensor): Tensor {
  atMost("init.eye_", arguments, 1);
  prepare("init.eye_", t);
  if (t.ndim !== 2) throw new ArgumentError("init.eye_", "a tensor of 2 dimensions", t);
  return quietly(t, () => t.copy_(ops.eye(t.size(0), t.size(1), { dtype: t.dtype, device: t.device })));
}
function prepareGain(fn: string, given: ArrayLike<unknown>, t: Tensor, gain: number, options: Draw): void {
  atMost(fn, given, 3);
  prepare(fn, t, options);
  checkArguments(fn, { gain }, { gain: real() });
}
/** Glorot and Bengio, 2010: U(-b, b), b = gain · √(6 / (fanIn + fanOut)). */
export function xavierUniform_(t: Tensor, gain = 1, options: Draw = {}): Tensor {
  prepareGain("init.xavierUniform_", arguments, t, gain, options);
  const { fanIn, fanOut } = fans("init.xavierUniform_", t);
  const bound = Math.sqrt(3.0) * (gain * Math.sqrt(2.0 / (fanIn + fanOut)));
  return uniform_(t, -bound, bound, options);
}
export function xavierNormal_(t: Tensor, gain = 1, options: Draw = {}): Tensor {
  prepareGain("init.xavierNormal_", arguments, t, gain, options);
  const { fanIn, fanOut } = fans("init.xavierNormal_", t);
  return normal_(t, 0, gain * Math.sqrt(2.0 / (fanIn + fanOut)), options);
}
interface Kaiming extends Draw {
  /** Negative slope of the leaky rectifier that follows. */
  readonly a?: number;
  readonly mode?: FanMode;
  readonly nonlinearity?: Nonlinearity;
}
// In the order in which PyTorch takes them by position.
const KAIMING: OptionNames<Kaiming> = {
  a: real(),
  mode: oneOf("fanIn", "fanOut"),
  nonlinearity: NONLINEARITY,
  ...DRAW,
};
type KaimingRest = Given<Kaiming, [a: number, mode?: FanMode, nonlinearity?: Nonlinearity]>;

function kaiming(fn: string, t: Tensor, rest: KaimingRest): { readonly std: number; readonly draw: Draw } {
  const { a = 0, mode = "fanIn", nonlinearity = "leakyRelu", ...draw } = optionsFrom(fn, 1, rest, KAIMING, 3);
  prepare(fn, t);
  return { std: calculateGain(nonlinearity, a) / Math.sqrt(fans(fn, t)[mode]), draw };
}
/** He et al., 2015: U(-b, b), b = √3 · gain / √fan. */
export function kaimingUniform_(t: Tensor, ...rest: KaimingRest): Tensor {
  const { std, draw } = kaiming("init.kaimingUniform_", t, rest);
  if (t.numel() === 0) return t;
  const bound = Math.sqrt(3.0) * std;
  return uniform_(t, -bound, bound, draw);
}
export function kaimingNormal_(t: Tensor, ...rest: KaimingRest): Tensor {
  const { std, draw } = kaiming("init.kaimingNormal_", t, rest);
  return t.numel() === 0 ? t : normal_(t, 0, std, draw);
}
/** A (semi-)orthogonal matrix: the QR of a normal one, signs fixed. */
export function orthogonal_(t: Tensor, gain = 1, options: Draw = {}): Tensor {
  prepareGain("init.orthogonal_", arguments, t, gain, options);
  if (t.ndim < 2) throw new ArgumentError("init.orthogonal_", "a tensor of at least 2 dimensions", t);
  if (t.numel() === 0) return t;
  return quietly(t, () => {
    const rows = t.size(0);
    const columns = t.numel() / rows;
    let flat = ops
      .empty([rows, columns], { dtype: t.dtype, device: t.device })
      .normal_(0, 1, { generator: options.generator ?? null });
    if (rows < columns) flat = flat.t();
    const [q, r] = ops.linalg.qr(flat);
    let signed = q.mul(r.diag().sign());
    if (rows < columns) signed = signed.t();
    t.copy_(signed.reshape([...t.shape])).mul_(gain);
  });
}
/**
 * A normal distribution cut to [a, b], by rejection: of normal values where [a, b] holds more than 0.3 of them, else of
 * uniform ones. Draws as PyTorch 2.13 does; waits for the device.
 */
export function truncNormal_(t: Tensor, mean = 0, std = 1, a = -2, b = 2, options: Draw = {}): Tensor {
  atMost("init.truncNormal_", arguments, 6);
  prepare("init.truncNormal_", t, options);
  checkArguments(
    "init.truncNormal_",
    { mean, std, a, b },
    { mean: real(), std: real("(0, ∞)"), a: real("[-∞, ∞]"), b: real("[-∞, ∞]") },
  );
  if (a > b) throw new ArgumentError("init.truncNormal_", `a ≤ b (${b})`, a);
  if (t.device.type === "meta" || t.numel() === 0) return t;
  const generator = options.generator ?? null;
  const below = (x: number): number => (1 + erf((x - mean) / std / Math.SQRT2)) / 2;
  return quietly(t, () =>
    scope(() =>
      below(b) - below(a) > 0.3 ? cutNormal(t, mean, std, a, b, generator) : cutUniform(t, mean, std, a, b, generator),
    ),
  );
}

/** Draws what lies outside anew, until nothing does. */
function cutNormal(t: Tensor, mean: number, std: number, a: number, b: number, generator: Generator | null): void {
  // As t's dtype holds them, so that a value on the bound is inside.
  const [low, high] = [a, b].map((bound) => ops.full([], bound, { dtype: t.dtype }).item()) as [number, number];
  let drawn = t.normal_(mean, std, { generator });
  for (;;) {
    const outside = drawn.lt(low).logicalOr(drawn.gt(high));
    if (outside.any().item() === 0) break;
    drawn = ops.where(outside, ops.emptyLike(drawn).normal_(mean, std, { generator }), drawn);
  }
  if (drawn !== t) t.copy_(drawn);
}

/** Takes a uniform value with the probability that is its density over the greatest; draws the others anew. */
function cutUniform(t: Tensor, mean: number, std: number, a: number, b: number, generator: Generator | null): void {
  const peak = -0.5 * ((Math.max(a, Math.min(mean, b)) - mean) / std) ** 2;
  const candidates = ops.emptyLike(t);
  const chance = ops.emptyLike(t);
  const refused = (): Tensor => {
    const density = candidates.sub_(mean).div_(std).pow_(2).mul_(-0.5).sub_(peak);
    return chance.uniform_(0, 1, { generator }).log_().gt(density);
  };
  candidates.copy_(t.uniform_(a, b, { generator }));
  let drawn = t;
  for (let pending = refused(); pending.any().item() !== 0;) {
    candidates.uniform_(a, b, { generator });
    drawn = ops.where(pending, candidates, drawn);
    pending = ops.where(pending, refused(), pending);
  }
  if (drawn !== t) t.copy_(drawn);
}

function erf(x: number): number {
  const t = ops.special.erf(ops.scalarTensor(x, { dtype: "float64" }));
  const value = t.item();
  t.dispose();
  return value;
}
