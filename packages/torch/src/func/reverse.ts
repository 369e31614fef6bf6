/** `grad`, `gradAndValue` and `vjp`: derivatives of functions by their arguments, backwards. */
import { grad as gradients } from "../autograd/backward.js";
import { inGrad, lifted, lowered, settled } from "../autograd/levels.js";
import { enableGrad, isGradEnabled } from "../autograd/modes.js";
import { ArgumentError } from "../errors.js";
import { byDefault, callable, flag, isPlain } from "../kinds.js";
import { zerosLike } from "../ops/index.js";
import { atMost, checkArguments } from "../options.js";
import { signature, type Call } from "../signature.js";
import { isTensor } from "../tensor/handle.js";
import { keep, scope } from "../tensor/scope.js";
import type { Tensor } from "../tensor/tensor.js";
import { argnumsKind, pick, positionsOf, type Argnums } from "./argnums.js";
import { flatten, mapLeaves, sameSpec, tensorsIn, unflatten, wordsOf } from "./trees.js";

export type AnyFunction = (...args: readonly unknown[]) => unknown;
export interface GradArguments<A extends readonly unknown[] = never[]> {
  /** Gives one number as a tensor of shape `[]`; with `hasAux` a pair of it and of tensors that come along. */
  readonly func: (...args: A) => unknown;
  /** By which arguments, each a floating or complex tensor, or arrays and objects of those. Default 0. */
  readonly argnums?: Argnums;
  /** The function gives `[output, aux]`. Default false. */
  readonly hasAux?: boolean;
}
export type GradCall<A extends readonly unknown[]> = Call<
  GradArguments<A>,
  ["func", "argnums", "hasAux"],
  [func: (...args: A) => unknown, argnums?: Argnums, hasAux?: boolean]
>;
/** Of the structure of an argument, or, for several argnums, an array of those. */
type Like<A extends readonly unknown[]> = A[0];

const ROWS = { func: callable, argnums: byDefault(0, argnumsKind), hasAux: byDefault(false, flag) };
const readGrad = signature("grad", ROWS);

/** `[output, aux]`, where a function is to give both. */
export function withAux(fn: string, result: unknown, hasAux: boolean): readonly [output: unknown, aux: unknown] {
  const output = settled(fn, result);
  if (!hasAux) return [output, null];
  if (!Array.isArray(output) || output.length !== 2)
    throw new ArgumentError(fn, "func to return [output, aux] under hasAux", output);
  return [output[0] as unknown, output[1] as unknown];
}
/** Every tensor of a tree from inside of a level. */
export function lowerAll(fn: string, tree: unknown, level: number): unknown {
  return mapLeaves(fn, tree, (leaf) => (isTensor(leaf) ? lowered(fn, leaf, level) : leaf));
}
/** Every tensor of an argument into a level; `differentiate`: all of them leaves of its graph. */
function liftAll(fn: string, tree: unknown, level: number, differentiate: boolean): unknown {
  if (differentiate)
    for (const t of tensorsIn(fn, "what is differentiated by", flatten(fn, tree)))
      if (!t.isFloatingPoint() && !t.isComplex())
        throw new ArgumentError(fn, "what is differentiated by to be floating or complex", t.dtype);
  return mapLeaves(fn, tree, (leaf) => (isTensor(leaf) ? lifted(fn, leaf, level, differentiate) : leaf));
}

/** Gradients by the inputs, zeros where the outputs do not depend on one. */
function derivatives(
  outputs: readonly Tensor[],
  inputs: readonly Tensor[],
  cotangents: readonly Tensor[] | null,
  retainGraph: boolean | null,
  createGraph: boolean,
): Tensor[] {
  const at = outputs.flatMap((t, i) => (t.requiresGrad ? [i] : []));
  if (at.length === 0) return inputs.map((t) => zerosLike(t));
  const found = gradients(
    at.map((i) => outputs[i] as Tensor),
    inputs,
    {
      gradOutputs: cotangents === null ? null : at.map((i) => cotangents[i] ?? null),
      retainGraph,
      createGraph,
      allowUnused: true,
    },
  );
  return found.map((g, i) => g ?? zerosLike(inputs[i] as Tensor));
}

function gradAndOutput(fn: string, given: readonly unknown[]): (args: readonly unknown[]) => readonly unknown[] {
  const { func, argnums, hasAux } = readGrad(given, fn);
  return (args) =>
    scope(() => {
      const positions = positionsOf(fn, argnums, args.length);
      return inGrad((level) =>
        enableGrad(() => {
          const inside = args.map((each, i) => liftAll(fn, each, level, positions.includes(i)));
          const [output, aux] = withAux(fn, (func as AnyFunction)(...inside), hasAux);
          if (!isTensor(output)) throw new ArgumentError(fn, "func to return a tensor", output);
          if (output.dim() !== 0)
            throw new ArgumentError(
              fn,
              "func to return one number, a tensor of shape []",
              output,
              "Sum it, or use func.vjp or func.jacrev.",
            );
          const inputs = flatten(fn, pick(inside, argnums, positions));
          // With a graph: an outer transform differentiates this one.
          const found = derivatives([output], tensorsIn(fn, "what is differentiated by", inputs), null, null, true);
          return [
            lowerAll(fn, unflatten(inputs.spec, found), level),
            lowered(fn, output, level),
            lowerAll(fn, aux, level),
          ];
        }),
      );
    });
}

/**
 * The gradient of a function as a function: `grad(f)(x)` is f′(x). What surrounds it, `noGrad` too, does not change it;
 * a `noGrad` inside of `func` does.
 *
 * @param given - func, argnums, hasAux; see {@link GradArguments}.
 * @returns A function of the same arguments. It gives gradients in the structure of the argument at `argnums` (an array
 *   of those for several), with the argument's dtype and device; under `hasAux` `[gradients, aux]`. Zeros where the output does
 *   not depend on an input. Does not synchronize.
 * @throws {ArgumentError} from the function it returns: for an output that is not of shape `[]`, or argnums without an
 *   argument.
 * @example
 * const cosine = func.grad((x: Tensor) => x.sin());
 * const minusSine = func.grad(func.grad((x: Tensor) => x.sin()));
 * @see torch.func.grad
 */
export function grad<A extends readonly unknown[], G = Like<A>>(...given: GradCall<A>): (...args: A) => G {
  const run = gradAndOutput("grad", given);
  const { hasAux } = readGrad(given, "grad");
  return (...args) => {
    const [found, , aux] = run(args);
    return (hasAux ? [found, aux] : found) as G;
  };
}

/**
 * As {@link grad}, with the function's output: `[gradients, output]`; under `hasAux` `[gradients, [output, aux]]`.
 * @example const [gradient, loss] = func.gradAndValue(lossOf)(weights, x, y);
 */
export function gradAndValue<A extends readonly unknown[], G = Like<A>, V = Tensor>(
  ...given: GradCall<A>
): (...args: A) => [gradients: G, value: V] {
  const run = gradAndOutput("gradAndValue", given);
  const { hasAux } = readGrad(given, "gradAndValue");
  return (...args) => {
    const [found, output, aux] = run(args);
    return [found, hasAux ? [output, aux] : output] as [G, V];
  };
}

export interface AuxOptions {
  /** The function gives `[output, aux]`, tensors that come along and are not differentiated. Default false. */
  readonly hasAux?: boolean;
}
/** Cotangents in the structure of the outputs → gradients by all primals, each in its structure. */
export type VjpFunction<G> = (cotangents: unknown, retainGraph?: boolean, createGraph?: boolean) => G;

/** The last argument, where it is `{ hasAux }` and so no primal. */
export function auxApart(given: readonly unknown[]): readonly [primals: readonly unknown[], hasAux: boolean] {
  const last = given.at(-1);
  if (!isPlain(last) || Object.keys(last).length !== 1 || typeof last["hasAux"] !== "boolean") return [given, false];
  return [given.slice(0, -1), last["hasAux"]];
}

/**
 * The outputs of a function, and what multiplies a vector with its Jacobian from the left. The function is called once;
 * its graph lives for as long as the second result does.
 *
 * @param func - Gives floating or complex tensors, alone or in arrays and objects.
 * @param primals - Its arguments, all of them differentiated by; behind them `{ hasAux: true }` where it gives `[output,
 *   aux]`.
 * @returns `[output, vjpFunction]`, or `[output, vjpFunction, aux]`. `vjpFunction(cotangents, retainGraph = true,
 *   createGraph)` takes tensors of the structure, shapes and dtypes of the output, and gives an array with gradients for
 *   each primal. `createGraph` is whether gradients are recorded where it is called.
 * @example
 * const [y, vjpFunction] = func.vjp((x: Tensor) => x.sin(), x);
 * const [gx] = vjpFunction(onesLike(y)); // cos(x)
 * @see torch.func.vjp
 */
export function vjp<A extends readonly unknown[], R = unknown>(
  func: (...args: A) => R,
  ...primals: [...A] | [...A, options: AuxOptions]
): readonly [output: R, vjpFunction: VjpFunction<A>, aux?: unknown] {
  const [args, hasAux] = auxApart(primals);
  checkArguments("vjp", { func }, { func: callable });
  const all = args.map((_, i) => i);
  const found = scope(() => {
    const { held, ...rest } = pullback("vjp", func as unknown as AnyFunction, args, all, hasAux);
    // What holds the graph, for as long as somebody holds `back`.
    for (const t of held) keep(t);
    return rest;
  });
  const result = [found.output, found.back] as const;
  return (hasAux ? [...result, found.aux] : result) as unknown as readonly [R, VjpFunction<A>];
}

interface Pullback {
  readonly output: unknown;
  readonly back: VjpFunction<unknown>;
  readonly aux: unknown;
  /** What `back` needs. */
  readonly held: readonly Tensor[];
}
/** {@link vjp} by the arguments at `argnums`. */
export function pullback(
  fn: string,
  func: AnyFunction,
  args: readonly unknown[],
  argnums: Argnums,
  hasAux: boolean,
): Pullback {
  const positions = positionsOf(fn, argnums, args.length);
  return inGrad((level) =>
    enableGrad(() => {
      const inside = args.map((each, i) => liftAll(fn, each, level, positions.includes(i)));
      const [output, aux] = withAux(fn, func(...inside), hasAux);
      const flat = flatten(fn, output);
      const outputs = tensorsIn(fn, "what func returns", flat);
      for (const t of outputs)
        if (!t.isFloatingPoint() && !t.isComplex())
          throw new ArgumentError(fn, "func to return floating or complex tensors", t.dtype);
      const picked = flatten(fn, pick(inside, argnums, positions));
      const inputs = tensorsIn(fn, "what is differentiated by", picked);
      const result = lowerAll(fn, output, level);
      const back: VjpFunction<unknown> = function (cotangents, retainGraph = true, createGraph = isGradEnabled()) {
        atMost("vjpFunction", arguments, 3);
        checkArguments("vjpFunction", { retainGraph, createGraph }, { retainGraph: flag, createGraph: flag });
        return scope(() => {
          const given = flatten("vjpFunction", cotangents);
          if (!sameSpec(given.spec, flat.spec))
            throw new ArgumentError("vjpFunction", `cotangents of the structure ${wordsOf(flat.spec)}`, cotangents);
          const vectors = tensorsIn("vjpFunction", "cotangents", given);
          const products = derivatives(outputs, inputs, vectors, retainGraph, createGraph);
          return unflatten(
            picked.spec,
            products.map((t) => lowered("vjpFunction", t, level)),
          );
        });
      };
      return { output: result, back, aux: lowerAll(fn, aux, level), held: [...outputs, ...inputs] };
    }),
  );
}
