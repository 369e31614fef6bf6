/** Collectives of a process group: every member calls the same, in the same order. */
import { ArgumentError } from "../errors.js";
import { noGrad } from "../autograd/index.js";
import { flag, listOf, oneOf, orNull, whole } from "../kinds.js";
import { atMost, checkArguments, checkOptions, type OptionNames } from "../options.js";
import { empty, emptyLike } from "../ops/index.js";
import type { Tensor } from "../tensor/tensor.js";
import { tensorKind } from "../tensor/kinds.js";
import { native } from "../native.js";
import { groupOf, type ProcessGroup } from "./group.js";
import { distOperator, waitLater, waitNow } from "./native-calls.js";

/** How values of several ranks become one. */
export const ReduceOp = {
  SUM: "sum",
  AVG: "avg",
  PRODUCT: "product",
  MIN: "min",
  MAX: "max",
  BAND: "band",
  BOR: "bor",
  BXOR: "bxor",
} as const;
export type ReduceOp = (typeof ReduceOp)[keyof typeof ReduceOp];
const reduceOps = oneOf("sum", "avg", "product", "min", "max", "band", "bor", "bxor");

/** Work that nobody holds any more will not be waited for: the addon lets go of its tensors. */
const dropped = new FinalizationRegistry<number>((id) => native.distForget(id));

/** A collective that was begun. `wait()` blocks until it is done; `await work` does not. */
export class Work implements PromiseLike<void> {
  readonly #id: number;
  #promise: Promise<void> | null = null;
  #done: boolean;
  #error: unknown = null;
  readonly #keeps: readonly Tensor[];

  /** @internal */
  constructor(id: number, keeps: readonly Tensor[]) {
    this.#id = id;
    this.#done = id === 0;
    this.#keeps = keeps;
    if (id !== 0) dropped.register(this, id, this);
  }

  /**
   * Block until results are there. On CUDA the current stream waits, and this thread does not.
   * @throws {DistributedError} where a rank died, failed, or does something else.
   */
  wait(): void {
    if (this.#error !== null) throw this.#error;
    if (this.#done) return;
    if (this.#promise !== null)
      throw new ArgumentError("Work.wait", "work that is not awaited already", this, "Use one of await and wait().");
    this.#done = true;
    dropped.unregister(this);
    try {
      waitNow(this.#id);
    } catch (error) {
      this.#error = error;
      throw error;
    }
  }
  /** Whether it was waited for. */
  get waited(): boolean {
    return this.#done;
  }
  /** The tensors that it writes to. */
  result(): readonly Tensor[] {
    return this.#keeps;
  }
  getFuture(): Promise<void> {
    if (this.#error !== null) return Promise.reject(this.#error as Error);
    if (this.#done) return this.#promise ?? Promise.resolve();
    dropped.unregister(this);
    return (this.#promise ??= waitLater(this.#id).then(() => {
      this.#done = true;
    }));
  }
  then<A = void, B = never>(
    resolved?: ((value: void) => A | PromiseLike<A>) | null,
    rejected?: ((reason: unknown) => B | PromiseLike<B>) | null,
  ): Promise<A | B> {
    return this.getFuture().then(resolved, rejected);
  }
}

export interface CollectiveOptions {
  /** Default: all processes. */
  readonly group?: ProcessGroup | null;
  /** Return {@link Work} at once. Default false: results are there when the call returns. */
  readonly asyncOp?: boolean;
}
export interface ReduceOptions extends CollectiveOptions {
  /** Default "sum". "avg" of floating point only. */
  readonly op?: ReduceOp;
}
export interface RootOptions extends CollectiveOptions {
  /** A rank of the world. Default 0. */
  readonly src?: number;
}
export interface DestinationOptions extends CollectiveOptions {
  /** A rank of the world. Default 0. */
  readonly dst?: number;
}
export interface PointOptions extends CollectiveOptions {
  /** Which message between the two, where there are several. Default 0. */
  readonly tag?: number;
}
const COMMON: OptionNames<CollectiveOptions> = { group: true, asyncOp: flag };
const REDUCE: OptionNames<ReduceOptions> = { ...COMMON, op: reduceOps };
const REDUCE_TO: OptionNames<ReduceOptions & DestinationOptions> = { ...REDUCE, dst: whole("[0, ∞)") };
const ROOT: OptionNames<RootOptions> = { ...COMMON, src: whole("[0, ∞)") };
const POINT: OptionNames<PointOptions> = { ...COMMON, tag: whole("[0, 1000000]") };

const tensors = listOf(tensorKind);

/** What a call returns: Work where `asyncOp` is true, nothing where it is not. */
type Result<O extends CollectiveOptions> = O extends { readonly asyncOp: true } ? Work : void;

function finish<O extends CollectiveOptions>(options: O, id: unknown, written: readonly Tensor[]): Result<O> {
  return (options.asyncOp === true ? new Work(Number(id), written) : undefined) as Result<O>;
}
const waits = (options: CollectiveOptions): boolean => options.asyncOp !== true;

/**
 * Replace `tensor` by the sum (or another {@link ReduceOp}) over all ranks, in place. Contiguous; same shape and dtype
 * on every rank; any dtype but float8. Blocks unless `asyncOp`.
 *
 * @throws {DistributedError} ERR_DIST_MISMATCH where ranks differ.
 * @example
 * allReduce(loss, { op: ReduceOp.AVG });
 */
export function allReduce<const O extends ReduceOptions>(tensor: Tensor, options: O = {} as O): Result<O> {
  atMost("allReduce", arguments, 2);
  checkArguments("allReduce", { tensor }, { tensor: tensorKind });
  checkOptions("allReduce", options, REDUCE);
  const group = groupOf("allReduce", options.group);
  const id = distOperator("all_reduce_")(tensor, options.op ?? "sum", group.name, group.verify, waits(options));
  return finish(options, id, [tensor]);
}

/** As {@link allReduce}, with the result on rank `dst` alone; elsewhere `tensor` is undefined afterwards. */
export function reduce<const O extends ReduceOptions & DestinationOptions>(
  tensor: Tensor,
  options: O = {} as O,
): Result<O> {
  atMost("reduce", arguments, 2);
  checkArguments("reduce", { tensor }, { tensor: tensorKind });
  checkOptions("reduce", options, REDUCE_TO);
  const group = groupOf("reduce", options.group);
  const dst = options.dst ?? group.ranks[0] ?? 0;
  const id = distOperator("reduce_")(tensor, dst, options.op ?? "sum", group.name, group.verify, waits(options));
  return finish(options, id, [tensor]);
}

/** Replace `tensor` by that of rank `src`, in place. */
export function broadcast<const O extends RootOptions>(tensor: Tensor, options: O = {} as O): Result<O> {
  atMost("broadcast", arguments, 2);
  checkArguments("broadcast", { tensor }, { tensor: tensorKind });
  checkOptions("broadcast", options, ROOT);
  const group = groupOf("broadcast", options.group);
  const src = options.src ?? group.ranks[0] ?? 0;
  const id = distOperator("broadcast_")(tensor, src, group.name, group.verify, waits(options));
  return finish(options, id, [tensor]);
}

/** Every rank's `tensor`, in the order of ranks. Same shape and dtype on every rank. Blocks. */
export function allGather(tensor: Tensor, options: { readonly group?: ProcessGroup | null } = {}): Tensor[] {
  atMost("allGather", arguments, 2);
  checkArguments("allGather", { tensor }, { tensor: tensorKind });
  checkOptions("allGather", options, { group: true });
  const group = groupOf("allGather", options.group);
  return noGrad(() => {
    const all = empty([group.size, ...tensor.shape], { dtype: tensor.dtype, device: tensor.device });
    distOperator("all_gather_into")(all, tensor.detach().contiguous(), group.name, group.verify, true);
    return all.unbind();
  });
}

/** Fill `output`, of `size` times the elements of `input`, with every rank's `input` in the order of ranks. */
export function allGatherIntoTensor<const O extends CollectiveOptions>(
  output: Tensor,
  input: Tensor,
  options: O = {} as O,
): Result<O> {
  atMost("allGatherIntoTensor", arguments, 3);
  checkArguments("allGatherIntoTensor", { output, input }, { output: tensorKind, input: tensorKind });
  checkOptions("allGatherIntoTensor", options, COMMON);
  const group = groupOf("allGatherIntoTensor", options.group);
  const id = distOperator("all_gather_into")(output, input, group.name, group.verify, waits(options));
  return finish(options, id, [output]);
}

/** Fill `output` with this rank's part of the sum of all ranks' `input`, which has `size` times its elements. */
export function reduceScatterTensor<const O extends ReduceOptions>(
  output: Tensor,
  input: Tensor,
  options: O = {} as O,
): Result<O> {
  atMost("reduceScatterTensor", arguments, 3);
  checkArguments("reduceScatterTensor", { output, input }, { output: tensorKind, input: tensorKind });
  checkOptions("reduceScatterTensor", options, REDUCE);
  const group = groupOf("reduceScatterTensor", options.group);
  const op = options.op ?? "sum";
  const id = distOperator("reduce_scatter_into")(output, input, op, group.name, group.verify, waits(options));
  return finish(options, id, [output]);
}

/** The sum over all ranks of `inputs[rank]`: one input for each rank, all of one shape. Blocks. */
export function reduceScatter(
  inputs: readonly Tensor[],
  options: { readonly group?: ProcessGroup | null; readonly op?: ReduceOp } = {},
): Tensor {
  atMost("reduceScatter", arguments, 2);
  checkArguments("reduceScatter", { inputs }, { inputs: tensors });
  checkOptions("reduceScatter", options, { group: true, op: reduceOps });
  const group = groupOf("reduceScatter", options.group);
  const first = inputs[0];
  if (first === undefined || inputs.length !== group.size)
    throw new ArgumentError("reduceScatter", `inputs for ${group.size} ranks`, inputs);
  return noGrad(() => {
    const output = emptyLike(first);
    const joined = empty([group.size, ...first.shape], { dtype: first.dtype, device: first.device });
    inputs.forEach((input, i) => joined.select(0, i).copy_(input));
    distOperator("reduce_scatter_into")(output, joined, options.op ?? "sum", group.name, group.verify, true);
    return output;
  });
}

/** Every rank's `tensor`, on rank `dst`; null elsewhere. Blocks. */
export function gather(
  tensor: Tensor,
  options: { readonly group?: ProcessGroup | null; readonly dst?: number } = {},
): Tensor[] | null {
  atMost("gather", arguments, 2);
  checkArguments("gather", { tensor }, { tensor: tensorKind });
  checkOptions("gather", options, { group: true, dst: whole("[0, ∞)") });
  const group = groupOf("gather", options.group);
  const dst = options.dst ?? group.ranks[0] ?? 0;
  return noGrad(() => {
    const outputs = group.ranks[group.rank] === dst ? group.ranks.map(() => emptyLike(tensor)) : [];
    distOperator("gather")(outputs, tensor.detach().contiguous(), dst, group.name, group.verify, true);
    return outputs.length > 0 ? outputs : null;
  });
}

/** Fill `output` with `inputs[rank]` of rank `src`, which gives one for each rank; others give none. */
export function scatter<const O extends RootOptions>(
  output: Tensor,
  inputs: readonly Tensor[] | null,
  options: O = {} as O,
): Result<O> {
  atMost("scatter", arguments, 3);
  checkArguments("scatter", { output, inputs }, { output: tensorKind, inputs: orNull(tensors) });
  checkOptions("scatter", options, ROOT);
  const group = groupOf("scatter", options.group);
  const src = options.src ?? group.ranks[0] ?? 0;
  const id = distOperator("scatter")(output, inputs ?? [], src, group.name, group.verify, waits(options));
  return finish(options, id, [output]);
}

/** Rank i gets the i-th part (along the first dimension) of every rank's `input`, in the order of ranks. */
export function allToAllSingle<const O extends CollectiveOptions>(
  output: Tensor,
  input: Tensor,
  options: O = {} as O,
): Result<O> {
  atMost("allToAllSingle", arguments, 3);
  checkArguments("allToAllSingle", { output, input }, { output: tensorKind, input: tensorKind });
  checkOptions("allToAllSingle", options, COMMON);
  const group = groupOf("allToAllSingle", options.group);
  const id = distOperator("all_to_all")(output, input, group.name, group.verify, waits(options));
  return finish(options, id, [output]);
}

/** Send `tensor` to rank `dst`, which calls {@link recv}. */
export function send<const O extends PointOptions>(tensor: Tensor, dst: number, options: O = {} as O): Result<O> {
  atMost("send", arguments, 3);
  checkArguments("send", { tensor, dst }, { tensor: tensorKind, dst: whole("[0, ∞)") });
  checkOptions("send", options, POINT);
  const group = groupOf("send", options.group);
  return finish(options, distOperator("send")(tensor, dst, group.name, options.tag ?? 0, waits(options)), []);
}
/** Fill `tensor` with what rank `src` sends. */
export function recv<const O extends PointOptions>(tensor: Tensor, src: number, options: O = {} as O): Result<O> {
  atMost("recv", arguments, 3);
  checkArguments("recv", { tensor, src }, { tensor: tensorKind, src: whole("[0, ∞)") });
  checkOptions("recv", options, POINT);
  const group = groupOf("recv", options.group);
  return finish(options, distOperator("recv")(tensor, src, group.name, options.tag ?? 0, waits(options)), [tensor]);
}

/** Block until every rank is here. Does not wait for a device. */
export function barrier(options: { readonly group?: ProcessGroup | null } = {}): void {
  atMost("barrier", arguments, 1);
  checkOptions("barrier", options, { group: true });
  const group = groupOf("barrier", options.group);
  distOperator("barrier")(group.name, group.verify);
}

/** Replace many tensors by those of rank `src`, in place, in few messages. Blocks. */
export function broadcastCoalesced(
  list: readonly Tensor[],
  options: { readonly group?: ProcessGroup | null; readonly src?: number } = {},
): void {
  atMost("broadcastCoalesced", arguments, 2);
  checkArguments("broadcastCoalesced", { tensors: list }, { tensors });
  checkOptions("broadcastCoalesced", options, { group: true, src: whole("[0, ∞)") });
  const group = groupOf("broadcastCoalesced", options.group);
  distOperator("broadcast_coalesced_")(list, options.src ?? group.ranks[0] ?? 0, group.name);
}
