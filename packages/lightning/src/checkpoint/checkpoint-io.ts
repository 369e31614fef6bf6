import { atMost } from "@nbit/torch";
import type { ReadCheckpointOptions } from "./file.js";
import type { Checkpoint, CheckpointFormat } from "./format.js";

/** What a save is told beside its contents. */
export interface CheckpointStorage {
  /** Texts for the file's header: who wrote it. `ModelCheckpoint` knows its own files by them. */
  readonly metadata?: Readonly<Record<string, string>>;
  /** What `trainer.saveCheckpoint` was given for it. */
  readonly storageOptions?: unknown;
  /** As `trainer.saveCheckpoint` was asked for it; absent: as this one writes by itself. */
  readonly format?: CheckpointFormat;
}

/**
 * Where checkpoints of a Trainer go, and where they come from: pass one in `plugins`. Process 0 alone calls it.
 *
 * Tensors of a checkpoint belong to the run: what is kept of them beyond `saveCheckpoint` is a copy, made by
 * `serializeSafetensors(packState(checkpoint).tensors)` for example.
 *
 * @example
 * class Encrypted extends TorchCheckpointIO {
 *   override saveCheckpoint(checkpoint: CheckpointContents, path: string, storage?: CheckpointStorage): void { … }
 * }
 */
export abstract class CheckpointIO {
  constructor() {
    atMost(new.target.name, arguments, 0);
  }

  /**
   * Write one. When it returns, the checkpoint's tensors may change. @throws what it fails of: training ends with that.
   */
  abstract saveCheckpoint(checkpoint: Checkpoint, path: string, storage?: CheckpointStorage): void;

  /** Read one, with all of its tensors. */
  abstract loadCheckpoint(path: string, options?: ReadCheckpointOptions): Checkpoint;

  /** Remove one; nothing where there is none. */
  abstract removeCheckpoint(path: string): void;

  /** A run ends, however it does. @throws what saving failed of. */
  teardown(): void {}

  /** Whether checkpoints are folders. */
  get writesFolders(): boolean {
    return false;
  }

  /** Wait for saves to paths that begin like this. Default: they are done when `saveCheckpoint` returns. */
  wait(_begin = ""): void {}

  /** Do something when all that was saved until now is written. Default: it is. */
  whenSaved(then: () => void): void {
    then();
  }
}
