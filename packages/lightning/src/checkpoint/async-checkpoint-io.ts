import { atMost, BackgroundWriter, checkArguments, checkPath, copyOfCheckpoint, kinds } from "@nbit/torch";
import { MisconfigurationError } from "../errors.js";
import { CheckpointIO, type CheckpointStorage } from "./checkpoint-io.js";
import { makeFolderOf, type ReadCheckpointOptions } from "./file.js";
import type { Checkpoint } from "./format.js";
import { checkStorage, lightningIsOneFile, TorchCheckpointIO } from "./torch-checkpoint-io.js";

/** The best and the last of one step. */
const MOST_PENDING = 2;

/**
 * Saves without waiting for the disk: what a checkpoint holds is copied at the step, and a thread writes the copy while
 * training goes on. The file is what `TorchCheckpointIO` writes of that step, to the last byte, complete or absent.
 *
 * The copy takes as much memory of the CPU as the checkpoint, until it is written; at most two are pending, such as the
 * best and the last of one step, and a third waits for the first. A write that fails ends training at the next save, or
 * at its end. A file that the new one takes the place of is removed when the new one is there. The end of a run waits
 * for all of its files.
 *
 * @example new Trainer({ plugins: [new AsyncCheckpointIO()], callbacks: [new ModelCheckpoint({ everyNTrainSteps: 100 })] });
 */
export class AsyncCheckpointIO extends CheckpointIO {
  readonly checkpointIO: TorchCheckpointIO;
  readonly #writer = new BackgroundWriter(MOST_PENDING);

  /**
   * @param checkpointIO - Reads and removes. Default: `new TorchCheckpointIO()`.
   * @throws {MisconfigurationError} `ERR_ASYNC_CHECKPOINT` for one whose files this does not know how to write.
   */
  constructor(checkpointIO: TorchCheckpointIO | null = null) {
    super();
    atMost("AsyncCheckpointIO", arguments, 1);
    checkArguments(
      "AsyncCheckpointIO",
      { checkpointIO },
      { checkpointIO: kinds.orNull(kinds.instanceOf("TorchCheckpointIO", TorchCheckpointIO)) },
    );
    const own = checkpointIO ?? new TorchCheckpointIO();
    if (
      own.writesFolders ||
      own.format !== "safetensors" ||
      own.saveCheckpoint !== TorchCheckpointIO.prototype.saveCheckpoint
    )
      throw new MisconfigurationError(
        "AsyncCheckpointIO",
        "a TorchCheckpointIO that writes one file, by its own saveCheckpoint",
        own,
        "The thread that writes has no code of yours. Leave out maxShardSize and format, or save at once.",
        "ERR_ASYNC_CHECKPOINT",
      );
    this.checkpointIO = own;
  }

  /** Returns when everything is copied. @throws what an earlier save failed of. */
  override saveCheckpoint(checkpoint: Checkpoint, path: string, storage: CheckpointStorage = {}): void {
    atMost("AsyncCheckpointIO.saveCheckpoint", arguments, 3);
    checkStorage(storage);
    if (storage.format === "lightning") throw lightningIsOneFile("saveCheckpoint", "an AsyncCheckpointIO");
    checkPath("saveCheckpoint", path);
    this.#writer.check();
    makeFolderOf(path);
    this.#writer.write("saveCheckpoint", path, copyOfCheckpoint(checkpoint, storage.metadata));
  }

  /** Of what was saved before, all is there. */
  override loadCheckpoint(path: string, options: ReadCheckpointOptions = {}): Checkpoint {
    atMost("AsyncCheckpointIO.loadCheckpoint", arguments, 2);
    this.#writer.wait();
    return this.checkpointIO.loadCheckpoint(path, options);
  }

  override removeCheckpoint(path: string): void {
    atMost("AsyncCheckpointIO.removeCheckpoint", arguments, 1);
    this.#writer.wait();
    this.checkpointIO.removeCheckpoint(path);
  }

  override teardown(): void {
    this.#writer.close();
  }

  override wait(begin = ""): void {
    this.#writer.wait(begin);
  }

  override whenSaved(then: () => void): void {
    this.#writer.whenWritten(then);
  }
}
