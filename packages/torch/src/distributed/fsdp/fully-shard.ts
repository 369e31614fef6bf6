/** The entry of sharding, and which modules are sharded. */
import { ArgumentError, NbitError } from "../../errors.js";
import { callable, flag } from "../../kinds.js";
import type { Module } from "../../nn/module.js";
import { atMost, checkArguments, checkOptions, type OptionNames } from "../../options.js";
import { FullyShardedModule } from "./fully-sharded.js";
import { settingsOf, type FullyShardOptions } from "./options.js";

const known = new WeakMap<Module, FullyShardedModule>();

/**
 * Share a module out over the ranks of a group: what its optimizers remember (stage 1), gradients (2) and parameters
 * (3, the default). Every rank has 1/N of them, and trains with its own batches; the result is that of one process with
 * all batches.
 *
 * Every rank calls this with the same module, equal in all: broadcast its parameters first. The module stays what it
 * is: call it, call backward, step. Parameters of stage 3 show this rank's part, in one dimension, but while their unit
 * runs: reading them, or a view of them that was kept, in between is an error (`ERR_DIST_FREED_PARAMETER`); see {@link
 * summonFullParams}. Optimizers, made of whole parameters before, are given to {@link shardOptimizer}.
 *
 * Blocks. Moves the parameters to `device`; they become contiguous. `p.grad` of parameters is null after a backward:
 * gradients are those of the shards in `optimizer.paramGroups`.
 *
 * @throws {ArgumentError} for a module without parameters, or options that do not go together.
 * @example
 * const optimizer = new optim.AdamW(model.parameters());
 * fullyShard(model, { stage: 3 });
 * shardOptimizer(model, optimizer);
 * loss(model.call(x)).backward();
 * clipShardedGradNorm(model, optimizer, 1);
 * optimizer.step();
 * @see Rajbhandari et al., 2020, arXiv:1910.02054; Zhao et al., 2023, arXiv:2304.11277.
 */
export function fullyShard(module: Module, options: FullyShardOptions = {}): FullyShardedModule {
  atMost("fullyShard", arguments, 2);
  const settings = settingsOf(module, options);
  for (const m of module.modules())
    if (known.has(m))
      throw new ArgumentError("fullyShard", "a module no part of which is sharded", m, "Call it once, with the root.");
  const made = new FullyShardedModule(module, settings);
  known.set(module, made);
  return made;
}

/** What {@link fullyShard} made of a module; null: it was not called, or `unwrap` was. */
export function shardedModuleOf(module: Module): FullyShardedModule | null {
  return known.get(module) ?? null;
}
/** @internal */
export function requireSharded(fn: string, module: Module): FullyShardedModule {
  const found = known.get(module);
  if (found === undefined)
    throw new NbitError(
      `${fn}: expected a module that fullyShard was called with. Received: another.`,
      "ERR_DIST_NOT_SHARDED",
    );
  return found;
}
/** Undo {@link fullyShard}: parameters are whole on every rank, and hooks are gone. A collective. */
export function unshardModule(module: Module): void {
  requireSharded("unshardModule", module).unwrap();
  known.delete(module);
}

export interface SummonOptions {
  /** What `fn` writes to parameters, the same on all ranks, stays. Default true. */
  readonly writeback?: boolean;
}
const SUMMON: OptionNames<SummonOptions> = { writeback: flag };

/**
 * Call `fn` with whole parameters. A collective: every rank calls it. All of them must fit.
 *
 * @example const norm = summonFullParams(model, () => model.head.weight.norm().item());
 */
export function summonFullParams<T>(module: Module, fn: () => T, options: SummonOptions = {}): T {
  atMost("summonFullParams", arguments, 3);
  checkArguments("summonFullParams", { fn }, { fn: callable });
  checkOptions("summonFullParams", options, SUMMON);
  return requireSharded("summonFullParams", module).summon(fn, options.writeback ?? true);
}
