/** Initial values whose variance follows from a weight's shape, so that signals keep theirs from layer to layer. */
import { ArgumentError } from "../../errors.js";
import { byDefault, orNull, real, such } from "../../kinds.js";
import type { Generator } from "../../ops/generator.js";
import * as ops from "../../ops/index.js";
import type { OptionNames } from "../../options.js";
import { signature, type Call } from "../../signature.js";
import { scope } from "../../tensor/scope.js";
import type { Tensor } from "../../tensor/tensor.js";
import { FILL, GENERATOR, quietly, type DrawArguments } from "./common.js";

type Spelled = "convTranspose1d" | "convTranspose2d" | "convTranspose3d" | "leakyRelu";
type Plain = "linear" | "conv1d" | "conv2d" | "conv3d" | "sigmoid" | "tanh" | "relu" | "selu";
/** What follows a weight; PyTorch's own spelling is taken too. */
export type Nonlinearity =
  Plain | Spelled | "conv_transpose1d" | "conv_transpose2d" | "conv_transpose3d" | "leaky_relu";
/** Whether signals keep their variance forward or backward; PyTorch's own spelling is taken too. */
export type FanMode = "fanIn" | "fanOut" | "fan_in" | "fan_out";

const plain = (word: string): string => word.replaceAll(/_([a-z])/g, (_, c: string) => c.toUpperCase());
/** A kind of words in camelCase, which may be spelled as in PyTorch. */
function wordOf<T extends string>(...words: readonly string[]): ReturnType<typeof such<T>> {
  return such<T>(`one of ${words.join(", ")}`, (v) => typeof v === "string" && words.includes(plain(v)));
}
const NONLINEARITY = wordOf<Nonlinearity>(
  ...["linear", "conv1d", "conv2d", "conv3d", "convTranspose1d", "convTranspose2d", "convTranspose3d"],
  ...["sigmoid", "tanh", "relu", "leakyRelu", "selu"],
);
const MODE = wordOf<FanMode>("fanIn", "fanOut");

export interface GainArguments {
  readonly nonlinearity: Nonlinearity;
  /** The slope of a leaky rectifier below 0. Default 0.01. */
  readonly param?: number | null;
}
const readGain = signature("init.calculateGain", {
  nonlinearity: NONLINEARITY,
  param: byDefault(null, orNull(real())),
} satisfies OptionNames<GainArguments>);
/** The recommended gain after a nonlinearity: 1, 5/3 (tanh), √2 (relu), √(2 / (1 + slope²)) (leakyRelu), 3/4 (selu). */
export function calculateGain(
  ...given: Call<GainArguments, ["nonlinearity", "param"], [nonlinearity: Nonlinearity, param?: number | null]>
): number {
  const { nonlinearity, param } = readGain(given);
  switch (plain(nonlinearity)) {
    case "tanh":
      return 5.0 / 3;
    case "relu":
      return Math.sqrt(2.0);
    case "leakyRelu":
      return Math.sqrt(2.0 / (1 + (param ?? 0.01) ** 2));
    case "selu":
      return 3.0 / 4;
    default:
      return 1;
  }
}

function fans(fn: string, tensor: Tensor): { readonly fanIn: number; readonly fanOut: number } {
  const { shape } = tensor;
  if (shape.length < 2) throw new ArgumentError(fn, "a tensor of at least 2 dimensions", tensor);
  const field = shape.slice(2).reduce((a, b) => a * b, 1);
  return { fanIn: (shape[1] as number) * field, fanOut: (shape[0] as number) * field };
}

export interface GainedArguments extends DrawArguments {
  /** Default 1; see {@link calculateGain}. */
  readonly gain?: number;
}
const GAINED = { ...FILL, gain: byDefault(1, real()), generator: GENERATOR } satisfies OptionNames<GainedArguments>;
type GainedCall = Call<
  GainedArguments,
  ["tensor", "gain", "generator"],
  [tensor: Tensor, gain?: number, generator?: Generator | null]
>;
const readXavierUniform = signature("init.xavierUniform_", GAINED);
/**
 * U(-b, b), b = gain · √(6 / (fanIn + fanOut)). Arguments: tensor, gain, generator.
 * @see Glorot and Bengio, 2010, "Understanding the difficulty of training deep feedforward neural networks".
 */
export function xavierUniform_(...given: GainedCall): Tensor {
  const { tensor, gain, generator } = readXavierUniform(given);
  const { fanIn, fanOut } = fans("init.xavierUniform_", tensor);
  const bound = Math.sqrt(3.0) * (gain * Math.sqrt(2.0 / (fanIn + fanOut)));
  return quietly(tensor, () => tensor.uniform_(-bound, bound, { generator }));
}
const readXavierNormal = signature("init.xavierNormal_", GAINED);
/** N(0, std²), std = gain · √(2 / (fanIn + fanOut)). Arguments and source as of {@link xavierUniform_}. */
export function xavierNormal_(...given: GainedCall): Tensor {
  const { tensor, gain, generator } = readXavierNormal(given);
  const { fanIn, fanOut } = fans("init.xavierNormal_", tensor);
  const std = gain * Math.sqrt(2.0 / (fanIn + fanOut));
  return quietly(tensor, () => tensor.normal_(0, std, { generator }));
}

export interface KaimingArguments extends DrawArguments {
  /** Slope below 0 of the leaky rectifier that follows. Default 0. */
  readonly a?: number;
  /** Default "fanIn": forward. */
  readonly mode?: FanMode;
  /** Default "leakyRelu". */
  readonly nonlinearity?: Nonlinearity;
}
const KAIMING = {
  ...FILL,
  a: byDefault(0, real()),
  mode: byDefault("fanIn", MODE),
  nonlinearity: byDefault("leakyRelu", NONLINEARITY),
  generator: GENERATOR,
} satisfies OptionNames<KaimingArguments>;
type KaimingCall = Call<
  KaimingArguments,
  ["tensor", "a", "mode", "nonlinearity", "generator"],
  [tensor: Tensor, a?: number, mode?: FanMode, nonlinearity?: Nonlinearity, generator?: Generator | null]
>;
function kaimingStd(fn: string, { tensor, a, mode, nonlinearity }: ReturnType<typeof readKaimingUniform>): number {
  return calculateGain(nonlinearity, a) / Math.sqrt(fans(fn, tensor)[plain(mode) as "fanIn" | "fanOut"]);
}
const readKaimingUniform = signature("init.kaimingUniform_", KAIMING);
/**
 * U(-b, b), b = √3 · gain / √fan. Arguments: tensor, a, mode, nonlinearity, generator; see {@link KaimingArguments}. A
 * tensor without elements stays as it is.
 * @see He et al., 2015, arXiv:1502.01852.
 */
export function kaimingUniform_(...given: KaimingCall): Tensor {
  const read = readKaimingUniform(given);
  const { tensor, generator } = read;
  if (tensor.numel() === 0) return tensor;
  const bound = Math.sqrt(3.0) * kaimingStd("init.kaimingUniform_", read);
  return quietly(tensor, () => tensor.uniform_(-bound, bound, { generator }));
}
const readKaimingNormal = signature("init.kaimingNormal_", KAIMING);
/** N(0, std²), std = gain / √fan. Arguments and source as of {@link kaimingUniform_}. */
export function kaimingNormal_(...given: KaimingCall): Tensor {
  const read = readKaimingNormal(given);
  const { tensor, generator } = read;
  if (tensor.numel() === 0) return tensor;
  const std = kaimingStd("init.kaimingNormal_", read);
  return quietly(tensor, () => tensor.normal_(0, std, { generator }));
}

const readOrthogonal = signature("init.orthogonal_", GAINED);
/**
 * A (semi-)orthogonal matrix, of the first dimension by all others: the QR of a normal one, signs fixed. Arguments:
 * tensor, gain, generator.
 * @see Saxe et al., 2013, arXiv:1312.6120.
 */
export function orthogonal_(...given: GainedCall): Tensor {
  const { tensor, gain, generator } = readOrthogonal(given);
  if (tensor.ndim < 2) throw new ArgumentError("init.orthogonal_", "a tensor of at least 2 dimensions", tensor);
  if (tensor.numel() === 0 || tensor.device.type === "meta") return tensor;
  return quietly(tensor, () =>
    scope(() => {
      const rows = tensor.size(0);
      const columns = tensor.numel() / rows;
      const drawn = tensor.newEmpty([rows, columns]).normal_(0, 1, { generator });
      const wide = rows < columns;
      const [q, r] = ops.linalg.qr(wide ? drawn.t() : drawn);
      const signed = q.mul(r.diag().sign());
      tensor.copy_((wide ? signed.t() : signed).reshape([...tensor.shape])).mul_(gain);
    }),
  );
}
