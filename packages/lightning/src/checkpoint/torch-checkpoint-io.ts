import { rmSync, statSync } from "node:fs";
import {
  atMost,
  checkOptions,
  checkPath,
  kinds,
  removeSharded,
  saveSharded,
  shardSizeKind,
  verbatim,
  withFile,
  type OptionNames,
  type ShardSize,
} from "@nbit/torch";
import { MisconfigurationError } from "../errors.js";
import { CheckpointIO, type CheckpointStorage } from "./checkpoint-io.js";
import { makeFolderOf, READ, readCheckpoint, writeCheckpoint, type ReadCheckpointOptions } from "./file.js";
import { checkpointFormat, type Checkpoint, type CheckpointFormat } from "./format.js";
import { readLightningFile } from "./lightning-file.js";
import { writeLightningFile } from "./lightning-write.js";

export interface TorchCheckpointIOOptions {
  /**
   * Bytes of tensors in one file, such as "2GB": checkpoints are folders of such files then, with a manifest, read as
   * files are. Default: one file, whatever its size.
   */
  readonly maxShardSize?: ShardSize | null;
  /**
   * "lightning": files that Lightning reads in Python, with `torch.load`, `load_from_checkpoint` and `ckpt_path`; this
   * package reads them as exactly as its own. Default "safetensors".
   */
  readonly format?: CheckpointFormat;
}
const OPTIONS: OptionNames<TorchCheckpointIOOptions> = {
  maxShardSize: kinds.orNull(shardSizeKind),
  format: checkpointFormat,
};

/**
 * The Trainer's own: safetensors files, or Lightning's, written at once and atomically, on a file system.
 *
 * @example new Trainer({ plugins: new TorchCheckpointIO({ maxShardSize: "2GB" }) });
 * @example
 * const io = new TorchCheckpointIO({ format: "lightning" });
 * io.saveCheckpoint(io.loadCheckpoint("best.ckpt"), "for-python.ckpt");
 */
export class TorchCheckpointIO extends CheckpointIO {
  readonly maxShardSize: ShardSize | null;
  readonly format: CheckpointFormat;

  /** @throws {MisconfigurationError} `ERR_CHECKPOINT_LIGHTNING` for a format of one file beside `maxShardSize`. */
  constructor(options: TorchCheckpointIOOptions = {}) {
    super();
    atMost("TorchCheckpointIO", arguments, 1);
    checkOptions("TorchCheckpointIO", options, OPTIONS);
    this.maxShardSize = options.maxShardSize ?? null;
    this.format = options.format ?? "safetensors";
    this.#check("TorchCheckpointIO", this.format);
  }
  /** Lightning's is one file. */
  #check(where: string, format: CheckpointFormat): void {
    if (format === "lightning" && this.maxShardSize !== null)
      throw lightningIsOneFile(where, "maxShardSize, which writes a folder");
  }

  override get writesFolders(): boolean {
    return this.maxShardSize !== null;
  }

  override saveCheckpoint(checkpoint: Checkpoint, path: string, storage: CheckpointStorage = {}): void {
    atMost("TorchCheckpointIO.saveCheckpoint", arguments, 3);
    checkStorage(storage);
    const format = storage.format ?? this.format;
    this.#check("saveCheckpoint", format);
    if (format === "lightning") {
      writeLightningFile(path, checkpoint, storage.metadata);
      return;
    }
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
    return readLightningFile(path, { device, dtype, toGoOn: true }) ?? readCheckpoint(path, options);
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

const STORAGE: OptionNames<CheckpointStorage> = {
  metadata: kinds.record,
  storageOptions: true,
  format: checkpointFormat,
};

export function lightningIsOneFile(where: string, received: string): MisconfigurationError {
  return new MisconfigurationError(
    where,
    'a checkpoint that one process writes as one file, at once, for format "lightning"',
    verbatim(received),
    'Save such a checkpoint as it is, and write it anew: new TorchCheckpointIO({ format: "lightning" }).saveCheckpoint(readCheckpoint(path), other).',
    "ERR_CHECKPOINT_LIGHTNING",
  );
}

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
