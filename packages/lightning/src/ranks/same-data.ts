/** Notices that every process reads the same batches of a loader that nobody has shared out. */
import { createHash } from "node:crypto";
import {
  BatchSampler,
  DataLoader,
  DistributedSamplerWrapper,
  scope,
  Tensor,
  UnrepeatedDistributedSampler,
  verbatim,
} from "@nbit/torch";
import { isMap, isPlain } from "@nbit/torch/realm";
import { MisconfigurationError } from "../errors.js";
import type { Loader } from "../loops/fetch.js";
import type { Collectives } from "../strategies/strategy.js";

/** Of a tensor that many bytes count. */
const MOST_BYTES = 1 << 16;

/** A text that tells a batch from others. Waits for the device once per tensor. */
export function digestOf(batch: unknown): string {
  const hash = createHash("sha256");
  const visit = (value: unknown): void => {
    if (value instanceof Tensor) {
      hash.update(`${value.dtype}[${value.shape.join()}]`);
      scope(() => {
        const flat = value.detach().flatten();
        const most = Math.max(1, Math.floor(MOST_BYTES / value.itemsize));
        hash.update(new Uint8Array(flat.narrow(0, 0, Math.min(most, flat.numel())).cpu().contiguous().toBytes()));
      });
    } else if (Array.isArray(value)) value.forEach(visit);
    else if (isMap(value)) for (const entry of value) visit(entry);
    else if (isPlain(value)) for (const entry of Object.entries(value)) visit(entry);
    else hash.update(`${typeof value} ${String(value)};`);
  };
  visit(batch);
  return hash.digest("base64");
}

/**
 * @param digests - Of the first batch of every process; null: it had none.
 * @throws {MisconfigurationError} ERR_DIST_SAME_DATA where it is the same everywhere.
 */
export function checkDifferent(fn: string, digests: readonly (string | null)[]): void {
  const [first] = digests;
  if (first === null || digests.length < 2 || digests.some((digest) => digest !== first)) return;
  throw new MisconfigurationError(
    fn,
    "each process to read batches of its own from a loader that is no DataLoader over positions",
    verbatim(`the same first batch in all ${digests.length}`),
    "Share a stream out: new IterableDatasetShard(stream, { numReplicas: worldSize, rank: globalRank }), or give each process its part by trainer.globalRank. Pass useDistributedSampler: false if all are to read the same.",
    "ERR_DIST_SAME_DATA",
  );
}

/**
 * A pass over a loader is over: each process drew the whole order for itself, and visited its share of it.
 * @throws {MisconfigurationError} ERR_DIST_ORDER where orders differ, so that shares overlap.
 */
export function checkSameOrder(fn: string, collectives: Collectives | null, loader: Loader): void {
  const order = loader instanceof DataLoader ? orderOf(loader) : null;
  if (collectives === null || order === null) return;
  const digests = collectives.allGatherObject(order.digest);
  if (digests.every((digest) => digest === digests[0])) return;
  throw new MisconfigurationError(
    fn,
    "a sampler that gives the same order in every process",
    verbatim("different ones, so that some elements were visited twice and others not at all"),
    "Let it draw from the default generator, or from one that is seeded alike in every process.",
    "ERR_DIST_ORDER",
  );
}

function orderOf(loader: {
  readonly sampler: unknown;
  readonly batchSampler: unknown;
}): DistributedSamplerWrapper<unknown> | UnrepeatedDistributedSampler<unknown> | null {
  const { sampler, batchSampler } = loader;
  const inner = batchSampler instanceof BatchSampler ? batchSampler.sampler : sampler;
  for (const order of [batchSampler, inner])
    if (order instanceof DistributedSamplerWrapper || order instanceof UnrepeatedDistributedSampler) return order;
  return null;
}
