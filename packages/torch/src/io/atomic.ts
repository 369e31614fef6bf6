/** Files that are either the old one or the new one, whatever happens in between. */
import { closeSync, fsyncSync, openSync, realpathSync, renameSync, statSync, unlinkSync, writeSync } from "node:fs";
import { basename, dirname, join, resolve } from "node:path";
import { ArgumentError } from "../errors.js";
import { callable, filled, flag } from "../kinds.js";
import { atMost, checkArguments, checkOptions, type OptionNames } from "../options.js";
import { asFileError, checkPath } from "./errors.js";
import { removeLeftovers, temporaryName } from "./leftovers.js";

export interface WriteOptions {
  /** False: leave it to the operating system when the contents reach the disk. A crash of the machine can then lose both. Default true. */
  readonly sync?: boolean;
  /** Who writes, for messages. */
  readonly fn?: string;
}
const NAMES: OptionNames<WriteOptions> = { sync: flag, fn: filled };

/**
 * Write a file so that a reader, a crash or a full disk meets the old contents or all of the new ones, never a part.
 *
 * The contents go to a temporary file beside the target, reach the disk (`fsync`), and then take the target's name. Two processes may write the same path: the last
 * to finish wins. A symbolic link stays one: what it points to is replaced. Temporary files of this target that killed processes left are removed first.
 *
 * @param path - The file to write. Its directory must exist.
 * @param write - Writes the contents to the open file descriptor. When it throws, the temporary file is removed and the target is as before.
 * @throws {FileError} `saveCheckpoint: expected to write "last.ckpt". Received: ENOSPC: no space left on device. …`, with the operating system's code.
 */
export function writeAtomically(path: string, write: (fd: number) => void, options: WriteOptions = {}): void {
  atMost("writeAtomically", arguments, 3);
  checkOptions("writeAtomically", options, NAMES);
  const { fn = "writeAtomically", sync = true } = options;
  checkPath(fn, path);
  checkArguments(fn, { write }, { write: callable });
  try {
    const target = resolveLink(resolve(path));
    // A device or a pipe would be replaced by a file.
    if (statSync(target, { throwIfNoEntry: false })?.isFile() === false) throw new ArgumentError(fn, "path to be that of a file, or of none yet", path);
    replace(target, write, sync);
  } catch (error) {
    throw asFileError(fn, "write", path, error, "What was there before is unchanged.");
  }
}

function replace(target: string, write: (fd: number) => void, sync: boolean): void {
  const folder = dirname(target);
  removeLeftovers(folder, basename(target));
  const temporary = join(folder, temporaryName(basename(target)));
  const fd = openSync(temporary, "wx", modeOf(target));
  try {
    try {
      write(fd);
      if (sync) fsyncSync(fd);
    } finally {
      closeSync(fd);
    }
    renameSync(temporary, target);
  } catch (error) {
    try {
      unlinkSync(temporary);
    } catch {
      // Already renamed, or gone with its directory: the first error is the one to report.
    }
    throw error;
  }
  if (sync) syncDirectory(folder);
}

/** @internal `writeSync` until everything is written: one call may write less. */
export function writeAll(fd: number, bytes: Uint8Array): void {
  let at = 0;
  while (at < bytes.length) at += writeSync(fd, bytes, at, bytes.length - at);
}

/** @internal A text as a whole file, as {@link writeAtomically} writes it; what is shown of a run need not reach the disk at once. */
export function writeText(fn: string, path: string, text: string): void {
  writeAtomically(path, (fd) => writeAll(fd, Buffer.from(text)), { fn, sync: false });
}

function resolveLink(path: string): string {
  try {
    return realpathSync(path);
  } catch {
    return path;
  }
}

function modeOf(path: string): number {
  try {
    return statSync(path).mode & 0o777;
  } catch {
    return 0o666;
  }
}

/** The new name too must reach the disk. */
function syncDirectory(path: string): void {
  let fd: number;
  try {
    fd = openSync(path, "r");
  } catch {
    return;
  }
  try {
    fsyncSync(fd);
  } catch {
    // Some file systems cannot sync a directory; the name is then as safe as they make it.
  } finally {
    closeSync(fd);
  }
}
