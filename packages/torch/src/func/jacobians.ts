/** `jacrev` and `hessian`. */
import { byDefault, callable, flag } from "../kinds.js";
import { cat, split } from "../ops/index.js";
import { signature, type Call } from "../signature.js";
import { scope } from "../tensor/scope.js";
import type { Tensor } from "../tensor/tensor.js";
import { argnumsKind, pick, positionsOf, type Argnums } from "./argnums.js";
import { basisOf, refuseComplex } from "./basis.js";
import { jacfwd, pickedAs } from "./forward.js";
import { pullback, type AnyFunction } from "./reverse.js";
import { flatten, tensorsIn, unflatten } from "./trees.js";
import { chunkKind, vmap } from "./vmap.js";

export interface JacrevArguments<A extends readonly unknown[] = never[]> {
  /** Gives real tensors, alone or in arrays and objects; with `hasAux` a pair of those and of tensors that come along. */
  readonly func: (...args: A) => unknown;
  /** By which arguments, real. Default 0. */
  readonly argnums?: Argnums;
  /** The function gives `[output, aux]`. Default false. */
  readonly hasAux?: boolean;
  /** At most so many rows at once, for less memory; 1: one after the other, without `vmap`. Default: all. */
  readonly chunkSize?: number | null;
}
export type JacrevCall<A extends readonly unknown[]> = Call<
  JacrevArguments<A>,
  ["func", "argnums"],
  [func: (...args: A) => unknown, argnums?: Argnums]
>;
const readJacrev = signature(
  "jacrev",
  { func: callable, argnums: byDefault(0, argnumsKind), hasAux: byDefault(false, flag), chunkSize: chunkKind },
  2,
);

/**
 * The Jacobian of a function, a row for each number of the output, all by one backward: for many inputs and few outputs.
 *
 * @param given - func, argnums, { hasAux, chunkSize }; see {@link JacrevArguments}.
 * @returns A function of the same arguments. For each output `[...output.shape, ...input.shape]`, in the structure of the
 *   outputs, and in it that of the argument; under `hasAux` `[jacobian, aux]`.
 * @example func.jacrev((x: Tensor) => x.sin())(x); // diag(cos(x))
 * @see torch.func.jacrev
 */
export function jacrev<A extends readonly unknown[], J = Tensor>(...given: JacrevCall<A>): (...args: A) => J {
  const { func, argnums, hasAux, chunkSize } = readJacrev(given);
  return (...args) =>
    scope(() => {
      refuseComplex("jacrev", "arguments", args);
      const positions = positionsOf("jacrev", argnums, args.length);
      const { output, back, aux } = pullback("jacrev", func as unknown as AnyFunction, args, positions, hasAux);
      refuseComplex("jacrev", "outputs", output);
      const flat = flatten("jacrev", output);
      const outputs = tensorsIn("jacrev", "outputs", flat);
      const picked = flatten("jacrev", pick(args, positions, positions));
      const inputs = tensorsIn("jacrev", "what is differentiated by", picked);
      const rows = rowsOf(outputs, (basis) => back(unflatten(flat.spec, basis)), chunkSize);
      const sizes = outputs.map((t) => t.numel());
      // By input all outputs in one tensor: cut by output, and the other way round.
      const byInput = rows.map((each, i) =>
        split(each, sizes, 0).map((part, o) =>
          part.view([...(outputs[o] as Tensor).shape, ...(inputs[i] as Tensor).shape]),
        ),
      );
      const jacobian = unflatten(
        flat.spec,
        outputs.map((_, o) =>
          pickedAs(
            argnums,
            unflatten(
              picked.spec,
              byInput.map((parts) => parts[o]),
            ) as readonly unknown[],
          ),
        ),
      );
      return (hasAux ? [jacobian, aux] : jacobian) as J;
    });
}

/** For each input `[numbers of all outputs, ...shape]`. */
function rowsOf(
  outputs: readonly Tensor[],
  back: (basis: readonly unknown[]) => unknown,
  chunkSize: number | null,
): readonly Tensor[] {
  const total = outputs.reduce((n, t) => n + t.numel(), 0);
  const step = Math.max(1, Math.min(chunkSize ?? total, total));
  const leaves = (tree: unknown): readonly Tensor[] => tensorsIn("jacrev", "gradients", flatten("jacrev", tree));
  const chunks: (readonly Tensor[])[] = [];
  for (let from = 0; from < Math.max(total, 1); from += step) {
    const basis = basisOf(outputs, from, step);
    chunks.push(
      chunkSize === 1
        ? leaves(back(basis.map((t) => t.squeeze(0)))).map((t) => t.unsqueeze(0))
        : leaves(vmap((...each: readonly unknown[]) => back(each))(...basis)),
    );
  }
  const [first = []] = chunks;
  return chunks.length === 1
    ? first
    : first.map((_, i) =>
        cat(
          chunks.map((chunk) => chunk[i] as Tensor),
          0,
        ),
      );
}

export interface HessianArguments<A extends readonly unknown[] = never[]> {
  readonly func: (...args: A) => unknown;
  /** By which arguments, real. Default 0. */
  readonly argnums?: Argnums;
}
export type HessianCall<A extends readonly unknown[]> = Call<
  HessianArguments<A>,
  ["func", "argnums"],
  [func: (...args: A) => unknown, argnums?: Argnums]
>;
const readHessian = signature("hessian", { func: callable, argnums: byDefault(0, argnumsKind) });

/**
 * All second derivatives of a function: `jacfwd(jacrev(func))`. Where an operator's backward has no derivative forwards,
 * libtorch's error names it: `jacrev(jacrev(func))` takes more memory, and knows more operators.
 *
 * @returns A function of the same arguments. For one output and one input `[...output.shape, ...input.shape,
 *   ...input.shape]`.
 * @example func.hessian((x: Tensor) => x.sin().sum())(x); // diag(-sin(x))
 * @see torch.func.hessian
 */
export function hessian<A extends readonly unknown[], H = Tensor>(...given: HessianCall<A>): (...args: A) => H {
  const { func, argnums } = readHessian(given);
  return jacfwd<A, H>(jacrev(func as unknown as (...args: A) => unknown, argnums), argnums);
}
