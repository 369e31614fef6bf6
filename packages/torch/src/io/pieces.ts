/** Parts of files, read into memory of the caller's. */
import { readSync } from "node:fs";
import { withFile } from "./errors.js";

/** Bytes in a piece: the memory that they pass through is used again, and is to stay in a processor's own cache. */
export const PIECE = 1 << 20;

/** Fills `into` with the bytes from `at` of a file. Returns how many there were: fewer where the file ends before. */
export function readAt(fn: string, path: string, fd: number, into: Uint8Array, at: number): number {
  let done = 0;
  while (done < into.length) {
    const count = Math.min(into.length - done, 1 << 30);
    const n = withFile(fn, "read", path, () => readSync(fd, into, done, count, at + done));
    if (n === 0) break;
    done += n;
  }
  return done;
}
