/** The form of everything in a checkpoint that the Trainer reads, checked as a whole before any of it is used. */
import { CheckpointError, describe, plainText } from "@nbit/torch";
import {
  anyNumber,
  anyRecord,
  anyTensor,
  bytes,
  conforming,
  count,
  fieldsOf,
  flag,
  leaf,
  listOf,
  notNegative,
  oneOf,
  optional,
  orNull,
  recordOf,
  text,
  type Schema,
  type TypeOf,
} from "@nbit/torch/schema";
import { HOOKS_THAT_LOG } from "../logging/levels.js";

const progress = fieldsOf({
  epoch: count,
  batchesDone: count,
  batchIdx: count,
  totalBatches: count,
  globalStep: count,
  batchesThatStepped: count,
  windowOpen: flag,
  isLastBatch: flag,
  phase: oneOf("between_epochs", "batch_end", "batch_logged", "validated", "batch_done", "epoch_end"),
});

const meta = fieldsOf({
  hook: oneOf(...HOOKS_THAT_LOG),
  name: text,
  progBar: flag,
  logger: flag,
  onStep: flag,
  onEpoch: flag,
  reduceFx: oneOf("mean", "sum", "min", "max"),
  syncDist: optional(flag),
  rankZeroOnly: optional(flag),
  dataloaderIdx: orNull(count),
});
const metric = fieldsOf({ meta, last: anyNumber, sum: anyNumber, count: notNegative, wide: flag });
const metricObject = fieldsOf({
  meta,
  attribute: text,
  last: orNull(anyNumber),
  updates: count,
  states: listOf(fieldsOf({ name: text, tensors: listOf(anyTensor), isList: flag })),
});

/** Where a loader stands. */
export const fetcherState = fieldsOf({ rng: orNull(bytes), fetched: count, loader: orNull(anyRecord) });

const epoch = leaf<number>("a whole number", Number.isSafeInteger);
const loaded = fieldsOf({ training: orNull(epoch), validation: orNull(epoch) });

const loopsOfRank = {
  fetcher: fetcherState,
  batchSize: optional(orNull(count)),
  metrics: listOf(metric),
  metricObjects: optional(listOf(metricObject)),
  callbackMetrics: recordOf(anyNumber),
  gradients: orNull(recordOf(anyTensor)),
  validation: optional(fieldsOf({ seen: listOf(count), loaders: listOf(orNull(anyRecord)) })),
};
const rng = fieldsOf({ cpu: bytes, device: orNull(bytes) });

const checkpoint = fieldsOf({
  epoch: count,
  globalStep: count,
  stateDict: recordOf(anyTensor),
  hyperparameters: anyRecord,
  moduleName: optional(text),
  datamodule: optional(fieldsOf({ name: text, hyperparameters: anyRecord, state: anyRecord })),
  precision: optional(fieldsOf({ name: text, state: orNull(fieldsOf({ skippedSteps: optional(count) })) })),
  optimizerStates: optional(listOf(anyRecord)),
  lrSchedulers: optional(listOf(anyRecord)),
  callbacks: optional(recordOf(anyRecord)),
  loops: optional(
    fieldsOf({ progress, ...loopsOfRank, bucketOrder: optional(orNull(listOf(text))), loaded: optional(loaded) }),
  ),
  loggers: optional(listOf(fieldsOf({ name: text, state: anyRecord }))),
  rng: optional(rng),
  ranks: optional(
    listOf(
      fieldsOf({
        rng: optional(rng),
        loops: optional(fieldsOf({ ...loopsOfRank, gradients: optional(loopsOfRank.gradients) })),
        buffers: recordOf(anyTensor),
      }),
    ),
  ),
});

/**
 * Check what was read from a file, or what else is given to `loadStateDict`.
 * @param where - Who reads, or which file.
 * @throws {CheckpointError} `CHECKPOINT_STATE`: `last.ckpt: expected loops.progress.epoch to be a whole number from 0
 * to 2^53 - 1. Received: NaN. …`
 */
export function checkState<T>(where: string, schema: Schema<T>, state: unknown): T {
  return conforming(schema, state, "", ({ path, expected, received }) =>
    damaged(where, `${path === "" ? "the state" : path} to be ${expected}`, received),
  );
}

export function damaged(where: string, expected: string, received: unknown): CheckpointError {
  return new CheckpointError(
    "CHECKPOINT_STATE",
    plainText(
      `${where}: expected ${expected}. Received: ${describe(received)}. The state is damaged, or of another program.`,
    ),
  );
}

/** The form of a checkpoint, and what its numbers must have to do with each other. */
export function checkCheckpoint(path: string, state: unknown): void {
  const { loops, ranks = [] } = checkState(path, checkpoint, state);
  if (loops === undefined) return;
  checkCounts(path, loops);
  for (const rank of ranks) if (rank.loops !== undefined) checkCounts(path, { ...loops, ...rank.loops });
}

function checkCounts(
  path: string,
  { progress, fetcher }: Pick<NonNullable<TypeOf<typeof checkpoint>["loops"]>, "progress" | "fetcher">,
): void {
  const { batchesDone, totalBatches, phase, batchesThatStepped } = progress;
  if (batchesDone > totalBatches)
    throw damaged(path, `loops.progress.batchesDone to be at most totalBatches (${totalBatches})`, batchesDone);
  if (batchesThatStepped > totalBatches)
    throw damaged(
      path,
      `loops.progress.batchesThatStepped to be at most totalBatches (${totalBatches})`,
      batchesThatStepped,
    );
  // Within an epoch, batches that were used are fetched again and passed over.
  const within = phase === "batch_end" || phase === "batch_logged" || phase === "validated" || phase === "batch_done";
  if (within && fetcher.fetched !== batchesDone && fetcher.fetched !== batchesDone + 1)
    throw damaged(
      path,
      `loops.fetcher.fetched to be the ${batchesDone} batches that are done, or one more`,
      fetcher.fetched,
    );
}
