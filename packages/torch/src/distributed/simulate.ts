/** A training step of some ranks of a world that is not there, on tensors without memory. */
import { ArgumentError } from "../errors.js";
import { callable, listOf, oneOf, whole } from "../kinds.js";
import type { Module } from "../nn/module.js";
import type { Optimizer } from "../optim/optimizer.js";
import { atMost, checkArguments, checkOptions, type OptionNames } from "../options.js";
import { isTensor } from "../tensor/handle.js";
import { scope } from "../tensor/scope.js";
import type { Tensor } from "../tensor/tensor.js";
import { fullyShard, shardOptimizer, type FullyShardOptions } from "./fsdp/index.js";
import { destroyProcessGroup, initFakeProcessGroup } from "./group.js";
import { CollectiveCounts, type CollectiveCount } from "./record.js";
import { Reducer } from "./reducer.js";

/** What a simulated rank trains. Parameters are on device "meta". */
export interface SimulatedStep {
  readonly module: Module;
  readonly optimizer: Optimizer;
  /** A forward with the rank's own batch. */
  readonly loss: () => Tensor;
}
export interface SimulationOptions {
  readonly worldSize: number;
  /** Default: the first, the second, the last of the first half, and the last. */
  readonly ranks?: readonly number[];
  /** Default "fsdp". */
  readonly strategy?: "ddp" | "fsdp";
  /** Of "fsdp". Default 3. */
  readonly stage?: 1 | 2 | 3;
  /** Of "fsdp": as of fullyShard. */
  readonly shardModules?: FullyShardOptions["shardModules"];
}
const OPTIONS: OptionNames<SimulationOptions> = {
  worldSize: whole("[1, ∞)"),
  ranks: listOf(whole("[0, ∞)")),
  strategy: oneOf("ddp", "fsdp"),
  stage: oneOf(1, 2, 3),
  shardModules: true,
};

export interface SimulatedRank {
  readonly rank: number;
  /** Of one step: forward, backward and the optimizer's. */
  readonly collectives: readonly CollectiveCount[];
  /** Bytes after that step: parameters or shards of them, their gradients, and what the optimizer remembers. */
  readonly parameters: number;
  readonly gradients: number;
  readonly optimizerState: number;
}

/**
 * Run one training step of a few ranks of a large world, one after the other in this process, and count what each would
 * ask of the others and hold. Collectives return at once; on device "meta" nothing is computed and nothing has memory.
 *
 * There must be no process group. Operators must have a kernel for "meta" in libtorch: products, pointwise operators,
 * softmax, reductions and losses do, LayerNorm and Embedding do not.
 *
 * @param make - Called for each rank: a module, its optimizer and a forward.
 * @throws {TorchError} TORCH_NOT_IMPLEMENTED for an operator that "meta" has not.
 * @example
 * const [first] = await simulateRanks(() => ({ module, optimizer: new optim.AdamW(module.parameters()), loss }), { worldSize: 1024 });
 */
export async function simulateRanks(
  make: (rank: number) => SimulatedStep,
  options: SimulationOptions,
): Promise<SimulatedRank[]> {
  atMost("simulateRanks", arguments, 2);
  checkArguments("simulateRanks", { make }, { make: callable });
  checkOptions("simulateRanks", options, OPTIONS);
  const { worldSize, strategy = "fsdp" } = options;
  const ranks = options.ranks ?? [...new Set([0, 1, Math.ceil(worldSize / 2) - 1, worldSize - 1])];
  const outside = ranks.find((rank) => rank >= worldSize);
  if (outside !== undefined)
    throw new ArgumentError("simulateRanks", `ranks to be from 0 to ${worldSize - 1}`, outside);
  const results: SimulatedRank[] = [];
  for (const rank of ranks.filter((r) => r < worldSize)) {
    await initFakeProcessGroup(rank, worldSize);
    try {
      const step = make(rank);
      const meta = step.module.parameters().every((p) => p.device.type === "meta");
      if (!meta) throw new ArgumentError("simulateRanks", 'parameters on device "meta"', step.module);
      results.push(scope(() => (strategy === "ddp" ? dataParallel(rank, step) : sharded(rank, step, options))));
    } finally {
      await destroyProcessGroup();
    }
  }
  return results;
}

function sharded(rank: number, { module, optimizer, loss }: SimulatedStep, options: SimulationOptions): SimulatedRank {
  const { stage = 3, shardModules = null } = options;
  fullyShard(module, { stage, shardModules });
  shardOptimizer(module, optimizer);
  const counts = new CollectiveCounts();
  counts.during(() => {
    loss().backward();
    optimizer.step();
  });
  return held(rank, counts, stage === 3 ? stepped(optimizer) : module.parameters(), optimizer);
}

function dataParallel(rank: number, { module, optimizer, loss }: SimulatedStep): SimulatedRank {
  const reducer = new Reducer([...module.namedParameters()]);
  const counts = new CollectiveCounts();
  counts.during(() => {
    reducer.beforeForward(true);
    const value = loss();
    reducer.beforeBackward([value]);
    value.backward();
    reducer.afterBackward();
    optimizer.step();
  });
  const gradients = module.parameters().flatMap(({ grad }) => (grad === null ? [] : [grad]));
  // Buckets are of one dtype each, and the addon calls for them itself.
  const [first] = gradients;
  if (first !== undefined) counts.add("all_reduce_", first.dtype, reducer.bucketsReduced, bytesOf(gradients));
  const result = held(rank, counts, module.parameters(), optimizer);
  reducer.free();
  return result;
}

const stepped = (optimizer: Optimizer): Tensor[] => optimizer.paramGroups.flatMap(({ params }) => params);
const bytesOf = (tensors: readonly Tensor[]): number => tensors.reduce((sum, t) => sum + t.nbytes, 0);

function held(
  rank: number,
  counts: CollectiveCounts,
  parameters: readonly Tensor[],
  optimizer: Optimizer,
): SimulatedRank {
  const params = stepped(optimizer);
  const states = params.flatMap((p) => Object.values(optimizer.state.get(p) ?? {}).filter((v) => isTensor(v)));
  return {
    rank,
    collectives: counts.list(),
    parameters: bytesOf(parameters),
    gradients: bytesOf(params.flatMap(({ grad }) => (grad === null ? [] : [grad]))),
    optimizerState: bytesOf(states),
  };
}
