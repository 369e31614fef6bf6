/** Files that are either the old one or the new one, whatever happens in between. */
import { callable, filled, flag } from "../kinds.js";
import { atMost, checkArguments, checkOptions, type OptionNames } from "../options.js";
import { checkPath } from "./errors.js";
import { replaceFile } from "./replace.js";

export interface WriteOptions {
  /**
   * False: leave it to the operating system when the contents reach the disk. A crash of the machine can then lose
   * both. Default true.
   */
  readonly sync?: boolean;
  /** Who writes, for messages. */
  readonly fn?: string;
}
const NAMES: OptionNames<WriteOptions> = { sync: flag, fn: filled };

/**
 * Write a file so that a reader, a crash or a full disk meets the old contents or all of the new ones, never a part.
 *
 * The contents go to a temporary file beside the target, reach the disk (`fsync`), and then take the target's name. Two
 * processes may write the same path: the last to finish wins. A symbolic link stays one: what it points to is replaced.
 * Temporary files of this target that killed processes left are removed first. Of two files that one process writes,
 * the later has the later time, also within one tick of the file system's clock.
 *
 * @param path - The file to write. Its directory must exist.
 * @param write - Writes the contents to the open file descriptor. When it throws, the temporary file is removed and the
 * target is as before.
 * @throws {FileError} `saveCheckpoint: expected to write "last.ckpt". Received: ENOSPC: no space left on device. …`,
 * with the operating system's code.
 */
export function writeAtomically(path: string, write: (fd: number) => void, options: WriteOptions = {}): void {
  atMost("writeAtomically", arguments, 3);
  checkOptions("writeAtomically", options, NAMES);
  const { fn = "writeAtomically", sync = true } = options;
  checkPath(fn, path);
  checkArguments(fn, { write }, { write: callable });
  replaceFile(fn, path, write, sync);
}
