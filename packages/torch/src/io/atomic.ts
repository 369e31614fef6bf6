/** Files that are either the old one or the new one, whatever happens in between. */
import { randomBytes } from "node:crypto";
import { closeSync, fsyncSync, openSync, realpathSync, renameSync, statSync, unlinkSync, writeSync } from "node:fs";
import { basename, dirname, join } from "node:path";

/**
 * Write a file so that a reader, a crash or a full disk meets the old contents or all of the new ones, never a part.
 *
 * The contents go to a temporary file beside the target, reach the disk (`fsync`), and then take the target's name. Two processes may write the same path: the last
 * to finish wins. A symbolic link stays one: what it points to is replaced.
 *
 * @param path - The file to write. Its directory must exist.
 * @param write - Writes the contents to the open file descriptor. When it throws, the temporary file is removed and the target is as before.
 * @param options.sync - False: leave it to the operating system when the contents reach the disk. A crash of the machine can then lose both. Default true.
 */
export function writeAtomically(path: string, write: (fd: number) => void, options: { readonly sync?: boolean } = {}): void {
  const target = resolveLink(path);
  const temporary = join(dirname(target), `.${basename(target)}.${process.pid}.${randomBytes(4).toString("hex")}.tmp`);
  const fd = openSync(temporary, "wx", modeOf(target));
  try {
    try {
      write(fd);
      if (options.sync !== false) fsyncSync(fd);
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
  if (options.sync !== false) syncDirectory(dirname(target));
}

/** `writeSync` until everything is written: one call may write less. */
export function writeAll(fd: number, bytes: Uint8Array): void {
  let at = 0;
  while (at < bytes.length) at += writeSync(fd, bytes, at, bytes.length - at);
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
