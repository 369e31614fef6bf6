/** Gradients averaged over the ranks while backward runs: c10d's Reducer. */
import { ArgumentError } from "../errors.js";
import { flag, listOf, oneOf, orNull, such, text, whole } from "../kinds.js";
import { checkArguments, checkOptions, type OptionNames } from "../options.js";
import { tensorKind } from "../tensor/kinds.js";
import type { Tensor } from "../tensor/tensor.js";
import { groupOf, type ProcessGroup } from "./group.js";
import { distOperator } from "./native-calls.js";

/** How gradients travel: in their own dtype ("average"), in another, or as low-rank factors. */
export type CommHook = "average" | "float32" | "float16" | "bfloat16" | "powerSGD";

export interface ReducerOptions {
  readonly group?: ProcessGroup | null;
  /** Default "average". */
  readonly hook?: CommHook;
  /** Bytes of a bucket. Default 25 MiB, of the first 1 MiB. */
  readonly bucketBytes?: number;
  readonly firstBucketBytes?: number;
  /** Parameters that a backward does not reach are waited for by nobody. Costs a pass over the graph. Default false. */
  readonly findUnusedParameters?: boolean;
  /** Gradients are views of the buckets: no copies, and none twice in memory. Default true. */
  readonly gradientAsBucketView?: boolean;
  /** Every backward reaches the same parameters, each equally often. Default false. */
  readonly staticGraph?: boolean;
  /** Of hook "powerSGD": columns of the factors (1), and backwards before it begins (10). */
  readonly powerSGDRank?: number;
  readonly powerSGDStart?: number;
  /**
   * In which order parameters are in buckets, by names: `bucketOrder` of the reducer that this one goes on from. Sums of
   * more than two ranks are rounded as in that one from the first backward on. Rank 0's counts; all pass one, or none.
   * Default null: as gradients arrive in the first backward.
   */
  readonly bucketOrder?: readonly string[] | null;
}

const OPTIONS: OptionNames<ReducerOptions> = {
  group: true,
  hook: oneOf("average", "float32", "float16", "bfloat16", "powerSGD"),
  bucketBytes: whole("[1, ∞)"),
  firstBucketBytes: whole("[1, ∞)"),
  findUnusedParameters: flag,
  gradientAsBucketView: flag,
  staticGraph: flag,
  powerSGDRank: whole("[1, ∞)"),
  powerSGDStart: whole("[0, ∞)"),
  bucketOrder: orNull(listOf(text)),
};

const namedTensors = listOf(
  such<readonly [string, Tensor]>(
    "a name and a tensor: [...module.namedParameters()]",
    (v) => Array.isArray(v) && v.length === 2 && text.accepts(v[0]) && tensorKind.accepts(v[1]),
  ),
);

const MIB = 1 << 20;

/**
 * What a data-parallel strategy calls around each forward and backward. Gradients are averages over the ranks when
 * backward returns. Made after parameters are equal on all ranks and on their device.
 */
export class Reducer {
  readonly #id: number;
  readonly #names: readonly string[];
  #freed = false;

  constructor(parameters: readonly (readonly [name: string, parameter: Tensor])[], options: ReducerOptions = {}) {
    checkArguments("Reducer", { parameters }, { parameters: namedTensors });
    checkOptions("Reducer", options, OPTIONS);
    const group = groupOf("Reducer", options.group);
    const trained = parameters.filter(([, p]) => p.requiresGrad);
    if (trained.length === 0) throw new ArgumentError("Reducer", "parameters that require gradients", "none");
    this.#names = trained.map(([name]) => name);
    this.#id = Number(
      distOperator("reducer")(
        trained.map(([, p]) => p),
        this.#names,
        group.name,
        options.hook ?? "average",
        options.bucketBytes ?? 25 * MIB,
        options.firstBucketBytes ?? MIB,
        options.findUnusedParameters ?? false,
        options.gradientAsBucketView ?? true,
        options.staticGraph ?? false,
        options.powerSGDRank ?? 1,
        options.powerSGDStart ?? 10,
        indicesIn(this.#names, options.bucketOrder ?? []),
      ),
    );
  }

  /** Before a forward. `sync`: its backward's gradients are averaged; otherwise they add up on this rank. */
  beforeForward(sync: boolean): void {
    distOperator("reducer_before_forward")(this.#id, sync);
  }
  /** Before the backward of `outputs`, where it is to average. */
  beforeBackward(outputs: readonly Tensor[]): void {
    distOperator("reducer_before_backward")(this.#id, outputs);
  }
  /**
   * After it.
   * @throws {DistributedError} ERR_DIST_UNUSED_PARAMETERS, with the names of parameters that it did not reach.
   */
  afterBackward(): void {
    distOperator("reducer_after_backward")(this.#id);
  }
  /** Buckets that the latest backward averaged. */
  get bucketsReduced(): number {
    return Number(distOperator("reducer_buckets_reduced")(this.#id));
  }
  /**
   * In which order parameters are in buckets from the next backward on, by names; null where no backward has shown it
   * yet. Part of a checkpoint: with the same order in a new Reducer, training goes on to the last bit.
   */
  get bucketOrder(): readonly string[] | null {
    const order = distOperator("reducer_order")(this.#id).map(Number);
    return order.length === 0 ? null : order.map((i) => this.#names[i] ?? "");
  }
  /** Take its hooks off the parameters. */
  free(): void {
    if (this.#freed) return;
    this.#freed = true;
    distOperator("reducer_free")(this.#id);
  }
}

function indicesIn(names: readonly string[], order: readonly string[]): number[] {
  const places = new Map(names.map((name, i) => [name, i]));
  const indices = order.flatMap((name) => places.get(name) ?? []);
  if (order.length > 0 && (order.length !== names.length || new Set(indices).size !== names.length))
    throw new ArgumentError(
      "Reducer",
      `bucketOrder to name each of the ${names.length} parameters once`,
      order,
      "Take that of a reducer of the same parameters, or leave it out.",
    );
  return indices;
}
