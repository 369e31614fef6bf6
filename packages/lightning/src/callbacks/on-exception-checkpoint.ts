import { resolve } from "node:path";
import { kinds, plainText, signature, type Call, type OptionNames } from "@nbit/torch";
import { fieldsOf, listOf, optional, text } from "@nbit/torch/schema";
import { EXTENSION, freePath } from "../checkpoint/free-path.js";
import { templateProblem } from "../checkpoint/names.js";
import { OwnFiles } from "../checkpoint/own-files.js";
import { checkState } from "../checkpoint/schema.js";
import { isTraining } from "../checkpoint/save-times.js";
import { MisconfigurationError } from "../errors.js";
import type { TrainerView } from "../trainer-view.js";
import { Checkpoint } from "./checkpoint.js";

export interface OnExceptionCheckpointOptions {
  /** The folder. */
  readonly dirpath: string;
  /** Without the extension. Default "on_exception". */
  readonly filename?: string;
}
const { byDefault, filled } = kinds;
const read = signature("OnExceptionCheckpoint", {
  dirpath: filled,
  filename: byDefault("on_exception", filled),
} satisfies OptionNames<OnExceptionCheckpointOptions>);

const STATE = fieldsOf({ writers: optional(listOf(text)) });

/**
 * Saves a checkpoint when an error, or an interrupt, ends a fit that has begun: `<dirpath>/<filename>.ckpt`. The state
 * is that of the moment: a run that goes on from it goes on with the batch behind the one in which the error came.
 *
 * A run that ends well removes the file, when it is this callback's own or that of the run it goes on from. One of
 * somebody else's is neither replaced nor removed: the name gets a version then. @see `ckptPath`
 *
 * @throws {MisconfigurationError} `OnExceptionCheckpoint: expected filename to stay in dirpath: … Received: "../a".`
 * @example new OnExceptionCheckpoint("checkpoints");
 */
export class OnExceptionCheckpoint extends Checkpoint {
  readonly dirpath: string;
  readonly filename: string;
  readonly #own = new OwnFiles();
  #trains = false;

  constructor(
    ...given: Call<OnExceptionCheckpointOptions, ["dirpath", "filename"], [dirpath: string, filename?: string]>
  ) {
    const { dirpath, filename } = read(given, new.target.name);
    super();
    const problem = templateProblem(filename, false);
    if (problem !== null || filename.includes("{"))
      throw new MisconfigurationError(
        "OnExceptionCheckpoint",
        `filename ${problem ?? "to be a name, without values in it"}`,
        filename,
        undefined,
        "ERR_ON_EXCEPTION_CHECKPOINT",
      );
    this.dirpath = resolve(dirpath);
    this.filename = filename;
  }

  override get stateKey(): string {
    return `OnExceptionCheckpoint(${this.filename})`;
  }

  /** Where it saves, unless somebody else's file has that name. */
  get ckptPath(): string {
    return resolve(this.dirpath, this.filename + EXTENSION);
  }

  override setup(): void {
    this.#trains = false;
  }
  override onTrainStart(): void {
    this.#trains = true;
  }

  override onException(trainer: TrainerView): void {
    // Nobody answers any more: process 0 saves what it has. Before training, there is nothing to go on from.
    if (!this.#trains || !isTraining(trainer) || !trainer.isGlobalZero) return;
    const sharded = trainer.strategy.stateDictType === "sharded" || trainer.checkpointIO.writesFolders;
    const path = freePath(this.dirpath, this.filename, { replaced: this.ckptPath, own: this.#own, sharded });
    trainer.saveCheckpoint(path, { metadata: this.#own.metadataFor(path) });
    trainer.checkpointIO.wait(path);
    console.error(plainText(`OnExceptionCheckpoint: saved ${path}.`));
  }

  override teardown(trainer: TrainerView): void {
    if (this.#trains && trainer.isGlobalZero) this.#own.remove(this.dirpath, this.ckptPath, trainer.checkpointIO);
    this.#trains = false;
  }

  override stateDict(): Record<string, unknown> {
    return { writers: [...this.#own.writers] };
  }
  override loadStateDict(state: Record<string, unknown>): void {
    this.#own.inherit(checkState("OnExceptionCheckpoint.loadStateDict", STATE, state).writers);
  }
}
