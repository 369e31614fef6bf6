/** What differs between the processes of a run: saved of each, and given back to each. */
import { createHash } from "node:crypto";
import { Generator, noGrad, zeros } from "@nbit/torch";
import type { Device, nn, Tensor } from "@nbit/torch";
import { MisconfigurationError } from "../errors.js";
import type { MetricState } from "../logging/metric.js";
import type { RngState } from "../rng.js";
import type { Strategy } from "../strategies/strategy.js";
import type { Checkpoint, LoopsState, RankState } from "./format.js";

/** The part of a checkpoint, gathered by one process, that is this process's own. */
export function rankStateOf(
  { rng, loops }: Checkpoint,
  buffers: Record<string, Tensor>,
  sharesGradients = false,
): RankState {
  if (loops === undefined) return { rng, buffers };
  const { fetcher, batchSize, metrics, metricObjects, callbackMetrics, gradients, validation } = loops;
  const own = { fetcher, batchSize, metrics, metricObjects, callbackMetrics, validation };
  return { rng, loops: sharesGradients ? own : { ...own, gradients }, buffers };
}

/** Fingerprints of the buffers that a state dict has, by name: equal where all of their bits are. */
export function bufferDigests(module: nn.Module): Record<string, string> {
  return Object.fromEntries(savedBuffers(module).map(([name, t]) => [name, digest(t)]));
}

/** Buffers that are not as in process 0: running statistics that were not yet exchanged. */
export function buffersUnlike(module: nn.Module, theirs: Readonly<Record<string, string>>): Record<string, Tensor> {
  return Object.fromEntries(savedBuffers(module).filter(([name, t]) => digest(t) !== theirs[name]));
}

function savedBuffers(module: nn.Module): [string, Tensor][] {
  const saved = module.stateDict({ keepVars: true });
  return [...module.namedBuffers()].filter(([name]) => saved.has(name));
}
function digest(t: Tensor): string {
  return createHash("sha1").update(bytesOf(t)).digest("base64");
}
const bytesOf = (t: Tensor): Uint8Array => new Uint8Array(t.detach().cpu().toBytes());

/**
 * A checkpoint as process `rank` of `worldSize` goes on from it. As many processes as before: each has its own state.
 * Others: sums of metrics are shared out, gradients of an open window are averaged, and processes that did not exist
 * draw random numbers that follow from those of process 0 and from their rank.
 */
export function forRank(
  checkpoint: Checkpoint,
  strategy: Pick<Strategy, "globalRank" | "worldSize" | "rootDevice" | "gradientDict">,
): Checkpoint {
  const { globalRank: rank, worldSize, rootDevice } = strategy;
  const others = checkpoint.ranks ?? [];
  const saved = [rankStateOf(checkpoint, {}), ...others];
  const own = saved[rank] ?? saved[0];
  if (own === undefined || (saved.length === 1 && worldSize === 1)) return checkpoint;
  const mine = withState(checkpoint, own);
  const gradients = meanGradients(saved);
  if (saved.length === worldSize)
    // Whoever has a share of the gradients has one of their mean.
    return strategy.gradientDict === undefined || mine.loops === undefined
      ? mine
      : { ...mine, loops: { ...mine.loops, gradients } };
  return {
    ...mine,
    ...(rank < saved.length || mine.rng === undefined ? {} : { rng: derivedRng(mine.rng, rank, rootDevice) }),
    ...(mine.loops === undefined ? {} : { loops: { ...shared(mine.loops, saved, rank, worldSize), gradients } }),
  };
}

function withState(checkpoint: Checkpoint, { rng, loops, buffers }: RankState): Checkpoint {
  return {
    ...checkpoint,
    ...(rng === undefined ? {} : { rng }),
    ...(checkpoint.loops === undefined || loops === undefined ? {} : { loops: { ...checkpoint.loops, ...loops } }),
    rankBuffers: buffers,
  };
}

/** Of a process that did not exist: a seed that follows from process 0's state and that no other rank has. */
function derivedRng({ cpu, device }: RngState, rank: number, rootDevice: Device): RngState {
  const seeded = (generator: Generator, state: Tensor): Tensor =>
    generator.manualSeed(seedFrom(state, rank)).getState();
  return {
    cpu: seeded(new Generator(), cpu),
    device: device === null || rootDevice.type === "cpu" ? null : seeded(new Generator(rootDevice), device),
  };
}
function seedFrom(state: Tensor, rank: number): bigint {
  const hash = createHash("sha256").update(bytesOf(state)).update(`rank ${rank}`);
  return hash.digest().readBigUInt64LE() >> 1n;
}

function shared(loops: LoopsState, saved: readonly RankState[], rank: number, worldSize: number): LoopsState {
  const metrics = saved.flatMap((state) => (state.loops === undefined ? [] : [state.loops.metrics]));
  const metricObjects = objectsOf(saved, rank, worldSize);
  return { ...loops, metrics: sharedMetrics(metrics, worldSize), metricObjects };
}

/** Whoever had some goes on with them; nobody could add those of a process that is gone to another's. */
function objectsOf(saved: readonly RankState[], rank: number, worldSize: number): LoopsState["metricObjects"] {
  const lost = saved.slice(worldSize).some(({ loops }) => (loops?.metricObjects ?? []).length > 0);
  if (lost)
    throw new MisconfigurationError(
      "fit",
      `at least ${saved.length} processes, since metrics had counted in each within the epoch`,
      worldSize,
      "Go on from a checkpoint of an epoch's end, or with as many processes.",
      "ERR_METRIC_RANKS",
    );
  return saved[rank]?.loops?.metricObjects;
}

const nameOf = ({ meta }: MetricState): string => `${meta.hook}.${meta.name}.${meta.dataloaderIdx}`;

/** One of `worldSize` equal shares of the running sums of all. */
function sharedMetrics(of: readonly (readonly MetricState[])[], worldSize: number): MetricState[] {
  const merged = new Map<string, MetricState>();
  for (const one of of.flat()) {
    const before = merged.get(nameOf(one));
    merged.set(nameOf(one), before === undefined ? one : together(before, one));
  }
  return [...merged.values()].map((one) => {
    if (one.meta.reduceFx === "min" || one.meta.reduceFx === "max") return one;
    const sum = one.sum / worldSize;
    return { ...one, sum: one.wide ? sum : Math.fround(sum), count: one.count / worldSize };
  });
}

function together(a: MetricState, b: MetricState): MetricState {
  const { reduceFx } = a.meta;
  const sum = reduceFx === "min" ? Math.min(a.sum, b.sum) : reduceFx === "max" ? Math.max(a.sum, b.sum) : a.sum + b.sum;
  return { ...a, sum, count: a.count + b.count, wide: a.wide || b.wide };
}

/** What processes would have exchanged at the end of the window, had it been now. */
function meanGradients(saved: readonly RankState[]): Record<string, Tensor> | null {
  const of = saved.flatMap(({ loops }) => (loops?.gradients === undefined ? [] : [loops.gradients]));
  const present = of.filter((gradients) => gradients !== null);
  if (present.length === 0) return null;
  if (of.length === 1) return present[0] ?? null; // of all already, and perhaps still in its file
  const byName = new Map<string, Tensor[]>();
  for (const [name, g] of present.flatMap(Object.entries<Tensor>)) byName.set(name, [...(byName.get(name) ?? []), g]);
  const mean = (all: readonly Tensor[]): Tensor => {
    const dtype = all[0]?.dtype ?? "float32";
    const wide = dtype === "float64" ? dtype : "float32";
    const sum = all.reduce((total: Tensor | null, g) => total?.add(g.to(wide)) ?? g.to(wide), null);
    return (sum ?? zeros([])).div(of.length).to(dtype);
  };
  return noGrad(() => Object.fromEntries([...byName].map(([name, all]) => [name, mean(all)])));
}
