/** What memory tensors hold. */
import { ArgumentError } from "../errors.js";
import { F, native } from "../native.js";

export interface MemoryReport {
  /** Tensor objects alive (handles; several may share one storage). */
  readonly tensors: number;
  /** Tensors that the garbage collector freed since the start, because no scope, `using` or `dispose` had. Grows with the steps where a step makes tensors outside scopes. */
  readonly collected: number;
  /** `tensors + collected`: made and never released. No collection changes it, so equal counts before and after a piece of work say that the work released all it made. */
  readonly unreleased: number;
  /** Bytes that CPU tensors hold, as the allocator rounded them; 0 when the system's allocator is in use. */
  readonly bytes: number;
  /** The most that `bytes` has been since the start or {@link resetPeakMemory}. */
  readonly peakBytes: number;
  /** Bytes kept for reuse, not held by any tensor. */
  readonly cachedBytes: number;
  /** Blocks handed out since the start, and how many of these the cache could not serve. */
  readonly allocations: number;
  readonly misses: number;
  /** `process.memoryUsage().rss`, for comparison. */
  readonly residentBytes: number;
}

/** A report of this moment. Costs about 10 µs; synchronizes with nothing. */
export function memory(): MemoryReport {
  native.allocatorStats();
  const [, bytes = 0, peakBytes = 0, cachedBytes = 0, allocations = 0, misses = 0] = F.subarray(0, 6);
  native.tensorCounts();
  const [tensors = 0, collected = 0] = F.subarray(0, 2);
  return { tensors, collected, unreleased: tensors + collected, bytes, peakBytes, cachedBytes, allocations, misses, residentBytes: process.memoryUsage.rss() };
}

/** Start a new peak from what is held now. */
export function resetPeakMemory(): void {
  native.allocatorResetPeak();
}

/** Give cached memory back to the system; returns the bytes of large blocks that went. */
export function trimMemory(): number {
  return native.allocatorTrim();
}

/** How many bytes of large blocks may lie idle for reuse (4 GiB unless set). */
export function setCacheLimit(bytes: number): void {
  if (!(bytes >= 0)) throw new ArgumentError("setCacheLimit", "bytes to be ≥ 0", bytes);
  native.allocatorSetCap(bytes);
}
