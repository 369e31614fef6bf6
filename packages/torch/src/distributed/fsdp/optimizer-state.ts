/** State dicts of optimizers that step shards: whole, or in parts by parameter and range. */
import { noGrad } from "../../autograd/modes.js";
import { NbitError } from "../../errors.js";
import { anything, callable, having, listOf, record } from "../../kinds.js";
import type { Module } from "../../nn/module.js";
import { empty } from "../../ops/index.js";
import { Optimizer } from "../../optim/optimizer.js";
import type { OptimizerState, ParameterState, StateValue } from "../../optim/state.js";
import { fromTorch } from "../../optim/torch-state.js";
import { atMost, checkArguments, checkOptions, type OptionNames } from "../../options.js";
import type { DType } from "../../tensor/dtype.js";
import { isTensor } from "../../tensor/handle.js";
import { outsideScopes, scope } from "../../tensor/scope.js";
import type { Tensor } from "../../tensor/tensor.js";
import { tensorFromBytes } from "../../tensor/values.js";
import { allGatherObject } from "../objects.js";
import type { Member } from "./flat-parameters.js";
import { requireSharded } from "./fully-shard.js";
import { collectBytes, tensorOfBytes, type Piece } from "./pieces.js";
import { entriesOf, shardedOptimizerOf, statesOf } from "./shard-optimizer.js";
import { checkElements, FULL, type FullStateDictOptions, type ShardedTensor } from "./state-dict.js";

/** A state dict by names of parameters; values of a state are parts of tensors, or what is no part of one. */
export interface ShardedOptimizerState {
  readonly algorithm?: string;
  readonly paramGroups: readonly (Readonly<Record<string, unknown>> & { readonly params: readonly string[] })[];
  readonly state: Readonly<Record<string, Readonly<Record<string, ShardedTensor | StateValue>>>>;
}
/** What a saved sharded state says of itself: {@link ShardedOptimizerState} of all ranks together, data aside. */
export interface SavedOptimizerState {
  readonly algorithm?: string;
  readonly paramGroups: ShardedOptimizerState["paramGroups"];
  readonly state: Readonly<
    Record<string, Readonly<Record<string, { readonly shape: readonly number[]; readonly dtype: DType } | StateValue>>>
  >;
}
/** Entries of one field of a parameter's state, from `start` until before `end`, in one dimension. */
export type ReadEntries = (parameter: string, field: string, start: number, end: number) => Tensor;

export interface LoadFullOptimizerStateOptions {
  /**
   * Elements of what a tensor on the device "meta" stands for, from `start` until before `end`, in one dimension: of
   * states that are still in a file, each rank reads its part. Default: all tensors are there.
   */
  readonly read?: (placeholder: Tensor, start: number, end: number) => Tensor;
}
const LOAD_FULL: OptionNames<LoadFullOptimizerStateOptions> = { read: callable };

const savedState = having<{
  readonly state: object;
  readonly paramGroups: readonly { readonly params: readonly unknown[] }[];
}>("a state dict of an optimizer: { state, paramGroups: [{ params }] }", {
  state: record,
  paramGroups: listOf(having("a group", { params: listOf(anything) })),
});

interface Field {
  readonly name: string;
  readonly value: StateValue;
  /** Elements of the parameter in one entry; null: no part of the parameter. */
  readonly per: number | null;
}
function statesOfShards(optimizer: Optimizer, members: readonly Member[]): ReadonlyMap<Tensor, ParameterState> {
  return statesOf(
    optimizer,
    members.flatMap(({ shard, start, end }) => (shard === null ? [] : [{ stepped: shard, numel: end - start }])),
  );
}
function fieldsOf(optimizer: Optimizer, states: ReadonlyMap<Tensor, ParameterState>, member: Member): Field[] {
  const state = member.shard === null ? undefined : states.get(member.shard);
  if (state === undefined) return [];
  return Object.entries(state).map(([name, value]) => ({
    name,
    value,
    per: isTensor(value) ? optimizer.elementsPerEntry(name, state) : null,
  }));
}
const wholeShape = ({ shape, numel }: Member, per: number): readonly number[] =>
  per === 1 ? shape : [Math.ceil(numel / per)];
const optionsOf = ({ params: _, ...options }: Optimizer["paramGroups"][number]): Record<string, unknown> => ({
  ...options,
});

/**
 * This rank's part of the optimizer's state, by names of the module's parameters. `start` and `end` count entries of a
 * state tensor, of which some stand for several elements: `absmax` has one per block. Not a collective; tensors are the
 * optimizer's own.
 */
export function shardedOptimizerStateDict(module: Module, optimizer: Optimizer): ShardedOptimizerState {
  const fn = "shardedOptimizerStateDict";
  atMost(fn, arguments, 2);
  requireSharded(fn, module);
  const { groups } = shardedOptimizerOf(fn, optimizer);
  const state: Record<string, Record<string, ShardedTensor | StateValue>> = {};
  const states = statesOfShards(optimizer, groups.flat());
  for (const member of groups.flat()) {
    const fields = fieldsOf(optimizer, states, member);
    if (fields.length === 0) continue;
    state[member.name] = Object.fromEntries(
      fields.map(({ name, value, per }) => {
        if (per === null || !isTensor(value)) return [name, value];
        const start = Math.floor(member.start / per);
        const data = value.detach().reshape([-1]);
        const shard: ShardedTensor = {
          shape: wholeShape(member, per),
          dtype: value.dtype,
          start,
          end: start + data.numel(),
          data,
        };
        return [name, shard];
      }),
    );
  }
  return {
    ...algorithmOf(optimizer),
    paramGroups: optimizer.paramGroups.map((group, i) => ({
      ...optionsOf(group),
      params: (groups[i] ?? []).map(({ name }) => name),
    })),
    state,
  };
}
function algorithmOf(optimizer: Optimizer): { algorithm?: string } {
  const { algorithm } = optimizer.stateDict();
  return algorithm === undefined ? {} : { algorithm };
}

/**
 * The whole state, as the optimizer's `stateDict()` in one process: its `loadStateDict` reads it. A collective, on the
 * CPU. With `rank0Only` others get a dict without states.
 */
export function fullOptimizerStateDict(
  module: Module,
  optimizer: Optimizer,
  options: FullStateDictOptions = {},
): OptimizerState {
  const fn = "fullOptimizerStateDict";
  atMost(fn, arguments, 3);
  checkOptions(fn, options, FULL);
  const { settings } = requireSharded(fn, module);
  const { group } = settings;
  const { groups } = shardedOptimizerOf(fn, optimizer);
  const members = groups.flat();
  const pieces: Piece[] = [];
  const states = statesOfShards(optimizer, groups.flat());
  members.forEach((member, position) => {
    for (const { name, value, per } of fieldsOf(optimizer, states, member))
      pieces.push({ position, name, per, start: per === null ? 0 : Math.floor(member.start / per), value });
  });
  const keeps = options.rank0Only !== true || group.rank === 0;
  const state: Record<string, ParameterState> = {};
  noGrad(() => {
    for (const { meta, bytes } of collectBytes(pieces, group, options.rank0Only === true)) {
      if (!keeps) continue;
      const { position, name, per, start } = meta;
      const own = (state[String(position)] ??= {});
      if (bytes === null) {
        own[name] ??= meta.plain;
        continue;
      }
      const value = tensorOfBytes(meta, bytes);
      if (per === null) {
        own[name] ??= value;
        continue;
      }
      const member = members[position] as Member;
      const whole = (own[name] ??= outsideScopes(() => empty([...wholeShape(member, per)], { dtype: value.dtype })));
      if (isTensor(whole)) scope(() => void whole.view([-1]).narrow(0, start, value.numel()).copy_(value));
      value.dispose();
    }
  });
  let position = 0;
  const paramGroups = optimizer.paramGroups.map((group, i) => ({
    ...optionsOf(group),
    params: (groups[i] ?? []).map(() => position++),
  }));
  return { ...algorithmOf(optimizer), state: optimizer.joinStates(state), paramGroups };
}

/**
 * Load a whole state, of one process or of {@link fullOptimizerStateDict}, nbit's or PyTorch's form: each rank takes its
 * part. As the optimizer's `loadStateDict`.
 */
export function loadFullOptimizerStateDict(
  module: Module,
  optimizer: Optimizer,
  state: OptimizerState | Readonly<Record<string, unknown>>,
  options: LoadFullOptimizerStateOptions = {},
): void {
  const fn = "loadFullOptimizerStateDict";
  atMost(fn, arguments, 4);
  checkOptions(fn, options, LOAD_FULL);
  checkArguments(fn, { state }, { state: record });
  requireSharded(fn, module);
  const { groups } = shardedOptimizerOf(fn, optimizer);
  const given = ("param_groups" in state ? fromTorch(state) : state) as OptimizerState;
  const sizes = groups.map((list) => list.length);
  checkArguments(fn, { state: given }, { state: savedState });
  const saved = given.paramGroups.map(({ params }) => params.length);
  if (String(saved) !== String(sizes))
    throw new NbitError(
      `${fn}: expected groups of ${sizes.join(", ")} parameters. Received: ${saved.join(", ") || "none"}. Build the optimizer with the same parameters first.`,
      "OPTIMIZER_STATE",
    );
  scope(() => {
    const order = given.paramGroups.flatMap(({ params }) => [...params]);
    const members = groups.flat();
    const keepsApart = optimizer.splitStates === Optimizer.prototype.splitStates;
    const byPlace = Object.fromEntries(
      order.flatMap((position, i): [string, ParameterState][] => {
        const own = given.state[String(position)];
        return own === undefined ? [] : [[String(i), keepsApart ? own : allInMemory(own, options)]];
      }),
    );
    const split = optimizer.splitStates(
      byPlace,
      members.map(({ numel }) => numel),
    );
    const mine = members.map((member, i) => ({ member, state: split[String(i)] }));
    load(
      fn,
      optimizer,
      given.algorithm,
      given.paramGroups.map(({ params: _, ...options }) => options),
      groups,
      new Map(
        mine.flatMap(({ member, state: own }): [Member, ParameterState][] =>
          own === undefined ? [] : [[member, cut(fn, optimizer, member, own, options)]],
        ),
      ),
    );
  });
}

/** What is in a file, read whole. */
function inMemory(value: StateValue, { read }: LoadFullOptimizerStateOptions): StateValue {
  return read !== undefined && isTensor(value) && value.device.type === "meta"
    ? read(value, 0, value.numel()).view([...value.shape])
    : value;
}
const allInMemory = (state: ParameterState, options: LoadFullOptimizerStateOptions): ParameterState =>
  Object.fromEntries(Object.entries(state).map(([name, value]) => [name, inMemory(value, options)]));

function cut(
  fn: string,
  optimizer: Optimizer,
  member: Member,
  state: ParameterState,
  options: LoadFullOptimizerStateOptions,
): ParameterState {
  const { start, end, numel } = member;
  const { read } = options;
  return Object.fromEntries(
    Object.entries(state).map(([name, value]): [string, StateValue] => {
      const per = isTensor(value) ? optimizer.elementsPerEntry(name, state) : null;
      if (per === null || !isTensor(value) || value.numel() !== Math.ceil(numel / per))
        return [name, inMemory(value, options)];
      requireBlocks(fn, member, per, name);
      if (read === undefined || value.device.type !== "meta") return [name, entriesOf(value, per, start, end)];
      return [name, read(value, Math.floor(start / per), Math.ceil(end / per))];
    }),
  );
}
function requireBlocks(fn: string, { start, end, numel, name }: Member, per: number, field: string): void {
  if (start % per === 0 && (end % per === 0 || end === numel)) return;
  throw new NbitError(
    `${fn}: expected state in blocks that shards do not cut. Received: ${field} of ${name} in blocks of ${per}, and a shard of elements ${start} to ${end}. Pass blockSize: ${per} to fullyShard.`,
    "ERR_DIST_STATE_BLOCKS",
  );
}

/** Every rank's part, by the positions that its own optimizer has. */
function load(
  fn: string,
  optimizer: Optimizer,
  algorithm: string | undefined,
  options: readonly Readonly<Record<string, unknown>>[],
  groups: readonly (readonly Member[])[],
  states: ReadonlyMap<Member, ParameterState>,
): void {
  let position = 0;
  const state: Record<string, ParameterState> = {};
  const paramGroups = groups.map((list, i) => {
    const params: number[] = [];
    for (const member of list) {
      if (member.shard === null) continue;
      const own = states.get(member);
      if (own !== undefined) state[String(position)] = own;
      params.push(position++);
    }
    return { ...options[i], params };
  });
  try {
    const joined = optimizer.joinStates(state);
    optimizer.loadStateDict({ ...(algorithm === undefined ? {} : { algorithm }), state: joined, paramGroups });
    const [left] = states.values();
    if (position === 0 && left !== undefined) optimizer.adoptWithoutParameters(left);
  } catch (error) {
    if (error instanceof NbitError) error.message = error.message.replace(/^\S+loadStateDict/, fn);
    throw error;
  }
}

/**
 * Load the entries that this rank needs: `read` is called for every field of every parameter of which this rank has
 * elements. Values that are no parts of a tensor come from `saved`. Every rank calls it.
 */
export function loadShardedOptimizerStateDict(
  module: Module,
  optimizer: Optimizer,
  saved: SavedOptimizerState,
  read: ReadEntries,
): void {
  const fn = "loadShardedOptimizerStateDict";
  atMost(fn, arguments, 4);
  checkArguments(fn, { saved, read }, { saved: savedState, read: callable });
  requireSharded(fn, module);
  const { groups } = shardedOptimizerOf(fn, optimizer);
  const names = groups.map((list) => list.map(({ name }) => name).join());
  const given = saved.paramGroups.map(({ params }) => params.join());
  if (String(names) !== String(given))
    throw new NbitError(
      `${fn}: expected the groups of this optimizer, ${names.map((n) => n.split(",").length).join(", ")} parameters by name. Received: others. Build the optimizer with the same parameters first.`,
      "OPTIMIZER_STATE",
    );
  scope(() => {
    const states = new Map<Member, ParameterState>();
    for (const member of groups.flat()) {
      const fields = saved.state[member.name];
      if (fields === undefined) continue;
      states.set(member, readFields(fn, optimizer, member, fields, read));
    }
    load(
      fn,
      optimizer,
      saved.algorithm,
      saved.paramGroups.map(({ params: _, ...options }) => options),
      groups,
      states,
    );
  });
}
function readFields(
  fn: string,
  optimizer: Optimizer,
  member: Member,
  fields: SavedOptimizerState["state"][string],
  read: ReadEntries,
): ParameterState {
  const isPart = (value: unknown): value is { readonly shape: readonly number[]; readonly dtype: DType } =>
    typeof value === "object" && value !== null && !isTensor(value) && "shape" in value;
  return Object.fromEntries(
    Object.entries(fields).map(([name, value]): [string, StateValue] => {
      if (!isPart(value)) return [name, value];
      const per = optimizer.elementsPerEntry(name, fields) ?? 1;
      requireBlocks(fn, member, per, name);
      const start = Math.floor(member.start / per);
      const end = Math.ceil(member.end / per);
      return [name, checkElements(fn, `${name} of ${member.name}`, end - start, read(member.name, name, start, end))];
    }),
  );
}

/**
 * What all ranks together know of the states, without the elements of their parts: for a file that describes all of
 * them, and for {@link loadShardedOptimizerStateDict}. A collective.
 */
export function describeOptimizerState(module: Module, optimizer: Optimizer): SavedOptimizerState {
  const fn = "describeOptimizerState";
  atMost(fn, arguments, 2);
  const { group } = requireSharded(fn, module).settings;
  const own = shardedOptimizerStateDict(module, optimizer);
  const mine = Object.entries(own.state).map(
    ([name, fields]) => [name, Object.entries(fields).map(([field, value]) => [field, sent(value)] as const)] as const,
  );
  const state: Record<string, SavedOptimizerState["state"][string]> = {};
  for (const rank of allGatherObject(mine, { group }))
    for (const [name, fields] of rank)
      state[name] ??= Object.fromEntries(fields.map(([field, value]) => [field, received(value)]));
  return { ...algorithmOf(optimizer), paramGroups: own.paramGroups, state };
}

type Part = { readonly shape: readonly number[]; readonly dtype: DType };
type Sent =
  { readonly part: Part } | { readonly whole: Part & { readonly bytes: Uint8Array } } | { readonly plain: StateValue };
function sent(value: ShardedTensor | StateValue): Sent {
  if (typeof value !== "object" || value === null) return { plain: value };
  // Tensors have data, too.
  if (isTensor(value))
    return { whole: { shape: value.shape, dtype: value.dtype, bytes: new Uint8Array(value.toBytes()) } };
  return "data" in value ? { part: { shape: value.shape, dtype: value.dtype } } : { plain: value };
}
const received = (value: Sent): Part | StateValue =>
  "part" in value
    ? value.part
    : "whole" in value
      ? outsideScopes(() => tensorFromBytes(value.whole.bytes, value.whole.dtype, [...value.whole.shape]))
      : value.plain;
