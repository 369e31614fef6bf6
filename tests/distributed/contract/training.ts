/** Trains the contract's small networks in one process and in several, and says how far they are apart. */
import { createHash } from "node:crypto";
import { DataLoader, DistributedSampler, manualSeed, NbitError, randn, TensorDataset, type Tensor } from "@nbit/torch";
import * as dist from "@nbit/torch/distributed";
import { Trainer } from "@nbit/lightning";
import { QUIET } from "../../helpers/training.js";
import { ASPECTS, featuresOf, type Aspect, type Feature } from "./features.js";
import { AutomaticNet, FEATURES_IN, type MakeOptimizer, type Net } from "./modules.js";
import type { StrategyRow } from "./strategies.js";

const [ROWS, BATCH, EPOCHS] = [48, 16, 2];

/** What is compared. */
export interface Outcome {
  /** Of every step, over the whole batch of all processes. */
  readonly losses: readonly number[];
  /** Of the last validation, over all batches. */
  readonly validated: number;
  readonly steps: number;
  readonly skipped: number;
  readonly scale: number | null;
  readonly rates: readonly number[];
  /** Of this process's weights, to the last bit. */
  readonly weights: string;
}
/** It ended with this error, after so many steps. */
export interface Refusal {
  readonly code: string;
  readonly message: string;
  readonly steps: number;
}
export type Result = Outcome | Refusal;
export const isRefusal = (result: Result): result is Refusal => "code" in result;

/** One feature of each aspect. */
export type Combination = Readonly<Record<Aspect, Feature>>;
export const PLAIN: Combination = {
  precision: first("precision"),
  optimizer: first("optimizer"),
  gradients: first("gradients"),
  course: first("course"),
};
function first(aspect: Aspect): Feature {
  const [feature] = featuresOf(aspect);
  if (feature === undefined) throw new Error(`no feature of ${aspect}`);
  return feature;
}
export const nameOf = (combination: Combination): string =>
  ASPECTS.map((aspect) => combination[aspect])
    .filter((feature) => feature !== PLAIN[feature.aspect])
    .map(({ name }) => name)
    .join(", ") || "plain";

/** Train: in all processes of the group under a strategy, or in this one alone. */
export async function train(combination: Combination, strategy: StrategyRow | null): Promise<Result> {
  const features = ASPECTS.map((aspect) => combination[aspect]);
  const world = strategy === null ? 1 : dist.getWorldSize();
  const rank = strategy === null ? 0 : dist.getRank();
  const accumulate = combination.gradients.trainer?.accumulateGradBatches ?? 1;
  manualSeed(1);
  const data = new TensorDataset(randn([ROWS, FEATURES_IN]), randn([ROWS, FEATURES_IN]));
  const loader = (): DataLoader<[Tensor, Tensor], Tensor[]> =>
    new DataLoader(data, {
      batchSize: BATCH / accumulate / world,
      sampler: new DistributedSampler(data, { numReplicas: world, rank, shuffle: false }),
    });
  manualSeed(7 + rank); // weights differ until process 0's are everybody's
  const Class = combination.course.net ?? AutomaticNet;
  const net: Net = new Class(combination.optimizer.optimizer as MakeOptimizer);
  let trainer: Trainer | null = null;
  try {
    for (const { prepare } of features) prepare?.(net);
    const plugins = features.flatMap(({ plugin }) => (plugin === undefined ? [] : [plugin()]));
    trainer = new Trainer({
      ...QUIET,
      maxEpochs: EPOCHS,
      numSanityValSteps: 0,
      ...Object.assign({}, ...features.map((feature) => feature.trainer ?? {})),
      ...(plugins.length === 0 ? {} : { plugins }),
      strategy: strategy?.create() ?? "single_device",
    });
    await trainer.fit(net, { trainDataloaders: loader(), valDataloaders: loader() });
  } catch (error) {
    if (!(error instanceof NbitError)) throw error;
    return { code: error.code, message: error.message, steps: trainer?.globalStep ?? 0 };
  }
  const parallel = strategy !== null;
  return {
    losses: windows(parallel ? mean(dist.allGatherObject(net.losses)) : net.losses, accumulate),
    validated: average((parallel ? mean(dist.allGatherObject(net.validated)) : net.validated).slice(-ROWS / BATCH)),
    steps: trainer.globalStep,
    skipped: trainer.skippedSteps,
    scale: trainer.lossScale,
    rates: trainer.optimizers.map(({ paramGroups }) => paramGroups[0]?.lr ?? NaN),
    weights: digest(net),
  };
}

const average = (values: readonly number[]): number => values.reduce((sum, v) => sum + v, 0) / values.length;
const mean = (all: readonly (readonly number[])[]): number[] =>
  (all[0] ?? []).map((_, i) => average(all.map((one) => one[i] ?? NaN)));
/** A batch of one process is spread differently over the batches of a window than those of several. */
const windows = (losses: readonly number[], n: number): number[] =>
  Array.from({ length: losses.length / n }, (_, i) => average(losses.slice(i * n, (i + 1) * n)));

function digest(net: Net): string {
  const hash = createHash("sha256");
  for (const p of net.parameters()) hash.update(new Uint8Array(p.detach().contiguous().toBytes()));
  return hash.digest("hex");
}

export interface Verdict {
  /** Largest difference of a loss, relative to 1 or to the loss; null: refused, as it is to be. */
  readonly apart: number | null;
  /** Why the contract is broken; null: it is kept. */
  readonly broken: string | null;
}

/** How close to one process a strategy is to come with these features. */
export function toleranceOf(combination: Combination, { loses }: StrategyRow): number {
  const exact = combination.precision.name === "64-true" ? 1e-12 : 1e-6;
  const searches = ASPECTS.some((aspect) => combination[aspect].searches === true);
  return Math.max(
    searches ? 20 * loses : loses,
    // A search decides by losses, so that what rounds them differently leads elsewhere.
    ...ASPECTS.map((a) => combination[a].within).map((w) => (w === "exact" ? exact : searches ? 5 * w : w)),
  );
}

/** Whether `result`, of a strategy, keeps the contract. `alone`: of one process. */
export function judge(combination: Combination, row: StrategyRow, result: Result, alone: Outcome): Verdict {
  const codes = ASPECTS.map((aspect) => combination[aspect].refused?.(row, combination.precision) ?? null).filter(
    (code) => code !== null,
  );
  const broken = (why: string, apart: number | null = null): Verdict => ({ apart, broken: why });
  if (isRefusal(result)) {
    if (!codes.includes(result.code)) return broken(`ended with ${result.code}: ${result.message}`);
    return result.steps === 0 ? { apart: null, broken: null } : broken(`was refused after ${result.steps} steps`);
  }
  if (codes.length > 0) return broken(`was not refused with ${codes.join(" or ")}`);
  const tolerance = toleranceOf(combination, row);
  const difference = (got: number, expected: number): number =>
    Math.abs(got - expected) / Math.max(1, Math.abs(expected));
  const comparable = row.loses === 0 || ASPECTS.every((aspect) => combination[aspect].searches !== true);
  if (comparable && result.losses.length !== alone.losses.length)
    return broken(`has ${result.losses.length} losses in place of ${alone.losses.length}`);
  const losses = comparable ? result.losses.map((loss, i) => difference(loss, alone.losses[i] ?? NaN)) : [];
  const apart = Math.max(...losses, difference(result.validated, alone.validated));
  if (!(apart <= tolerance))
    return broken(
      `is ${apart} apart, more than ${tolerance}: ${result.losses.join(" ")} against ${alone.losses.join(" ")}`,
      apart,
    );
  for (const key of ["steps", "skipped", "scale", "rates"] as const)
    if (String(result[key]) !== String(alone[key]))
      return broken(`has ${key} ${String(result[key])} in place of ${String(alone[key])}`, apart);
  return { apart, broken: null };
}

/** Weights of all ranks are equal to the last bit. */
export function agreeing(result: Result): string | null {
  const all = dist.allGatherObject(isRefusal(result) ? `${result.code} ${result.steps}` : result.weights);
  return all.every((one) => one === all[0]) ? null : `ranks are not equal: ${all.join(", ")}`;
}
