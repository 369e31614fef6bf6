/** Norms over the gradients of shards. */
import { noGrad } from "../../autograd/modes.js";
import { ArgumentError } from "../../errors.js";
import { listOf, real } from "../../kinds.js";
import type { Module } from "../../nn/module.js";
import { clamp, linalg, zeros } from "../../ops/index.js";
import { operator } from "../../optim/operators.js";
import { Optimizer } from "../../optim/optimizer.js";
import { atMost, checkArguments, checkOptions, type OptionNames } from "../../options.js";
import { TensorList } from "../../tensor/list.js";
import { scope } from "../../tensor/scope.js";
import { tensorKind } from "../../tensor/kinds.js";
import type { Tensor } from "../../tensor/tensor.js";
import { allReduce } from "../collectives.js";
import { requireSharded } from "./fully-shard.js";

const foreachMul_ = operator("_foreach_mul_");

export interface ClipShardedOptions {
  /** p ≥ 1, or `Infinity` for the largest |g|. Default 2. */
  readonly normType?: number;
}
const shards = listOf(tensorKind);
const OPTIONS: OptionNames<ClipShardedOptions> = { normType: real("[1, ∞]") };

/**
 * Scale the gradients of shards in place so that their joint p-norm over all ranks is at most `maxNorm`: as
 * `clipGradNorm` does for whole gradients. Sums are at least float32. One collective of one number; on CUDA it does not
 * synchronize. Every rank calls it, one without shards too.
 *
 * @param of - The optimizer whose gradients are meant, or shards.
 * @returns The norm before clipping: float64, `[]`, equal on all ranks.
 */
export function clipShardedGradNorm(
  module: Module,
  of: Optimizer | readonly Tensor[],
  maxNorm: number,
  options: ClipShardedOptions = {},
): Tensor {
  const fn = "clipShardedGradNorm";
  atMost(fn, arguments, 4);
  checkOptions(fn, options, OPTIONS);
  checkArguments(fn, { maxNorm }, { maxNorm: real("(0, ∞)") });
  const { settings } = requireSharded(fn, module);
  const given: unknown = of instanceof Optimizer ? of.paramGroups.flatMap((g) => g.params) : of;
  if (!shards.accepts(given)) throw new ArgumentError(fn, "an optimizer or an array of shards", of);
  const params = given as readonly Tensor[];
  const p = options.normType ?? 2;
  return noGrad(() =>
    scope(() => {
      const grads = params.flatMap(({ grad }) => (grad === null ? [] : [grad]));
      const wide = (g: Tensor): Tensor => (g.dtype === "float64" ? g : g.float());
      const norms = grads.map((g) => linalg.vectorNorm(wide(g), p).double().to({ device: settings.device }));
      let total = zeros([], { dtype: "float64", device: settings.device });
      for (const norm of norms) total = p === Infinity ? total.maximum(norm) : total.add(norm.pow(p));
      allReduce(total, { op: p === Infinity ? "max" : "sum", group: settings.group });
      const norm = p === Infinity ? total : total.pow(1 / p);
      const factor = clamp(norm.add(1e-6).reciprocal().mul(maxNorm), { max: 1 });
      const kinds = new Map<string, Tensor[]>();
      for (const g of grads) {
        const kind = `${g.dtype} ${g.device.toString()}`;
        kinds.set(kind, [...(kinds.get(kind) ?? []), g]);
      }
      for (const list of kinds.values()) {
        const [first] = list;
        if (first !== undefined)
          foreachMul_(TensorList.of(list), factor.to({ device: first.device, dtype: first.dtype }));
      }
      return norm;
    }),
  );
}
