/** A module on every rank, whose gradients are averages: what a loop of one's own wraps its model in. */
import { isGradEnabled } from "../autograd/modes.js";
import { byDefault, callable, flag, listOf, orNull, real, such } from "../kinds.js";
import { Module } from "../nn/module.js";
import { atMost, checkArguments, type OptionNames } from "../options.js";
import { signature, type Call } from "../signature.js";
import { isTensor } from "../tensor/handle.js";
import type { Tensor } from "../tensor/tensor.js";
import { broadcastCoalesced } from "./collectives.js";
import { groupOf, type ProcessGroup } from "./group.js";
import { Reducer } from "./reducer.js";

export interface DistributedDataParallelArguments<M extends Module = Module> {
  readonly module: M;
  /** Taken as PyTorch's programs write it: the module stays on the device that it is on. */
  readonly deviceIds?: readonly unknown[] | null;
  readonly outputDevice?: unknown;
  /** Buffers are rank 0's before every forward that averages. Default true. */
  readonly broadcastBuffers?: boolean;
  /** Parameters and buffers are made rank 0's now. Default true. */
  readonly initSync?: boolean;
  readonly processGroup?: ProcessGroup | null;
  /** Default 25. */
  readonly bucketCapMb?: number | null;
  /** Parameters that a backward does not reach are waited for by nobody. Default false. */
  readonly findUnusedParameters?: boolean;
  /** Gradients are views of the buckets, so that they are in memory once. Default false, as PyTorch's. */
  readonly gradientAsBucketView?: boolean;
  /** Taken; gradients are the same without. */
  readonly staticGraph?: boolean;
}
const anything = such<unknown>("anything", () => true);
const ROWS = {
  module: such<Module>("a module", (v) => v instanceof Module),
  deviceIds: byDefault(null, orNull(listOf(anything))),
  outputDevice: byDefault(null, anything),
  broadcastBuffers: byDefault(true, flag),
  initSync: byDefault(true, flag),
  processGroup: byDefault(
    null,
    such<ProcessGroup | null>("a process group, or null", () => true),
  ),
  bucketCapMb: byDefault(null, orNull(real("(0, ∞)"))),
  findUnusedParameters: byDefault(false, flag),
  gradientAsBucketView: byDefault(false, flag),
  staticGraph: byDefault(false, flag),
} satisfies OptionNames<DistributedDataParallelArguments>;
const read = signature("DistributedDataParallel", ROWS, 6);
type Order = ["module", "deviceIds", "outputDevice", "broadcastBuffers", "initSync", "processGroup"];

/**
 * Gradients of `loss.backward()` are averages over the ranks; keys of the state dict begin with `module.`, as PyTorch's.
 * The Trainer's `strategy: "ddp"` does this and more by itself.
 *
 * Call it by `call` or `forward`; every rank as often. Each forward that averages sends the buffers (rank 0's) and is
 * followed by one backward; inside {@link noSync} gradients add up on their rank.
 *
 * @throws {ArgumentError} Without a process group, and for a module without parameters to train.
 * @throws {DistributedError} `ERR_DIST_UNUSED_PARAMETERS` at the next forward, with the names of parameters that a
 *   backward did not reach, unless `findUnusedParameters`.
 * @example
 * initProcessGroup("gloo");
 * const model = new DistributedDataParallel(new Net(), { broadcastBuffers: false });
 */
export class DistributedDataParallel<M extends Module = Module> extends Module {
  readonly module: M;
  readonly broadcastBuffers: boolean;
  readonly #reducer: Reducer;
  readonly #group: ProcessGroup;
  #sync = true;
  #announced = false;

  constructor(
    ...given: Call<
      DistributedDataParallelArguments<M>,
      Order,
      [
        module: M,
        deviceIds?: readonly unknown[] | null,
        outputDevice?: unknown,
        broadcastBuffers?: boolean,
        initSync?: boolean,
        processGroup?: ProcessGroup | null,
      ]
    >
  ) {
    super();
    const a = read(given);
    this.#group = groupOf("DistributedDataParallel", a.processGroup);
    this.module = a.module as M;
    this.broadcastBuffers = a.broadcastBuffers;
    const group = this.#group;
    if (a.initSync) {
      const state = [...this.module.parameters(), ...this.module.buffers()].map((t) => t.detach());
      if (state.length > 0) broadcastCoalesced(state, { group });
    }
    this.#reducer = new Reducer([...this.module.namedParameters()], {
      group,
      ...(a.bucketCapMb === null ? {} : { bucketBytes: Math.ceil(a.bucketCapMb * 2 ** 20) }),
      findUnusedParameters: a.findUnusedParameters,
      gradientAsBucketView: a.gradientAsBucketView,
    });
  }

  override forward(...args: Parameters<M["forward"]>): ReturnType<M["forward"]> {
    const sync = this.#sync && isGradEnabled();
    if (this.#announced) {
      this.#announced = false;
      this.#reducer.afterBackward();
    }
    const buffers = sync && this.broadcastBuffers && this.training ? this.module.buffers() : [];
    if (buffers.length > 0) broadcastCoalesced(buffers, { group: this.#group });
    if (isGradEnabled()) this.#reducer.beforeForward(sync);
    const output: unknown = this.module.call(...args);
    const reached = sync ? tensorsOf(output).filter((t) => t.requiresGrad) : [];
    if (reached.length > 0) {
      this.#reducer.beforeBackward(reached);
      this.#announced = true;
    }
    return output as ReturnType<M["forward"]>;
  }

  /** Run `fn`, in which backwards add up gradients on their rank: batches of an accumulation but its last. */
  noSync<T>(fn: () => T): T {
    atMost("noSync", arguments, 1);
    checkArguments("noSync", { fn }, { fn: callable });
    const before = this.#sync;
    this.#sync = false;
    try {
      return fn();
    } finally {
      this.#sync = before;
    }
  }
}

/** The tensors in what a module returned: itself, lists and records of them. */
function tensorsOf(value: unknown): Tensor[] {
  if (isTensor(value)) return [value];
  if (typeof value !== "object" || value === null) return [];
  return (Array.isArray(value) ? (value as unknown[]) : Object.values(value)).flatMap(tensorsOf);
}
