import { scope, type DType } from "@nbit/torch";
import { noteCheckpoint, RunLog } from "../callbacks/run-log.js";
import type { Run } from "../run.js";
import type { Checkpoint, CheckpointFormat } from "./format.js";
import { saveSharded } from "./sharded.js";
import { dumpCheckpoint } from "./state.js";
import { saveTogether } from "./together.js";
import { lightningIsOneFile } from "./torch-checkpoint-io.js";

export interface SaveRequest {
  readonly path: string;
  readonly weightsOnly: boolean;
  /** Of weights; null: their own. */
  readonly dtype: DType | null;
  readonly metadata: Readonly<Record<string, string>> | undefined;
  readonly storageOptions: unknown;
  /** Undefined: the store's. */
  readonly format: CheckpointFormat | undefined;
}

/** Writes where a run stands: to a file by process 0, or to a folder by all. */
export function saveRun(
  run: Run,
  { path, weightsOnly, dtype, metadata = {}, storageOptions, format }: SaveRequest,
): void {
  const { strategy, validation } = run;
  if (format === "lightning" && strategy.stateDictType === "sharded")
    throw lightningIsOneFile("saveCheckpoint", 'a strategy with stateDictType "sharded"');
  const storage = { metadata, storageOptions, ...(format === undefined ? {} : { format }) };
  run.fit?.compiled?.pull();
  const dump = (): Checkpoint => dumpCheckpoint(run, weightsOnly, dtype);
  const writeFile = (checkpoint: Checkpoint): void => run.owner.checkpointIO.saveCheckpoint(checkpoint, path, storage);
  // After a failure there is nobody to gather from: what process 0 has is better than nothing.
  const collectives = run.failed ? null : (strategy.collectives ?? null);
  if (collectives === null && !strategy.isGlobalZero) return;
  const write = (): void =>
    scope(() => {
      if (collectives === null) writeFile(dump());
      else if (strategy.stateDictType === "sharded")
        saveSharded(run, collectives, { path, weightsOnly, dtype, metadata });
      else saveTogether(run, collectives, !weightsOnly, dump, writeFile);
    });
  // Weights that validation has cast for its own time are saved as training has them.
  const temporary = validation?.temporaryDtype ?? null;
  if (temporary === null) write();
  else temporary.suspended(write);
  for (const callback of run.callbacks) if (callback instanceof RunLog) noteCheckpoint(callback, run.trainer, path);
}
