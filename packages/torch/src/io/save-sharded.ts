/** A checkpoint of one process as a folder: tensors in files of a size, and a manifest. */
import { randomBytes } from "node:crypto";
import { readdirSync, rmSync } from "node:fs";
import { join } from "node:path";
import { atMost, checkArguments, checkOptions, type OptionNames } from "../options.js";
import { scope } from "../tensor/index.js";
import { checkPath } from "./errors.js";
import { SAVE, type SaveOptions } from "./safetensors-write.js";
import { bytesIn, inShards, shardSizeKind, type ShardSize } from "./safetensors-shards.js";
import { writeManifest, writeShard } from "./sharded-write.js";
import { packState } from "./state.js";

const OPTIONS: OptionNames<Pick<SaveOptions, "metadata">> = { metadata: SAVE.metadata };

/**
 * Save a nested state as the folder that `ShardedCheckpoint` reads. What the folder held before stays whole until the
 * last file is written, and goes then; a save that fails leaves it as it was.
 *
 * @param state - What `packState` takes.
 * @param maxShardSize - Bytes of tensors in one file, such as "2GB"; a tensor that is larger has a file of its own.
 * @throws {FileError} where a file cannot be written.
 * @example saveSharded("last.ckpt", { model: model.stateDict() }, "2GB");
 */
export function saveSharded(
  folder: string,
  state: unknown,
  maxShardSize: ShardSize,
  options: Pick<SaveOptions, "metadata"> = {},
): void {
  const fn = "saveSharded";
  atMost(fn, arguments, 4);
  checkPath(fn, folder);
  checkArguments(fn, { maxShardSize }, { maxShardSize: shardSizeKind });
  checkOptions(fn, options, OPTIONS);
  const save = randomBytes(8).toString("hex");
  scope(() => {
    const { tensors, json } = packState(state);
    try {
      const shards = inShards(Object.entries(tensors), bytesIn(maxShardSize)).map((entries, i) =>
        writeShard(
          folder,
          save,
          i,
          entries.map(([name, data]) => ({ name, start: 0, end: data.numel(), data })),
        ),
      );
      writeManifest(folder, shards, { tensors, json, metadata: options.metadata ?? {} });
    } catch (error) {
      removeFilesOf(folder, save);
      throw error;
    }
  });
}

function removeFilesOf(folder: string, save: string): void {
  try {
    for (const name of readdirSync(folder))
      if (name.startsWith(`${save}.`)) rmSync(join(folder, name), { force: true });
  } catch {
    // The first error is the one to report.
  }
}
