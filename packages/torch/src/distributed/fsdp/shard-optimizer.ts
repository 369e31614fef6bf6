/** Optimizers that step shards in the place of parameters. */
import { ArgumentError, NbitError } from "../../errors.js";
import type { Module } from "../../nn/module.js";
import { Optimizer } from "../../optim/optimizer.js";
import type { ParameterState } from "../../optim/state.js";
import { numelOfWhole } from "../../optim/master-weights.js";
import { isTensor } from "../../tensor/handle.js";
import { outsideScopes } from "../../tensor/scope.js";
import type { Tensor } from "../../tensor/tensor.js";
import { allReduce } from "../collectives.js";
import type { Member } from "./flat-parameters.js";
import { requireSharded } from "./fully-shard.js";

/** An optimizer whose groups hold shards, and the members that its groups were made of. */
export interface ShardedOptimizer {
  readonly module: Module;
  /** By group, in its order: with those of which this rank has nothing. */
  readonly groups: readonly (readonly Member[])[];
}
const known = new WeakMap<Optimizer, ShardedOptimizer>();

/** @internal */
export function shardedOptimizerOf(fn: string, optimizer: Optimizer): ShardedOptimizer {
  const found = known.get(optimizer);
  if (found === undefined)
    throw new NbitError(
      `${fn}: expected an optimizer that shardOptimizer was called with. Received: another.`,
      "ERR_DIST_NOT_SHARDED",
    );
  return found;
}

/**
 * Let an optimizer, made of the module's parameters, step this rank's shards of them instead: its state is then 1/N.
 * State that it has already is cut. After a step every rank has the new parameters. Norms of whole parameters (LAMB, LARS)
 * are summed over the ranks, in one message for each step; inner products (LBFGS) in one for each.
 *
 * Groups keep their options and order. Parameters of which this rank has nothing are left out of them, so positions
 * differ between ranks: state dicts come from `fullOptimizerStateDict` and `shardedOptimizerStateDict`.
 *
 * @throws {NbitError} ERR_DIST_WHOLE_PARAMETERS: its step says that it does ({@link Optimizer.needsWholeParameters}).
 */
export function shardOptimizer(module: Module, optimizer: Optimizer): void {
  const fn = "shardOptimizer";
  const sharded = requireSharded(fn, module);
  if (!(optimizer instanceof Optimizer)) throw new ArgumentError(fn, "an Optimizer", optimizer);
  if (known.has(optimizer))
    throw new ArgumentError(fn, "an optimizer that steps parameters", "one that steps shards already");
  const why = optimizer.needsWholeParameters;
  if (why !== null)
    throw new NbitError(
      `${fn}: expected an optimizer that updates each element by itself. Received: ${optimizer.constructor.name}: ${why}. Use another, or strategy "ddp", in which every rank has whole parameters.`,
      "ERR_DIST_WHOLE_PARAMETERS",
    );
  const members = new Map<Tensor, Member>([...sharded.members()].map((m) => [m.parameter, m]));
  const groups = optimizer.paramGroups.map((group) =>
    group.params.map((p) => {
      const member = members.get(p);
      if (member === undefined)
        throw new ArgumentError(
          fn,
          "an optimizer of the module's parameters",
          p,
          "It has one that the module has not.",
        );
      return member;
    }),
  );
  checkBlocks(fn, optimizer, groups);
  cutStates(optimizer, groups.flat());
  groups.forEach((list, i) => {
    const group = optimizer.paramGroups[i];
    if (group !== undefined) group.params = list.flatMap(({ shard }) => (shard === null ? [] : [shard]));
  });
  known.set(optimizer, { module, groups });
  const { group, device } = sharded.settings;
  optimizer.shards = {
    parameters: groups.flat().map(({ parameter }) => parameter),
    reduce(values, op) {
      const there = values.to({ device });
      allReduce(there, { op, group });
      if (there !== values) values.copy_(there);
    },
    written() {
      sharded.beforeStep();
      sharded.refresh();
    },
  };
  optimizer.registerStepPreHook(() => {
    sharded.beforeStep();
  });
  optimizer.registerStepPostHook(() => {
    sharded.refresh();
  });
}

/** State in blocks is that of one process only where blocks are not cut. */
function checkBlocks(fn: string, optimizer: Optimizer, groups: readonly (readonly Member[])[]): void {
  groups.forEach((list, i) => {
    const group = optimizer.paramGroups[i];
    const block: unknown = group?.["blockSize"];
    if (group === undefined || typeof block !== "number") return;
    const least: unknown = group["min8bitSize"];
    for (const { name, start, end, numel, shard } of list) {
      if (shard === null || numelOfWhole(shard) < (typeof least === "number" ? least : 0)) continue;
      if (start % block !== 0 || (end % block !== 0 && end !== numel))
        throw new ArgumentError(
          fn,
          `shards that end at multiples of the blockSize of ${optimizer.constructor.name}, ${block}`,
          `elements ${start} to ${end} of ${name}`,
          `Pass blockSize: ${block} to fullyShard, and leave min8bitSize at 4096 or more.`,
        );
    }
  });
}

function cutStates(optimizer: Optimizer, members: readonly Member[]): void {
  if (optimizer.state.size === 0) return;
  const whole = statesOf(
    optimizer,
    members.map(({ parameter, numel }) => ({ stepped: parameter, numel })),
  );
  const mine = members.filter(({ shard, parameter }) => shard !== null && whole.has(parameter));
  const cut = mine.map((member) => cutState(optimizer, member, whole.get(member.parameter) ?? {}));
  const joined = outsideScopes(() => optimizer.joinStates(Object.fromEntries(cut.entries())));
  optimizer.state.clear();
  for (const [i, state] of Object.entries(joined)) {
    const shard = mine[Number(i)]?.shard;
    if (shard) optimizer.state.set(shard, state);
  }
  const [first] = members;
  const left = first === undefined ? undefined : whole.get(first.parameter);
  if (first !== undefined && left !== undefined && members.every(({ shard }) => shard === null))
    optimizer.adoptWithoutParameters(cutState(optimizer, first, left));
}
function cutState(optimizer: Optimizer, { start, end }: Member, state: ParameterState): ParameterState {
  const cut: ParameterState = {};
  for (const [name, value] of Object.entries(state)) {
    const per = isTensor(value) ? optimizer.elementsPerEntry(name, state) : null;
    cut[name] =
      per === null || !isTensor(value) ? value : outsideScopes(() => entriesOf(value, per, start, end).clone());
  }
  return cut;
}

/** What an optimizer remembers of what it steps, in this order, of each by itself. */
export function statesOf(
  optimizer: Optimizer,
  list: readonly { readonly stepped: Tensor; readonly numel: number }[],
): ReadonlyMap<Tensor, ParameterState> {
  const known = list.flatMap(({ stepped }, i): [string, ParameterState][] => {
    const own = optimizer.state.get(stepped);
    return own === undefined ? [] : [[String(i), own]];
  });
  const split = optimizer.splitStates(
    Object.fromEntries(known),
    list.map(({ numel }) => numel),
  );
  return new Map(
    list.flatMap(({ stepped }, i): [Tensor, ParameterState][] => {
      const own = split[String(i)];
      return own === undefined ? [] : [[stepped, own]];
    }),
  );
}

/** The entries of a state that belong to elements from `start` until `end`, of `per` elements each. */
export function entriesOf(value: Tensor, per: number, start: number, end: number): Tensor {
  const from = Math.floor(start / per);
  return value
    .detach()
    .reshape([-1])
    .narrow(0, from, Math.ceil(end / per) - from);
}
