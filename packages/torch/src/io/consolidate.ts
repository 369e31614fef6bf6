/** One whole file of a sharded checkpoint. */
import { existsSync } from "node:fs";
import { ArgumentError } from "../errors.js";
import { flag } from "../kinds.js";
import { itemSize } from "../tensor/dtype.js";
import { atMost, checkOptions, type OptionNames } from "../options.js";
import { checkpointMetadata } from "./checkpoint.js";
import { checkPath } from "./errors.js";
import { replaceFile, writeAll } from "./replace.js";
import { arrange } from "./safetensors-write.js";
import { ShardedCheckpoint } from "./sharded-read.js";

export interface ConsolidateOptions {
  /** Replace a file that is there. Default false. */
  readonly overwrite?: boolean;
}
const NAMES: OptionNames<ConsolidateOptions> = { overwrite: flag };

/**
 * Write a sharded checkpoint as one file, which {@link loadCheckpoint} and the Trainer read: the file that the same save
 * would have written whole. Atomic. Copies 4 MiB at a time, and holds no tensor.
 *
 * @param folder - Of the sharded checkpoint.
 * @param out - Default: beside the folder, `last.ckpt` becoming `last.consolidated.ckpt`.
 * @returns the file's path.
 * @throws {CheckpointError} as {@link ShardedCheckpoint.open}. @throws {ArgumentError} where `out` exists.
 */
export function consolidateCheckpoint(folder: string, out?: string, options: ConsolidateOptions = {}): string {
  const fn = "consolidateCheckpoint";
  atMost(fn, arguments, 3);
  checkOptions(fn, options, NAMES);
  checkPath(fn, folder);
  const path = out ?? `${folder.replace(/\/+$/, "").replace(/\.ckpt$/, "")}.consolidated.ckpt`;
  checkPath(fn, path);
  const checkpoint = ShardedCheckpoint.open(folder);
  try {
    if (existsSync(path) && options.overwrite !== true)
      throw new ArgumentError(
        fn,
        "out to be the path of a new file",
        path,
        "Give another, or overwrite: true (--overwrite).",
      );
    const entries = checkpoint.names.map((name) => {
      const { dtype, shape } = checkpoint.info(name);
      return { name, dtype, shape, nbytes: shape.reduce((a, b) => a * b, itemSize(dtype)) };
    });
    const { header, infos } = arrange(fn, entries, checkpointMetadata(checkpoint.json, checkpoint.metadata));
    replaceFile(
      fn,
      path,
      (fd) => {
        writeAll(fd, header);
        for (const { name, start, end, dtype } of infos)
          checkpoint.eachBytes(name, 0, (end - start) / itemSize(dtype), (bytes) => writeAll(fd, bytes));
      },
      true,
    );
  } finally {
    checkpoint.close();
  }
  return path;
}
