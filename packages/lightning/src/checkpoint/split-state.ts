/** Which process saves which part of weights and optimizers' states. */
import { empty, noGrad, optim, packState, Tensor } from "@nbit/torch";
import type { DType, TensorPart } from "@nbit/torch";
import * as dist from "@nbit/torch/distributed";
import type { Run } from "../run.js";
import { castStateDict } from "./file.js";

/** Weights and optimizers' states of which each process saves a part. */
export interface SplitState {
  /** Whole tensors, or placeholders for them, on the device "meta". */
  readonly stateDict: Record<string, Tensor>;
  readonly optimizerStates: readonly Record<string, unknown>[];
  /** Of this process, by the names that the tensors have in the whole checkpoint. */
  readonly parts: readonly TensorPart[];
  /** All tensors that are saved in parts. */
  readonly names: ReadonlySet<string>;
}

/** Collective where parameters are shared out. */
export function splitState(run: Run, weightsOnly: boolean, dtype: DType | null): SplitState {
  const { module, strategy } = run;
  const optimizers = weightsOnly ? [] : run.optimizers;
  return dist.shardedModuleOf(module) === null
    ? slices(run, optimizers, dtype, strategy.globalRank, strategy.worldSize)
    : shards(run, optimizers, dtype);
}

/** Equal on all processes: each saves one of as many ranges of every tensor. Buffers are process 0's. */
function slices(
  { module }: Run,
  optimizers: readonly optim.Optimizer[],
  dtype: DType | null,
  rank: number,
  worldSize: number,
): SplitState {
  const stateDict = castStateDict(Object.fromEntries(module.stateDict({ keepVars: true })), dtype);
  const optimizerStates = optimizers.map((optimizer) => ({ ...optimizer.stateDict() }));
  const buffers = new Set([...module.namedBuffers()].map(([name]) => `stateDict.${name}`));
  const { tensors } = packState({ stateDict, optimizerStates });
  const split = Object.entries(tensors).filter(([name, t]) => !buffers.has(name) && t.layout === "strided");
  const parts = split.flatMap(([name, t]): TensorPart[] => {
    const n = t.numel();
    const [start, end] = [Math.floor((n * rank) / worldSize), Math.floor((n * (rank + 1)) / worldSize)];
    if (start === end) return [];
    const flat = noGrad(() => t.detach().reshape([-1]));
    return [{ name, start, end, data: flat.narrow(0, start, end - start) }];
  });
  return { stateDict, optimizerStates, parts, names: new Set(split.map(([name]) => name)) };
}

/** Shared out: each process saves what it has. */
function shards({ module }: Run, optimizers: readonly optim.Optimizer[], dtype: DType | null): SplitState {
  const names = new Set<string>();
  const parts: TensorPart[] = [];
  const placeholder = (shape: readonly number[], type: DType): Tensor => empty(shape, { dtype: type, device: "meta" });
  const add = (name: string, { start, end, data }: dist.ShardedTensor, type: DType): void => {
    names.add(name);
    if (end > start) parts.push({ name, start, end, data: data.detach().to(type) });
  };
  const buffers = new Set([...module.namedBuffers()].map(([name]) => name));
  const sharded = dist.shardedStateDict(module);
  const made = new Map<Tensor, Tensor>();
  const stateDict: Record<string, Tensor> = {};
  for (const [key, t] of module.stateDict({ keepVars: true })) {
    const own = sharded.get(key);
    if (own === undefined || (buffers.has(key) && optim.shardOf(t) === null)) {
      stateDict[key] = castStateDict({ t }, dtype)["t"] ?? t;
      continue;
    }
    const type = dtype !== null && own.data.isFloatingPoint() ? dtype : own.dtype;
    const before = made.get(t); // a parameter with several names
    if (before === undefined) add(`stateDict.${key}`, own, type);
    made.set(t, (stateDict[key] = before ?? placeholder(own.shape, type)));
  }
  const optimizerStates = optimizers.map((optimizer, i) => {
    const saved = dist.describeOptimizerState(module, optimizer);
    const own = dist.shardedOptimizerStateDict(module, optimizer);
    const positions = new Map(saved.paramGroups.flatMap(({ params }) => params).map((name, at) => [name, at]));
    const state: Record<string, Record<string, unknown>> = {};
    for (const [parameter, fields] of Object.entries(saved.state)) {
      const at = positions.get(parameter) ?? 0;
      state[String(at)] = Object.fromEntries(
        Object.entries(fields).map(([field, value]) => {
          if (!isDescription(value)) return [field, value];
          const name = `optimizerStates.${i}.state.${at}.${field}`;
          names.add(name);
          const mine = own.state[parameter]?.[field];
          if (isPart(mine)) add(name, mine, value.dtype);
          return [field, placeholder(value.shape, value.dtype)];
        }),
      );
    }
    const paramGroups = saved.paramGroups.map(({ params, ...options }) => ({
      ...options,
      params: params.map((name) => positions.get(name) ?? 0),
    }));
    return { ...(saved.algorithm === undefined ? {} : { algorithm: saved.algorithm }), state, paramGroups };
  });
  return { stateDict, optimizerStates, parts, names };
}

const isObject = (value: unknown): value is object => typeof value === "object" && value !== null;
function isDescription(value: unknown): value is { readonly shape: readonly number[]; readonly dtype: DType } {
  return isObject(value) && !(value instanceof Tensor) && "shape" in value && "dtype" in value;
}
function isPart(value: unknown): value is dist.ShardedTensor {
  return isDescription(value) && "data" in value;
}
