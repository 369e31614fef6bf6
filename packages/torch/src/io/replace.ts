/** How a file is replaced by a whole new one, or left as it is. Loads nothing native. */
import { Buffer } from "node:buffer";
import {
  closeSync,
  fstatSync,
  fsyncSync,
  futimesSync,
  mkdirSync,
  openSync,
  realpathSync,
  renameSync,
  statSync,
  unlinkSync,
  writeSync,
} from "node:fs";
import { basename, dirname, join, resolve } from "node:path";
import { ArgumentError } from "../errors.js";
import { asFileError, checkPath, withFile } from "./errors.js";
import { removeLeftovers, temporaryName } from "./leftovers.js";

/** @internal What `writeAtomically` does, for those whose arguments are their own. */
export function replaceFile(fn: string, path: string, write: (fd: number) => void, sync: boolean): void {
  checkPath(fn, path);
  try {
    const target = resolveLink(resolve(path));
    // A device or a pipe would be replaced by a file.
    if (statSync(target, { throwIfNoEntry: false })?.isFile() === false)
      throw new ArgumentError(fn, "path to be that of a file, or of none yet", path);
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
      if (sync) {
        makeNewest(fd);
        fsyncSync(fd);
      }
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

/** When the file that was written last was modified, in ns since 1970. */
let newest = 0n;
/** More than the tick of any clock; a time that lies further back is the clock's own doing, and stays. */
const ONE_SECOND = 1_000_000_000n;

/**
 * File systems count time in ticks of milliseconds. Of two files that were written within one, the later is made the
 * newer by µs: the newest by its time is the one written last.
 */
function makeNewest(fd: number): void {
  const modified = (): bigint => fstatSync(fd, { bigint: true }).mtimeNs;
  let time = modified();
  if (time <= newest && newest - time < ONE_SECOND) {
    const seconds = Number(newest / 1000n + 2n) / 1e6; // two, as seconds in a double are cut off to µs
    try {
      futimesSync(fd, seconds, seconds);
      time = modified();
    } catch {
      // Some file systems keep no times of ours; order within a tick is then unknown.
    }
  }
  newest = time;
}

/** @internal `writeSync` until everything is written: one call may write less. */
export function writeAll(fd: number, bytes: Uint8Array): void {
  let at = 0;
  while (at < bytes.length) at += writeSync(fd, bytes, at, bytes.length - at);
}

/**
 * @internal A text as a whole file, written as {@link replaceFile} does, in a folder that is made where it is missing;
 * what is shown of a run need not reach the disk at once.
 */
export function writeText(fn: string, path: string, content: string): void {
  checkPath(fn, path);
  withFile(fn, "make the folder of", path, () => mkdirSync(dirname(resolve(path)), { recursive: true }));
  replaceFile(fn, path, (fd) => writeAll(fd, Buffer.from(content)), false);
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
