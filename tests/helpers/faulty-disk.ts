/**
 * A file system that fails when it is told to: Node's own functions, of which the n-th call that changes a file fails,
 * in this process, for all packages.
 */
import fs from "node:fs";
import { syncBuiltinESMExports } from "node:module";

export type Fault = "ENOSPC" | "EIO";

const MESSAGES: Readonly<Record<Fault, string>> = { ENOSPC: "no space left on device", EIO: "i/o error" };

export interface FaultyDisk {
  /** Calls that change files, since the disk became faulty. */
  readonly calls: number;
  /** Which function the fault struck; null: none. */
  readonly struck: string | null;
}

/**
 * Run `work` on a disk whose n-th call fails.
 *
 * ENOSPC at a write: `bytes` of it are written, then that write and all later ones fail, as on a full disk. EIO: that
 * one call fails. What a call that fails would have done is not done, but a file is closed all the same.
 *
 * @param at - Index of the call; Infinity: none fails, for counting.
 */
export async function withFault<T>(
  options: { readonly at: number; readonly fault: Fault; readonly bytes?: number },
  work: (disk: FaultyDisk) => T | Promise<T>,
): Promise<{ disk: FaultyDisk; outcome: { value: T } | { error: unknown } }> {
  const { at, fault, bytes = 0 } = options;
  const disk = { calls: 0, struck: null as string | null };
  const writing = new Set<number>();
  let full = false;
  const original = {
    openSync: fs.openSync,
    closeSync: fs.closeSync,
    writeSync: fs.writeSync,
    fsyncSync: fs.fsyncSync,
    ftruncateSync: fs.ftruncateSync,
    renameSync: fs.renameSync,
    mkdirSync: fs.mkdirSync,
    writeFileSync: fs.writeFileSync,
  };
  const error = (syscall: string): Error =>
    Object.assign(new Error(`${fault}: ${MESSAGES[fault]}, ${syscall}`), {
      code: fault,
      syscall,
      errno: fault === "EIO" ? -5 : -28,
    });
  const strikes = (syscall: string): boolean => {
    const now = disk.calls++ === at;
    if (now) disk.struck = syscall;
    return now;
  };
  const failing =
    <A extends unknown[], R>(syscall: string, run: (...args: A) => R) =>
    (...args: A): R => {
      if (strikes(syscall)) throw error(syscall);
      return run(...args);
    };
  Object.assign(fs, {
    openSync: (path: fs.PathLike, flags: fs.OpenMode = "r", mode?: fs.Mode): number => {
      const writes =
        typeof flags === "number" ? (flags & (fs.constants.O_WRONLY | fs.constants.O_RDWR)) !== 0 : flags !== "r";
      if (writes && strikes("open")) throw error("open");
      const fd = original.openSync(path, flags, mode);
      if (writes) writing.add(fd);
      return fd;
    },
    closeSync: (fd: number): void => {
      const strike = writing.delete(fd) && strikes("close");
      original.closeSync(fd);
      if (strike) throw error("close");
    },
    writeSync: (
      fd: number,
      data: NodeJS.ArrayBufferView,
      offset = 0,
      length = data.byteLength - offset,
      position?: number | null,
    ): number => {
      if (!writing.has(fd)) return original.writeSync(fd, data, offset, length, position);
      if (full) throw error("write");
      if (!strikes("write")) return original.writeSync(fd, data, offset, length, position);
      full = fault === "ENOSPC";
      if (full && bytes > 0 && length > bytes) return original.writeSync(fd, data, offset, bytes, position);
      throw error("write");
    },
    fsyncSync: (fd: number): void => {
      if (writing.has(fd) && strikes("fsync")) throw error("fsync");
      original.fsyncSync(fd);
    },
    ftruncateSync: failing("ftruncate", original.ftruncateSync),
    renameSync: failing("rename", original.renameSync),
    mkdirSync: failing("mkdir", original.mkdirSync),
    writeFileSync: failing("write", original.writeFileSync),
  });
  syncBuiltinESMExports();
  try {
    return { disk, outcome: { value: await work(disk) } };
  } catch (thrown) {
    return { disk, outcome: { error: thrown } };
  } finally {
    Object.assign(fs, original);
    syncBuiltinESMExports();
  }
}
