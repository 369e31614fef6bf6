/** Which batches each of several processes gets of a loader that all of them made. */
import {
  BatchSampler,
  DataLoader,
  DistributedSampler,
  DistributedSamplerWrapper,
  IterableDatasetShard,
  RandomSampler,
  SequentialSampler,
  UnrepeatedDistributedSampler,
  verbatim,
} from "@nbit/torch";
import { MisconfigurationError } from "../errors.js";
import type { Loader } from "../loops/fetch.js";
import { EvenBatches } from "./even-batches.js";
import type { WarnOnce } from "../warnings.js";

export type LoaderUse = "train" | "evaluate" | "predict";

export interface SplitFacts {
  readonly use: LoaderUse;
  readonly numReplicas: number;
  readonly rank: number;
  /** The same in every process. */
  readonly seed: number;
  /** Every process is to have equally many batches of evaluation too. */
  readonly evenBatches: boolean;
  readonly warnings: WarnOnce;
}

/**
 * What this process reads of `loader`: another loader over its share of the positions, or the loader itself, where
 * somebody has shared it out already, or where nobody can: streams, and iterables that are no DataLoader.
 *
 * Training repeats some positions, so that all processes get equally many; evaluation gives each position to one
 * process; predict gives whole batches, every `numReplicas`-th, so that they can be put in order again.
 *
 * @throws {MisconfigurationError} ERR_DIST_SAMPLER for a subclass of DataLoader, which cannot be made anew.
 */
export function splitLoader(loader: Loader, facts: SplitFacts): Loader {
  if (!(loader instanceof DataLoader)) return loader;
  const { sampler, batchSampler } = loader;
  if (sampler === null && batchSampler === null) return loader; // a stream
  const inner = sampler ?? (batchSampler instanceof BatchSampler ? batchSampler.sampler : batchSampler);
  if (isShared(inner) || isShared(batchSampler)) {
    if (inner !== null && facts.use !== "train") warnOfRepeats(loader, inner, facts);
    return loader;
  }
  if (loader.constructor !== DataLoader)
    throw new MisconfigurationError(
      "Trainer",
      "a DataLoader, to give each process its share of the positions",
      verbatim(`a ${loader.constructor.name}, which the Trainer cannot make anew`),
      "Give it a DistributedSampler, or share the data out yourself and pass useDistributedSampler: false.",
      "ERR_DIST_SAMPLER",
    );
  const { use } = facts;
  // Batches of somebody else's making stay whole.
  const plain = batchSampler === null || Object.getPrototypeOf(batchSampler) === BatchSampler.prototype;
  if (batchSampler !== null && (use === "predict" || sampler === null || !plain))
    return loader.withOrder({ batchSampler: shareOf(batchSampler, facts) });
  return sampler === null ? loader : withPositions(loader, sampler, facts);
}

function withPositions(loader: DataLoader<unknown>, sampler: Iterable<number>, facts: SplitFacts): Loader {
  const positions = positionsOf(sampler, loader, facts);
  const { batchSize, dropLast } = loader;
  if (!facts.evenBatches || batchSize === null || !(positions instanceof UnrepeatedDistributedSampler))
    return loader.withOrder({ sampler: positions });
  const n = Number(lengthOf(sampler) ?? [...sampler].length);
  return loader.withOrder({ batchSampler: new EvenBatches(positions, n, batchSize, dropLast) });
}

function shareOf<T>(order: Iterable<T>, { use, numReplicas, rank, seed }: SplitFacts): Iterable<T> {
  return use === "train"
    ? new DistributedSamplerWrapper(order, { numReplicas, rank, seed })
    : new UnrepeatedDistributedSampler(order, { numReplicas, rank, seed });
}

/** In training as PyTorch's DistributedSampler shuffles, where the loader shuffles or does not. */
function positionsOf(sampler: Iterable<number>, { dataset }: WithDataset, facts: SplitFacts): Iterable<number> {
  const { use, numReplicas, rank, seed } = facts;
  const length = lengthOf(dataset);
  const shuffle = sampler instanceof RandomSampler && !sampler.replacement;
  const whole = (shuffle || sampler instanceof SequentialSampler) && sampler.length === length;
  return use === "train" && whole
    ? new DistributedSampler(sampler, { numReplicas, rank, seed, shuffle })
    : shareOf(sampler, facts);
}
interface WithDataset {
  readonly dataset: object;
}
const lengthOf = (dataset: object): unknown => ("length" in dataset ? dataset.length : undefined);

/** An order that is a share already. */
function isShared(order: unknown): boolean {
  return (
    order instanceof DistributedSampler ||
    order instanceof DistributedSamplerWrapper ||
    order instanceof UnrepeatedDistributedSampler
  );
}

/** Whether nobody can tell how a loader's data is shared out: it may be the same in every process. */
export function mayRepeat(loader: Loader): boolean {
  if (!(loader instanceof DataLoader)) return true;
  return loader.sampler === null && loader.batchSampler === null && !(loader.dataset instanceof IterableDatasetShard);
}

function warnOfRepeats(loader: WithDataset, sampler: Iterable<unknown>, { use, warnings }: SplitFacts): void {
  if (!(sampler instanceof DistributedSampler) || sampler.dropLast) return;
  const repeated = sampler.length * sampler.numReplicas - Number(lengthOf(loader.dataset));
  if (repeated > 0)
    warnings.warn(
      "WARN_DIST_REPEATED",
      `${use}: the loader's DistributedSampler counts ${repeated} elements twice, so that all processes get equally many. Leave the sampler out: the Trainer gives each element to one process.`,
    );
}
