/** `vmap`: a function of one sample, called for a whole batch at once. */
import { batched, inVmap, isBatched, settled, unbatched, type Randomness } from "../autograd/levels.js";
import { ArgumentError, NbitError } from "../errors.js";
import { byDefault, callable, isPlain, oneOf, orNull, such, whole, type Kind } from "../kinds.js";
import { cat } from "../ops/index.js";
import { getRngState, setRngState } from "../random.js";
import { signature, type Call } from "../signature.js";
import { isTensor } from "../tensor/handle.js";
import { scope } from "../tensor/scope.js";
import type { Tensor } from "../tensor/tensor.js";
import { flatten, spread, unflatten, wordsOf, type Spec } from "./trees.js";

export type { Randomness };
/** Which dimension, by argument or result; null: none. One for a whole array or object stands for all that is in it. */
export type Dims = number | null | readonly Dims[] | { readonly [name: string]: Dims };

export interface VmapArguments<A extends readonly unknown[] = never[], R = unknown> {
  /** Of tensors without the dimension that is mapped over, alone or in arrays and objects; gives such. */
  readonly func: (...args: A) => R;
  /** Which dimension of each argument is mapped over; null: the argument is the same for all. Default 0. */
  readonly inDims?: number | readonly Dims[];
  /** Where the dimension stands in each result; null: the result is the same for all, and has none. Default 0. */
  readonly outDims?: Dims;
  /** What random operators do: an error, the same for all samples, or different for each. Default "error". */
  readonly randomness?: Randomness;
  /** At most so many samples at once, for less memory. Default: all. */
  readonly chunkSize?: number | null;
}
export type VmapCall<A extends readonly unknown[], R> = Call<
  VmapArguments<A, R>,
  ["func", "inDims", "outDims", "randomness"],
  [func: (...args: A) => R, inDims?: number | readonly Dims[], outDims?: Dims, randomness?: Randomness]
>;

const isDims = (v: unknown, depth = 0): boolean =>
  v === null ||
  Number.isSafeInteger(v) ||
  (depth < 64 &&
    (Array.isArray(v)
      ? v.every((each) => isDims(each, depth + 1))
      : isPlain(v) && Object.values(v).every((each) => isDims(each, depth + 1))));
const OPTIONS = new Set(["outDims", "randomness", "chunkSize"]);
const inDimsKind: Kind<number | readonly Dims[]> = such(
  "a whole number, or an array with one, null, or arrays and objects of those for each argument",
  (v) => v !== null && !isPlain(v) && isDims(v),
);
const outDimsKind: Kind<Dims> = such(
  "a whole number, null, or arrays and objects of those",
  (v) => isDims(v) && !(isPlain(v) && Object.keys(v).some((name) => OPTIONS.has(name))),
);
export const randomnessKind = oneOf("error", "different", "same");
export const chunkKind = byDefault(null, orNull(whole("[1, ∞)")));
const read = signature(
  "vmap",
  {
    func: callable,
    inDims: byDefault(0, inDimsKind),
    outDims: byDefault(0, outDimsKind),
    randomness: byDefault("error", randomnessKind),
    chunkSize: chunkKind,
  },
  4,
);

/** How results are put together: what each `func` call gave, with its dimension. */
interface Mapped {
  readonly leaves: readonly unknown[];
  readonly dims: readonly (number | null)[];
  readonly spec: Spec;
}

/**
 * A function of a batch, from one of a sample: every operator in it runs once, for all samples. It composes with `grad`
 * and the other transforms, and with itself.
 *
 * Inside, a tensor has the shape of one sample; its values are many, so `item`, `tolist` and decisions by them are
 * errors. So is a function whose backward is JavaScript (a custom autograd function, activation checkpointing), and
 * writing into a tensor that is not mapped over what is. libtorch computes an operator without a rule for batches sample
 * by sample, and warns of it. What is written inside a recorded step makes that step run eagerly.
 *
 * @param given - func, inDims, outDims, randomness, { chunkSize }; see {@link VmapArguments}.
 * @returns A function of the same arguments, each with one dimension more. It computes on every device and does not
 *   synchronize.
 * @throws {ArgumentError} from the function it returns: for arguments without a tensor to map over, sizes that differ,
 *   dimensions that are not there, `inDims` or `outDims` of another structure, or results that are no tensors.
 * @example
 * const dots = func.vmap((a: Tensor, b: Tensor) => a.dot(b));
 * dots(randn([5, 3]), randn([5, 3])).shape; // [5]
 * const perSample = func.vmap(func.grad(loss), [null, 0, 0]); // a gradient of the weights for each sample
 * @see torch.func.vmap
 */
export function vmap<A extends readonly unknown[], R>(...given: VmapCall<A, R>): (...args: A) => R {
  const { func, inDims, outDims, randomness, chunkSize } = read(given);
  const run = func as unknown as (...args: readonly unknown[]) => unknown;
  return (...args) =>
    scope(() => {
      const { leaves, dims, size, spec } = inputsOf(args, inDims);
      const once = (chunk: readonly unknown[], count: number): Mapped =>
        inVmap(count, randomness, (level) => {
          const samples = chunk.map((leaf, i) => {
            const dim = dims[i] ?? null;
            return dim === null ? leaf : batched("vmap", leaf as Tensor, dim, level);
          });
          const output = settled("vmap", run(...(unflatten(spec, samples) as readonly unknown[])));
          return resultsOf(output, outDims, level, count);
        });
      if (chunkSize === null || chunkSize >= size) {
        const { leaves: results, spec: shape } = once(leaves, size);
        return unflatten(shape, results) as R;
      }
      return chunked(leaves, dims, size, chunkSize, randomness, once) as R;
    });
}

/** The arguments, and which dimension of each is mapped over. */
function inputsOf(
  args: readonly unknown[],
  inDims: number | readonly Dims[],
): { leaves: readonly unknown[]; dims: readonly (number | null)[]; size: number; spec: Spec } {
  if (args.length === 0) throw new ArgumentError("vmap", "a function that is called with arguments", args);
  const { leaves, spec } = flatten("vmap", args);
  const spreadDims = spread("vmap", inDims, spec);
  if (spreadDims === null)
    throw new ArgumentError("vmap", `inDims of the structure of the arguments, ${wordsOf(spec)}`, inDims);
  let size: number | null = null;
  const dims = spreadDims.map((given, i) => {
    const [dim, leaf] = [given as number | null, leaves[i]];
    if (dim === null) return null;
    if (!isTensor(leaf))
      throw new ArgumentError(
        "vmap",
        "arguments that are mapped over to be tensors",
        leaf,
        "Pass null in inDims for it.",
      );
    const n = leaf.dim();
    if (!(dim >= -n && dim < n))
      throw new ArgumentError("vmap", `inDims of ${n} dimensions at most, ${-n} ≤ dim < ${n}`, dim);
    const at = dim < 0 ? dim + n : dim;
    const length = leaf.size(at);
    if (size !== null && size !== length)
      throw new ArgumentError("vmap", `the same size of all that is mapped over, ${size}`, length);
    size = length;
    return at;
  });
  if (size === null) throw new ArgumentError("vmap", "at least one tensor to map over", inDims);
  return { leaves, dims, size, spec };
}

function resultsOf(output: unknown, outDims: Dims, level: number, count: number): Mapped {
  const { leaves, spec } = flatten("vmap", output);
  // One dimension in an array for one result that is no array, as PyTorch takes it.
  const given = spec === null && Array.isArray(outDims) && outDims.length === 1 ? (outDims[0] as Dims) : outDims;
  const dims = spread("vmap", given, spec) as (number | null)[] | null;
  if (dims === null)
    throw new ArgumentError("vmap", `outDims of the structure of the results, ${wordsOf(spec)}`, outDims);
  const results = leaves.map((leaf, i) => {
    const dim = dims[i] ?? null;
    if (dim === null) {
      if (isTensor(leaf) && isBatched("vmap", leaf, level))
        throw new ArgumentError("vmap", "a dimension in outDims for a result that differs among samples", null);
      return leaf;
    }
    if (!isTensor(leaf))
      throw new ArgumentError("vmap", "func to return tensors", leaf, "Pass null in outDims for what is none.");
    const n = leaf.dim() + 1;
    if (!(dim >= -n && dim < n)) throw new ArgumentError("vmap", `outDims with ${-n} ≤ dim < ${n}`, dim);
    return unbatched("vmap", leaf, level, count, dim);
  });
  return { leaves: results, dims, spec };
}

function chunked(
  leaves: readonly unknown[],
  dims: readonly (number | null)[],
  size: number,
  chunkSize: number,
  randomness: Randomness,
  once: (chunk: readonly unknown[], count: number) => Mapped,
): unknown {
  const state = randomness === "same" ? getRngState() : null;
  const parts: Mapped[] = [];
  for (let from = 0; from < size; from += chunkSize) {
    const count = Math.min(chunkSize, size - from);
    if (state !== null) setRngState(state);
    const chunk = leaves.map((leaf, i) => {
      const dim = dims[i] ?? null;
      return dim === null ? leaf : (leaf as Tensor).narrow(dim, from, count);
    });
    parts.push(once(chunk, count));
  }
  const [first] = parts;
  if (first === undefined) throw new NbitError("vmap: expected at least one sample to map over", "ERR_ARGUMENT");
  const joined = first.leaves.map((leaf, i) => {
    const dim = first.dims[i] ?? null;
    // The same for all samples: any part has it.
    if (dim === null) return leaf;
    return cat(
      parts.map((part) => part.leaves[i] as Tensor),
      dim,
    );
  });
  return unflatten(first.spec, joined);
}
