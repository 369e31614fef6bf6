/**
 * Which files in a folder are a callback's own: what it wrote itself, and what runs wrote whose state it took over.
 * Nothing else is removed or overwritten, whatever a state claims.
 */
import { randomUUID } from "node:crypto";
import { lstatSync } from "node:fs";
import { basename, isAbsolute, join, relative, resolve, sep } from "node:path";
import { asFileError, FileError, plainText, SafetensorsFile, ShardedCheckpoint, withFile } from "@nbit/torch";
import { warn } from "../warnings.js";
import type { CheckpointIO } from "./checkpoint-io.js";
import { headerOfTorchFile, isTorchFile } from "./lightning-file.js";
import { TorchCheckpointIO } from "./torch-checkpoint-io.js";

/** Header keys: who wrote a file, and under which name. A copy or a renamed file is not the writer's any more. */
const WRITER = "nbit.writer";
const NAME = "nbit.name";
const UUID = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/;
/** Runs whose files are still replaced: each resume adds one. */
const MOST_WRITERS = 64;
const FILES = new TorchCheckpointIO();

/** Files of one writer and of those whose state it took over. */
export class OwnFiles {
  #writers: string[] = [randomUUID()];
  readonly #written = new Set<string>();
  /** Files are of a kind that only its `CheckpointIO` reads: of those, what was written here counts. */
  unreadable = false;

  /** For the header of a file that is about to be written at `path`. */
  metadataFor(path: string): Readonly<Record<string, string>> {
    this.#written.add(path);
    return { [WRITER]: this.#writers[0] ?? "", [NAME]: basename(path) };
  }

  /** Newest first. */
  get writers(): readonly string[] {
    return this.#writers;
  }

  /** Take over the files of those who wrote a state; what is no writer in it is left out. */
  inherit(writers: readonly string[] = []): void {
    this.#writers = [...new Set([...this.#writers, ...writers.filter((w) => UUID.test(w))])].slice(0, MOST_WRITERS);
  }

  /**
   * Whether `path` is a checkpoint below `directory`, reached through no symbolic link that lies there, and carries the mark
   * of one of the writers, for this very name.
   */
  has(directory: string | null, path: string): boolean {
    if (directory === null || path === "" || !isAbsolute(path) || path !== resolve(path)) return false;
    try {
      if (leadsAway(directory, path) || lstatSync(path).isSymbolicLink()) return false;
      const metadata = headerOf(path);
      return metadata[NAME] === basename(path) && this.#writers.includes(metadata[WRITER] ?? "");
    } catch {
      return this.unreadable && this.#written.has(path);
    }
  }

  /** Remove a file if it is one of these. One that cannot be removed stays, with a warning. */
  remove(directory: string | null, path: string, io: Pick<CheckpointIO, "removeCheckpoint"> = FILES): void {
    if (!this.has(directory, path)) return;
    try {
      io.removeCheckpoint(path);
    } catch (error) {
      const why = asFileError("ModelCheckpoint", "remove", path, error);
      warn(
        "WARN_CHECKPOINT_REMOVE",
        why instanceof FileError
          ? why.message
          : `ModelCheckpoint: could not remove ${plainText(path)}: ${plainText(why)}`,
      );
    }
  }
}

/** What a checkpoint says of itself, in one file or in a folder. @throws for what is none. */
export function headerOf(path: string): Readonly<Record<string, string>> {
  if (lstatSync(path).isDirectory()) return ShardedCheckpoint.open(path).metadata;
  if (isTorchFile(path)) return headerOfTorchFile(path) ?? {};
  const file = SafetensorsFile.open(path);
  file.close();
  return file.metadata;
}

/** Whether a path, relative to a folder, stays below it. */
function isInside(relativePath: string): boolean {
  return (
    relativePath !== "" && relativePath !== ".." && !relativePath.startsWith(`..${sep}`) && !isAbsolute(relativePath)
  );
}

/** Whether the way from `directory` to `path` leaves it, or has a symbolic link for a folder, which would. */
export function leadsAway(directory: string, path: string): boolean {
  const inside = relative(directory, path);
  if (!isInside(inside)) return true;
  const folders = inside.split(sep).slice(0, -1);
  return folders.some(
    (_, i) =>
      lstatSync(join(directory, ...folders.slice(0, i + 1)), { throwIfNoEntry: false })?.isSymbolicLink() === true,
  );
}

export function isFolder(path: string): boolean {
  return lstatSync(path, { throwIfNoEntry: false })?.isDirectory() === true;
}

/** Whether anything has this name: also a symbolic link that leads nowhere. */
export function isTaken(path: string): boolean {
  return withFile("ModelCheckpoint", "look at", path, () => lstatSync(path, { throwIfNoEntry: false })) !== undefined;
}
