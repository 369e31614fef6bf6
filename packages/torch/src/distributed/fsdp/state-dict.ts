/**
 * State dicts of sharded modules: whole, as those of one process, or in parts, which name the elements that they have,
 * so that any number of ranks reads what it needs.
 */
import { noGrad } from "../../autograd/modes.js";
import { ArgumentError, NbitError } from "../../errors.js";
import { callable, flag } from "../../kinds.js";
import type { LoadResult, LoadStateOptions, Module, StateDict } from "../../nn/module.js";
import { atMost, checkArguments, checkOptions, type OptionNames } from "../../options.js";
import { plainText } from "../../plain-text.js";
import { isMap } from "../../realm.js";
import { stateKind } from "../../nn/state-dict.js";
import type { DType } from "../../tensor/dtype.js";
import { isTensor } from "../../tensor/handle.js";
import { keep, outsideScopes, scope } from "../../tensor/scope.js";
import type { Tensor } from "../../tensor/tensor.js";
import type { FlatParameters, Member } from "./flat-parameters.js";
import { requireSharded } from "./fully-shard.js";

/** A tensor of a state, or the elements of it that one rank has. */
export interface ShardedTensor {
  /** Of the whole. */
  readonly shape: readonly number[];
  readonly dtype: DType;
  /** Elements of the whole in row-major order, from `start` until before `end`. */
  readonly start: number;
  readonly end: number;
  /** Those, in one dimension: this rank's memory, not a copy. On the CPU where shards are offloaded. */
  readonly data: Tensor;
}
export type ShardedStateDict = Map<string, ShardedTensor>;
/** Elements of an entry of a saved state, from `start` until before `end`, in one dimension, of any dtype and device. */
export type ReadElements = (key: string, start: number, end: number) => Tensor;

export interface FullStateDictOptions {
  /** Only rank 0 of the group gets it; others get an empty one, and hold no whole parameters. Default false. */
  readonly rank0Only?: boolean;
  /** Tensors are on the CPU. Default true. */
  readonly cpuOffload?: boolean;
}
export const FULL: OptionNames<FullStateDictOptions> = { rank0Only: flag, cpuOffload: flag };

interface Place {
  readonly flat: FlatParameters;
  readonly member: Member;
}
function placesOf(fn: string, module: Module): Map<Tensor, Place> {
  const places = new Map<Tensor, Place>();
  for (const unit of requireSharded(fn, module).units)
    for (const flat of unit.flats) for (const member of flat.members) places.set(member.parameter, { flat, member });
  return places;
}

/**
 * This rank's part of `module.stateDict()`: every key, with the elements that this rank has; none where start is end.
 * Buffers are whole on every rank. A parameter with several names is under each. Not a collective.
 *
 * To save: each rank writes its parts under key and range; {@link loadShardedStateDict} reads ranges back, in a world of
 * any size.
 *
 * @example
 * for (const [key, { start, end, data }] of shardedStateDict(model)) if (end > start) write(key, start, data);
 */
export function shardedStateDict(module: Module): ShardedStateDict {
  atMost("shardedStateDict", arguments, 1);
  const places = placesOf("shardedStateDict", module);
  const state: ShardedStateDict = new Map();
  for (const [key, t] of module.stateDict({ keepVars: true })) {
    const place = places.get(t);
    if (place === undefined) {
      state.set(key, { shape: t.shape, dtype: t.dtype, start: 0, end: t.numel(), data: t.detach().reshape([-1]) });
      continue;
    }
    const { flat, member } = place;
    const { shape, start, end, inChunk } = member;
    state.set(key, { shape, dtype: flat.dtype, start, end, data: flat.chunk.narrow(0, inChunk, end - start) });
  }
  return state;
}

/**
 * `module.stateDict()` of the whole module, in memory of its own: what one process would have. A collective; gathers one
 * unit after the other.
 *
 * @example if (getRank() === 0) await save(fullStateDict(model)); // wrong: every rank must call it
 * const state = fullStateDict(model, { rank0Only: true });
 * if (getRank() === 0) await save(state);
 */
export function fullStateDict(module: Module, options: FullStateDictOptions = {}): StateDict {
  const fn = "fullStateDict";
  atMost(fn, arguments, 2);
  checkOptions(fn, options, FULL);
  const sharded = requireSharded(fn, module);
  const keeps = options.rank0Only !== true || sharded.settings.group.rank === 0;
  const target = options.cpuOffload === false ? {} : { device: "cpu" };
  const copies = new Map<Tensor, Tensor>();
  return noGrad(() => {
    for (const unit of sharded.units)
      for (const flat of unit.flats) {
        const made = scope(() => {
          const all = flat.wholeCopy();
          if (!keeps) return [];
          return flat.members.map(({ offset, numel, shape }) =>
            all
              .narrow(0, offset, numel)
              .view([...shape])
              .to({ ...target, copy: true }),
          );
        });
        made.forEach((copy, i) => copies.set((flat.members[i] as Member).parameter, copy));
      }
    const state: StateDict = new Map();
    if (!keeps) return state;
    for (const [key, t] of module.stateDict({ keepVars: true }))
      state.set(key, copies.get(t) ?? t.detach().to({ ...target, copy: true }));
    return state;
  });
}

/**
 * Whole gradients, averaged over the ranks, by names of parameters that have one: those of shards, and those of a window
 * whose average is still to come. A collective. To go on, give shards their part: `shard.grad`.
 */
export function fullGradientDict(module: Module, options: FullStateDictOptions = {}): Map<string, Tensor> {
  const fn = "fullGradientDict";
  atMost(fn, arguments, 2);
  checkOptions(fn, options, FULL);
  const sharded = requireSharded(fn, module);
  const keeps = options.rank0Only !== true || sharded.settings.group.rank === 0;
  const target = options.cpuOffload === false ? {} : { device: "cpu" };
  const found = new Map<string, Tensor>();
  noGrad(() => {
    for (const gradients of sharded.units.flatMap((unit) => unit.gradients))
      scope(() => {
        const { whole, present } = gradients.wholeCopy();
        gradients.flat.members.forEach(({ name, offset, numel, shape }, i) => {
          if (!keeps || present[i] !== true) return;
          found.set(
            name,
            keep(
              whole
                .narrow(0, offset, numel)
                .view([...shape])
                .to({ ...target, copy: true }),
            ),
          );
        });
      });
  });
  return found;
}

/**
 * Load a whole state dict, which every rank has: each takes its part. As `module.loadStateDict`.
 * @throws {NbitError} `STATE_DICT_MISMATCH`, before anything is copied.
 */
export function loadFullStateDict(
  module: Module,
  state: ReadonlyMap<string, Tensor> | Readonly<Record<string, Tensor>>,
  options: Pick<LoadStateOptions, "strict"> = {},
): LoadResult {
  const fn = "loadFullStateDict";
  atMost(fn, arguments, 3);
  checkOptions(fn, options, { strict: flag });
  checkArguments(fn, { state }, { state: stateKind });
  const given = isMap(state) ? (state as ReadonlyMap<string, Tensor>) : new Map(Object.entries(state));
  const own = shardedStateDict(module);
  const missingKeys = [...own.keys()].filter((key) => !given.has(key));
  const unexpectedKeys = [...given.keys()].filter((key) => !own.has(key));
  const problems: string[] = [];
  if ((options.strict ?? true) && missingKeys.length > 0) problems.push(`missing: ${missingKeys.join(", ")}`);
  if ((options.strict ?? true) && unexpectedKeys.length > 0) problems.push(`unexpected: ${unexpectedKeys.join(", ")}`);
  for (const [key, { shape }] of own) {
    const value = given.get(key);
    if (value !== undefined && !isTensor(value)) problems.push(`${key} that is no tensor`);
    else if (value !== undefined && String(value.shape) !== String(shape))
      problems.push(`${key} of shape [${value.shape.join(", ")}] in place of [${shape.join(", ")}]`);
  }
  if (problems.length > 0)
    throw new NbitError(
      plainText(
        `${fn}: expected the state of this ${module.constructor.name || "module"}. Received: a state with ${problems.join("; ")}. Pass { strict: false } to load what fits by name.`,
      ),
      "STATE_DICT_MISMATCH",
    );
  copyElements(module, own, (key, start, end) =>
    given
      .get(key)
      ?.detach()
      .reshape([-1])
      .narrow(0, start, end - start),
  );
  return { missingKeys, unexpectedKeys };
}

/**
 * Load the elements that this rank has, wherever they come from: `read` is called with every key of which this rank has
 * elements, and their range. Every rank calls it.
 *
 * @example loadShardedStateDict(model, (key, start, end) => file.read(key, start, end));
 */
export function loadShardedStateDict(module: Module, read: ReadElements): void {
  const fn = "loadShardedStateDict";
  atMost(fn, arguments, 2);
  checkArguments(fn, { read }, { read: callable });
  copyElements(module, shardedStateDict(module), (key, start, end) =>
    checkElements(fn, key, end - start, read(key, start, end)),
  );
}

/** @internal */
export function checkElements(fn: string, key: string, n: number, given: Tensor): Tensor {
  if (!isTensor(given)) throw new ArgumentError(fn, `read to return a tensor, the elements of ${key}`, given);
  if (given.numel() !== n)
    throw new NbitError(`${fn}: expected ${n} elements of ${key}. Received: ${given.numel()}.`, "STATE_DICT_MISMATCH");
  return given.detach().reshape([-1]);
}

function copyElements(
  module: Module,
  own: ShardedStateDict,
  read: (key: string, start: number, end: number) => Tensor | undefined,
): void {
  const sharded = requireSharded("loadStateDict", module);
  const copied = new Set<number>();
  noGrad(() =>
    outsideScopes(() => {
      for (const [key, { start, end, data }] of own) {
        if (start === end) continue;
        // A parameter with several names is read once.
        const at = data.dataPtr();
        if (copied.has(at)) continue;
        copied.add(at);
        scope(() => {
          const value = read(key, start, end);
          if (value !== undefined) data.copy_(value);
        });
      }
    }),
  );
  sharded.refresh();
}
