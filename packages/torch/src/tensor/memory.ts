/** What memory CPU tensors hold, and the process. */
import { ArgumentError } from "../errors.js";
import { argBuffer, native } from "../native.js";
import { atMost } from "../options.js";

export interface MemoryReport {
  /** Tensor objects alive (handles; several may share one storage). */
  readonly tensors: number;
  /**
   * Tensors that the garbage collector freed since the start, because no scope, `using` or `dispose` had. Grows with
   * the steps where a step makes tensors outside scopes.
   */
  readonly collected: number;
  /**
   * `tensors + collected`: made and never released. No collection changes it, so equal counts before and after a piece
   * of work say that the work released all it made.
   */
  readonly unreleased: number;
  /**
   * Bytes that CPU tensors hold, as the allocator rounded them (to 64 from 32 KiB on, to a fifth of the size below); 0
   * when the system's allocator is in use.
   */
  readonly allocatedBytes: number;
  /** Bytes taken from the system: `allocatedBytes` and `cachedBytes`. */
  readonly reservedBytes: number;
  /**
   * The whole process: `process.memoryUsage.rss()`. Beside `reservedBytes` it has Node.js, libtorch's code, and
   * workspaces of its libraries.
   */
  readonly residentBytes: number;
  /** `allocatedBytes`, by its first name. */
  readonly bytes: number;
  /** The most that `bytes` has been since the start or {@link resetPeakMemory}. */
  readonly peakBytes: number;
  /** Bytes kept for reuse: resident, and not held by any tensor. */
  readonly cachedBytes: number;
  /** Blocks handed out since the start, and how many of these needed memory from the system. */
  readonly allocations: number;
  readonly misses: number;
}

/** A report of this moment. Costs about 10 µs; synchronizes with nothing. */
export function memory(): MemoryReport {
  atMost("memory", arguments, 0);
  native.allocatorStats();
  const [, bytes = 0, peakBytes = 0, cachedBytes = 0, allocations = 0, misses = 0] = argBuffer.subarray(0, 6);
  native.tensorCounts();
  const [tensors = 0, collected = 0] = argBuffer.subarray(0, 2);
  const reservedBytes = bytes + cachedBytes;
  return {
    tensors,
    collected,
    unreleased: tensors + collected,
    allocatedBytes: bytes,
    reservedBytes,
    residentBytes: process.memoryUsage.rss(),
    bytes,
    peakBytes,
    cachedBytes,
    allocations,
    misses,
  };
}

/** Start a new peak from what is held now. */
export function resetPeakMemory(): void {
  atMost("resetPeakMemory", arguments, 0);
  native.allocatorResetPeak();
}

/**
 * Give cached memory back to the system, also what lies between tensors; returns the bytes of blocks from 32 KiB on
 * that went.
 */
export function trimMemory(): number {
  atMost("trimMemory", arguments, 0);
  return native.allocatorTrim();
}

/**
 * The most that may lie idle for reuse, of blocks from 32 KiB on: 4 GiB unless set. Less lies idle anyway where no loop
 * runs: a sixteenth of what tensors hold, or 1 MiB.
 *
 * @throws {ArgumentError} unless `bytes` is a number ≥ 0. `Infinity` is one.
 */
export function setCacheLimit(bytes: number): void {
  atMost("setCacheLimit", arguments, 1);
  if (typeof bytes !== "number" || !(bytes >= 0)) throw new ArgumentError("setCacheLimit", "bytes to be ≥ 0", bytes);
  native.allocatorSetCap(bytes);
}
