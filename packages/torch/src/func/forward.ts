/** `jvp`, `linearize` and `jacfwd`: derivatives of functions by their arguments, forwards. */
import { dual, inJvp, lifted, undual } from "../autograd/levels.js";
import { ArgumentError } from "../errors.js";
import { byDefault, callable, flag, such } from "../kinds.js";
import { split, zerosLike } from "../ops/index.js";
import { checkArguments } from "../options.js";
import { signature, type Call } from "../signature.js";
import { isTensor } from "../tensor/handle.js";
import { keep, scope } from "../tensor/scope.js";
import type { Tensor } from "../tensor/tensor.js";
import { argnumsKind, pick, positionsOf, type Argnums } from "./argnums.js";
import { basisOf, refuseComplex } from "./basis.js";
import { lowerAll, withAux, type AnyFunction } from "./reverse.js";
import { flatten, mapLeaves, sameSpec, tensorsIn, unflatten, wordsOf } from "./trees.js";
import { randomnessKind, vmap, type Randomness } from "./vmap.js";

export interface JvpArguments<A extends readonly unknown[] = never[], R = unknown> {
  /** Gives tensors, alone or in arrays and objects. */
  readonly func: (...args: A) => R;
  /** The arguments of `func`, in an array. */
  readonly primals: Readonly<A>;
  /** Directions, of the structure, shapes and dtypes of `primals`. */
  readonly tangents: Readonly<A>;
  /** An error, rather than zeros, where an output does not depend on the inputs. Default false. */
  readonly strict?: boolean;
  /** The function gives `[output, aux]`. Default false. */
  readonly hasAux?: boolean;
}
export type JvpCall<A extends readonly unknown[], R> = Call<
  JvpArguments<A, R>,
  ["func", "primals", "tangents"],
  [func: (...args: A) => R, primals: Readonly<A>, tangents: Readonly<A>]
>;
const list = such<readonly unknown[]>("an array of what func is called with", Array.isArray);
const readJvp = signature(
  "jvp",
  { func: callable, primals: list, tangents: list, strict: byDefault(false, flag), hasAux: byDefault(false, flag) },
  3,
);

/**
 * The outputs of a function, and its Jacobian times a vector from the right: both at once, forwards, without a graph.
 *
 * Where an operator has no derivative forwards, libtorch's error names it; `autograd.functional.jvp` takes two backwards
 * instead.
 *
 * @param given - func, primals, tangents, { strict, hasAux }; see {@link JvpArguments}.
 * @returns `[output, tangent]`, of one structure; under `hasAux` `[output, tangent, aux]`. Does not synchronize.
 * @example
 * const [y, dy] = func.jvp((x: Tensor) => x.sin(), [x], [onesLike(x)]); // dy = cos(x)
 * @see torch.func.jvp
 */
export function jvp<A extends readonly unknown[], R>(
  ...given: JvpCall<A, R>
): readonly [output: R, tangent: R, aux?: unknown] {
  const { func, primals, tangents, strict, hasAux } = readJvp(given);
  const all = primals.map((_, i) => i);
  const { output, tangent, aux } = pushforward(
    "jvp",
    func as unknown as AnyFunction,
    primals,
    tangents,
    all,
    strict,
    hasAux,
  );
  return (hasAux ? [output, tangent, aux] : [output, tangent]) as unknown as readonly [R, R];
}

interface Pushforward {
  readonly output: unknown;
  readonly tangent: unknown;
  readonly aux: unknown;
}
/** {@link jvp} by the arguments at `argnums`, of which `tangents` are. */
function pushforward(
  fn: string,
  func: AnyFunction,
  args: readonly unknown[],
  tangents: readonly unknown[],
  argnums: readonly number[],
  strict: boolean,
  hasAux: boolean,
): Pushforward {
  const positions = positionsOf(fn, argnums, args.length);
  const primal = flatten(fn, pick(args, argnums, positions));
  const direction = flatten(fn, tangents);
  if (!sameSpec(primal.spec, direction.spec))
    throw new ArgumentError(fn, `tangents of the structure of the primals, ${wordsOf(primal.spec)}`, tangents);
  const values = tensorsIn(fn, "primals", primal);
  const vectors = tensorsIn(fn, "tangents", direction);
  return scope(() =>
    inJvp((level) => {
      const duals = unflatten(
        primal.spec,
        values.map((t, i) => dual(fn, t, vectors[i] as Tensor)),
      ) as readonly unknown[];
      const inside = args.map((each, i) =>
        positions.includes(i)
          ? duals[positions.indexOf(i)]
          : mapLeaves(fn, each, (leaf) => (isTensor(leaf) ? lifted(fn, leaf, level, false) : leaf)),
      );
      const [output, aux] = withAux(fn, func(...inside), hasAux);
      const flat = flatten(fn, output);
      const pairs = tensorsIn(fn, "what func returns", flat).map((t) => {
        const [value, derivative] = undual(fn, t);
        if (derivative === null && strict)
          throw new ArgumentError(fn, "an output that depends on the inputs", t, "strict: false gives zeros instead.");
        return [value, derivative ?? zerosLike(value)] as const;
      });
      const out = (tree: readonly Tensor[]): unknown => lowerAll(fn, unflatten(flat.spec, tree), level);
      return {
        output: out(pairs.map(([value]) => value)),
        tangent: out(pairs.map(([, derivative]) => derivative)),
        aux: lowerAll(fn, aux, level),
      };
    }),
  );
}

/**
 * The outputs of a function, and a function of tangents that gives its Jacobian times them at these arguments. PyTorch
 * records the linear part once; here `func` runs again for each tangent.
 *
 * @example
 * const [y, along] = func.linearize((x: Tensor) => x.sin(), x);
 * along(onesLike(x)); // cos(x)
 */
export function linearize<A extends readonly unknown[], R>(
  func: (...args: A) => R,
  ...primals: A
): readonly [output: R, jvpFunction: (...tangents: A) => R] {
  checkArguments("linearize", { func }, { func: callable });
  for (const t of tensorsIn("linearize", "primals", flatten("linearize", primals))) keep(t);
  return [func(...primals), (...tangents) => jvp(func, primals, tangents)[1]];
}

export interface JacfwdArguments<A extends readonly unknown[] = never[]> {
  /** Gives real tensors, alone or in arrays and objects; with `hasAux` a pair of those and of tensors that come along. */
  readonly func: (...args: A) => unknown;
  /** By which arguments, real. Default 0. */
  readonly argnums?: Argnums;
  /** The function gives `[output, aux]`. Default false. */
  readonly hasAux?: boolean;
  /** What random operators do for the columns: see `vmap`. Default "error". */
  readonly randomness?: Randomness;
}
export type JacfwdCall<A extends readonly unknown[]> = Call<
  JacfwdArguments<A>,
  ["func", "argnums", "hasAux"],
  [func: (...args: A) => unknown, argnums?: Argnums, hasAux?: boolean]
>;
const readJacfwd = signature(
  "jacfwd",
  {
    func: callable,
    argnums: byDefault(0, argnumsKind),
    hasAux: byDefault(false, flag),
    randomness: byDefault("error", randomnessKind),
  },
  3,
);

/**
 * The Jacobian of a function, a column for each number of the input, all at once: for few inputs and many outputs.
 *
 * @param given - func, argnums, hasAux, { randomness }; see {@link JacfwdArguments}.
 * @returns A function of the same arguments. For each output `[...output.shape, ...input.shape]`, in the structure of the
 *   outputs, and in it that of the argument; under `hasAux` `[jacobian, aux]`.
 * @example func.jacfwd((x: Tensor) => x.sin())(x); // diag(cos(x))
 * @see torch.func.jacfwd
 */
export function jacfwd<A extends readonly unknown[], J = Tensor>(...given: JacfwdCall<A>): (...args: A) => J {
  const { func, argnums, hasAux, randomness } = readJacfwd(given);
  return (...args) =>
    scope(() => {
      refuseComplex("jacfwd", "arguments", args);
      const positions = positionsOf("jacfwd", argnums, args.length);
      const picked = flatten(
        "jacfwd",
        positions.map((at) => args[at]),
      );
      const inputs = tensorsIn("jacfwd", "what is differentiated by", picked);
      const column = (...basis: readonly unknown[]): readonly unknown[] => {
        const found = pushforward("jacfwd", func as unknown as AnyFunction, args, basis, positions, false, hasAux);
        refuseComplex("jacfwd", "outputs", found.output);
        return [found.tangent, found.aux];
      };
      const basis = unflatten(picked.spec, basisOf(inputs, 0, null)) as readonly unknown[];
      const aux = hasAux ? 0 : null;
      const [columns, auxes] = vmap(column, 0, [0, aux], randomness)(...basis);
      const flat = flatten("jacfwd", columns);
      const sizes = inputs.map((t) => t.numel());
      const jacobian = unflatten(
        flat.spec,
        tensorsIn("jacfwd", "outputs", flat).map((out) => {
          const last = out.movedim(0, -1);
          const parts = split(last, sizes, -1).map((part, i) =>
            part.reshape([...last.shape.slice(0, -1), ...(inputs[i] as Tensor).shape]),
          );
          return pickedAs(argnums, unflatten(picked.spec, parts) as readonly unknown[]);
        }),
      );
      // Each column has it, and all are the same.
      const first = (leaf: unknown): unknown => (isTensor(leaf) ? leaf.select(0, 0) : leaf);
      return (hasAux ? [jacobian, mapLeaves("jacfwd", auxes, first)] : jacobian) as J;
    });
}
/** For one argnum its value alone. */
export function pickedAs(argnums: Argnums, values: readonly unknown[]): unknown {
  return typeof argnums === "number" ? values[0] : values;
}
