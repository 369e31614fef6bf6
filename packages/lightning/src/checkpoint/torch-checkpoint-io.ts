import { rmSync, statSync } from "node:fs";
import {
  atMost,
  checkOptions,
  checkPath,
  kinds,
  removeSharded,
  saveSharded,
  shardSizeKind,
  withFile,
  type OptionNames,
  type ShardSize,
} from "@nbit/torch";
import { MisconfigurationError } from "../errors.js";
import { CheckpointIO, type CheckpointStorage } from "./checkpoint-io.js";
import { makeFolderOf, READ, readCheckpoint, writeCheckpoint, type ReadCheckpointOptions } from "./file.js";
import type { Checkpoint } from "./format.js";
import { readLightningFile } from "./lightning-file.js";

export interface TorchCheckpointIOOptions {
  /**
   * Bytes of tensors in one file, such as "2GB": checkpoints are folders of such files then, with a manifest, read as
   * files are. Default: one file, whatever its size.
   */
  readonly maxShardSize?: ShardSize | null;
}
const OPTIONS: OptionNames<TorchCheckpointIOOptions> = { maxShardSize: kinds.orNull(shardSizeKind) };

/**
 * The Trainer's own: safetensors files, written at once and atomically, on a file system.
 *
 * @example new Trainer({ plugins: new TorchCheckpointIO({ maxShardSize: "2GB" }) });
 */
export class TorchCheckpointIO extends CheckpointIO {
  readonly maxShardSize: ShardSize | null;

  constructor(options: TorchCheckpointIOOptions = {}) {
    super();
    atMost("TorchCheckpointIO", arguments, 1);
    checkOptions("TorchCheckpointIO", options, OPTIONS);
    this.maxShardSize = options.maxShardSize ?? null;
  }

  override get writesFolders(): boolean {
    return this.maxShardSize !== null;
  }

  override saveCheckpoint(checkpoint: Checkpoint, path: string, storage: CheckpointStorage = {}): void {
    atMost("TorchCheckpointIO.saveCheckpoint", arguments, 3);
    checkStorage(storage);
    if (this.maxShardSize === null) {
      writeCheckpoint(path, checkpoint, storage.metadata);
      return;
    }
    checkPath("saveCheckpoint", path);
    makeFolderOf(path);
    saveSharded(path, checkpoint, this.maxShardSize, { metadata: storage.metadata ?? {} });
  }

  /** Lightning's own files too. */
  override loadCheckpoint(path: string, options: ReadCheckpointOptions = {}): Checkpoint {
    atMost("TorchCheckpointIO.loadCheckpoint", arguments, 2);
    checkPath("loadCheckpoint", path);
    checkOptions("readCheckpoint", options, READ);
    const { device, dtype } = options;
    return (device === undefined ? readLightningFile(path, dtype, true) : null) ?? readCheckpoint(path, options);
  }

  override removeCheckpoint(path: string): void {
    atMost("TorchCheckpointIO.removeCheckpoint", arguments, 1);
    checkPath("removeCheckpoint", path);
    withFile("removeCheckpoint", "remove", path, () => {
      if (statSync(path, { throwIfNoEntry: false })?.isDirectory() === true) removeSharded(path);
      else rmSync(path, { force: true });
    });
  }
}

const STORAGE: OptionNames<CheckpointStorage> = { metadata: kinds.record, storageOptions: true };

/** @throws {MisconfigurationError} `ERR_STORAGE_OPTIONS` for what is meant for a store of another kind. */
export function checkStorage(storage: CheckpointStorage): void {
  checkOptions("saveCheckpoint", storage, STORAGE);
  const { storageOptions } = storage;
  if (storageOptions !== undefined && storageOptions !== null)
    throw new MisconfigurationError(
      "saveCheckpoint",
      "no storageOptions, which files have no use for",
      storageOptions,
      "Leave them out, or pass a CheckpointIO of your own in plugins that takes them.",
      "ERR_STORAGE_OPTIONS",
    );
}
