/** How many floating point operations an operator is, by the shapes of its arguments: as torch.utils.flop_counter. */
import type { TracedArgument } from "../../autograd/trace.js";
import { ArgumentError } from "../../errors.js";
import { callable, either, filled, listOf } from "../../kinds.js";
import { atMost, checkArguments } from "../../options.js";

/** A tensor as its shape, a list, a number, a flag; null for nothing and for anything else. */
export type FlopArgument = TracedArgument;
/**
 * Counts a call of an operator: a multiplication and an addition are two.
 *
 * @param args - The arguments in the order of the operator's schema.
 * @param out - The shape of the result; a list of shapes where there are several.
 */
export type FlopFormula = (args: readonly FlopArgument[], out: FlopArgument) => number;

type Shape = readonly number[];
const shape = (value: FlopArgument | undefined): Shape => (Array.isArray(value) ? (value as Shape) : []);
const prod = (sizes: Shape): number => sizes.reduce((product, n) => product * n, 1);
const size = (sizes: Shape, at: number): number => sizes[at] ?? 1;

/** `[m, k] · [k, n]`. */
function mm(a: Shape, b: Shape): number {
  return 2 * prod(a) * size(b, 1);
}
/** `[b, m, k] · [b, k, n]`. */
function bmm(a: Shape, b: Shape): number {
  return 2 * prod(a) * size(b, 2);
}
/** Every point of the output meets the whole filter; of a transposed convolution, every point of the input does. */
function convolution(x: Shape, weight: Shape, out: Shape, transposed: boolean): number {
  return 2 * size(x, 0) * prod((transposed ? x : out).slice(2)) * prod(weight);
}
const swapped = ([a = 1, b = 1, ...rest]: Shape): Shape => [b, a, ...rest];

function convolutionBackward(args: readonly FlopArgument[], out: FlopArgument): number {
  const [gradOut, x, weight] = [shape(args[0]), shape(args[1]), shape(args[2])];
  const transposed = args[7] === true;
  const mask = Array.isArray(args[10]) ? (args[10] as readonly FlopArgument[]) : [];
  const results = Array.isArray(out) ? (out as readonly FlopArgument[]) : [];
  let flops = 0;
  if (mask[0] === true) flops += convolution(gradOut, weight, shape(results[0]), !transposed);
  if (mask[1] === true) {
    const gradWeight = swapped(shape(results[1]));
    flops += transposed
      ? convolution(swapped(gradOut), swapped(x), gradWeight, false)
      : convolution(swapped(x), swapped(gradOut), gradWeight, false);
  }
  return flops;
}

/** Scores, then what they weigh; keys with fewer heads are used by several queries. Masks save nothing here. */
function attention(query: Shape, key: Shape, value: Shape): number {
  const [b = 1, heads = 1, queries = 1, d = 1] = query;
  return 2 * b * heads * queries * size(key, 2) * (d + size(value, 3));
}
/** The scores again, and the gradients of values, weights, queries and keys. */
function attentionBackward(query: Shape, key: Shape, value: Shape): number {
  const [b = 1, heads = 1, queries = 1, d = 1] = query;
  return 2 * b * heads * queries * size(key, 2) * (3 * d + 2 * size(value, 3));
}

const forward: FlopFormula = ([q, k, v]) => attention(shape(q), shape(k), shape(v));
const backward: FlopFormula = ([, q, k, v]) => attentionBackward(shape(q), shape(k), shape(v));
const conv: FlopFormula = (args, out) => convolution(shape(args[0]), shape(args[1]), shape(out), args[6] === true);
/** Each step of each sequence meets the weights of its input and of its state. */
const recurrent = (input: FlopArgument | undefined, weights: readonly (FlopArgument | undefined)[]): number =>
  2 *
  prod(shape(input).slice(0, 2)) *
  weights.map(shape).reduce((sum, weight) => sum + (weight.length === 2 ? prod(weight) : 0), 0);

/** PyTorch's formulas; behind them those of operators that PyTorch passes by. */
const BUILT_IN: Readonly<Record<string, FlopFormula>> = {
  "aten.mm": ([a, b]) => mm(shape(a), shape(b)),
  "aten.addmm": ([, a, b]) => mm(shape(a), shape(b)),
  "aten.bmm": ([a, b]) => bmm(shape(a), shape(b)),
  "aten.baddbmm": ([, a, b]) => bmm(shape(a), shape(b)),
  "aten._scaled_mm": ([a, b]) => mm(shape(a), shape(b)),
  "aten.convolution": conv,
  "aten._convolution": conv,
  "aten.cudnn_convolution": (args, out) => convolution(shape(args[0]), shape(args[1]), shape(out), false),
  "aten.convolution_overrideable": conv,
  "aten._slow_conv2d_forward": (args, out) => convolution(shape(args[0]), shape(args[1]), shape(out), false),
  "aten.convolution_backward": convolutionBackward,
  "aten._scaled_dot_product_efficient_attention": forward,
  "aten._scaled_dot_product_flash_attention": forward,
  "aten._scaled_dot_product_cudnn_attention": forward,
  "aten._scaled_dot_product_efficient_attention_backward": backward,
  "aten._scaled_dot_product_flash_attention_backward": backward,
  "aten._scaled_dot_product_cudnn_attention_backward": backward,
  // Attention on the CPU, and recurrent layers that oneDNN and cuDNN compute whole.
  "aten._scaled_dot_product_flash_attention_for_cpu": forward,
  "aten._scaled_dot_product_flash_attention_for_cpu_backward": backward,
  "aten.mkldnn_rnn_layer": ([x, w0, w1]) => recurrent(x, [w0, w1]),
  "aten.mkldnn_rnn_layer_backward": ([x, w0, w1]) => 2 * recurrent(x, [w0, w1]),
  "aten._cudnn_rnn": ([x, weights]) => recurrent(x, listed(weights)),
  "aten._cudnn_rnn_backward": ([x, weights]) => 2 * recurrent(x, listed(weights)),
};
function listed(value: FlopArgument | undefined): readonly FlopArgument[] {
  return Array.isArray(value) ? (value as readonly FlopArgument[]) : [];
}

const registered = new Map<string, FlopFormula>(Object.entries(BUILT_IN));

/** `aten::mm` and `aten.mm` are one operator; overloads count alike. */
export function operatorKey(name: string): string {
  const [space, rest] = name.includes("::") ? (name.split("::", 2) as [string, string]) : split(name);
  return `${space}.${rest.split(".")[0] ?? rest}`;
}
function split(name: string): readonly [string, string] {
  const at = name.indexOf(".");
  return at < 0 ? ["aten", name] : [name.slice(0, at), name.slice(at + 1)];
}

/** @internal Those of this moment, under those of one counter. */
export function formulas(own: Readonly<Record<string, FlopFormula>>): ReadonlyMap<string, FlopFormula> {
  const all = new Map(registered);
  for (const [name, formula] of Object.entries(own)) all.set(operatorKey(name), formula);
  return all;
}

/**
 * Count an operator in every counter from now on.
 *
 * @param targets - The operator's name, `"mylib::attention"` or `"mylib.attention"`, or several.
 * @returns The formula.
 * @throws {ArgumentError} where the operator has a formula.
 */
export function registerFlopFormula(targets: string | readonly string[], formula: FlopFormula): FlopFormula {
  atMost("registerFlopFormula", arguments, 2);
  checkArguments(
    "registerFlopFormula",
    { targets, formula },
    { targets: either(filled, listOf(filled)), formula: callable },
  );
  const keys = (typeof targets === "string" ? [targets] : targets).map(operatorKey);
  for (const key of keys)
    if (registered.has(key))
      throw new ArgumentError(
        "registerFlopFormula",
        "operators that have no formula yet",
        key,
        "Give customMapping to one counter instead.",
      );
  for (const key of keys) registered.set(key, formula);
  return formula;
}
