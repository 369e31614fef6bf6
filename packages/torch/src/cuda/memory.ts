/** Memory of a GPU: what tensors hold, what the allocator keeps, and what to do when it does not suffice. */
import { addMemoryExplainer, ArgumentError } from "../errors.js";
import { argBuffer, info } from "../native.js";
import type { DeviceLike } from "../tensor/device.js";
import { indexOf } from "./device.js";
import { cudaFunction } from "./native.js";
import { atMost } from "../options.js";

export interface DeviceMemory {
  /** Bytes held by tensors, and their peak since the start or {@link resetPeakMemoryStats}. */
  readonly allocated: number;
  readonly peakAllocated: number;
  /** Bytes taken from the driver, and their peak. */
  readonly reserved: number;
  readonly peakReserved: number;
  /** What the driver says of the whole device. */
  readonly free: number;
  readonly total: number;
  /** Times that the allocator had to empty its cache, and that even this was not enough. */
  readonly retries: number;
  readonly outOfMemory: number;
}

/** Memory of a device at this moment. Does not wait for it; some 10 µs. */
export function memoryStats(device?: DeviceLike | number): DeviceMemory {
  atMost("cuda.memoryStats", arguments, 1);
  cudaFunction("cudaMemory", "cuda.memoryStats")(indexOf(device, "cuda.memoryStats"));
  const [
    allocated = 0,
    peakAllocated = 0,
    reserved = 0,
    peakReserved = 0,
    free = 0,
    total = 0,
    retries = 0,
    outOfMemory = 0,
  ] = argBuffer.subarray(0, 8);
  return { allocated, peakAllocated, reserved, peakReserved, free, total, retries, outOfMemory };
}
/** Bytes that tensors hold. */
export function memoryAllocated(device?: DeviceLike | number): number {
  atMost("cuda.memoryAllocated", arguments, 1);
  return memoryStats(device).allocated;
}
/** The most that tensors held since the start or {@link resetPeakMemoryStats}. */
export function maxMemoryAllocated(device?: DeviceLike | number): number {
  atMost("cuda.maxMemoryAllocated", arguments, 1);
  return memoryStats(device).peakAllocated;
}
/** Bytes taken from the driver: held by tensors, or kept for reuse. */
export function memoryReserved(device?: DeviceLike | number): number {
  atMost("cuda.memoryReserved", arguments, 1);
  return memoryStats(device).reserved;
}
export function maxMemoryReserved(device?: DeviceLike | number): number {
  atMost("cuda.maxMemoryReserved", arguments, 1);
  return memoryStats(device).peakReserved;
}
/** Start new peaks from what is held now. */
export function resetPeakMemoryStats(device?: DeviceLike | number): void {
  atMost("cuda.resetPeakMemoryStats", arguments, 1);
  cudaFunction("cudaResetPeak", "cuda.resetPeakMemoryStats")(indexOf(device, "cuda.resetPeakMemoryStats"));
}
/** Give cached memory that no tensor holds back to the driver. */
export function emptyCache(): void {
  atMost("cuda.emptyCache", arguments, 0);
  cudaFunction("cudaEmptyCache", "cuda.emptyCache")();
}
/**
 * Give the workspaces of cuBLAS back to the allocator, some 32 MiB for each stream that multiplied matrices; the next
 * product makes new ones. {@link emptyCache} then returns them to the driver.
 *
 * @returns False, with nothing done, while a {@link CudaGraph} that is not disposed of lives: it may have recorded
 * them.
 */
export function clearCublasWorkspaces(): boolean {
  atMost("cuda.clearCublasWorkspaces", arguments, 0);
  return cudaFunction("cudaClearWorkspaces", "cuda.clearCublasWorkspaces")();
}
/**
 * Let tensors take at most this share of a device's memory; what would exceed it is an {@link OutOfMemoryError}. For a
 * device that is shared, and for tests of a smaller one.
 * @param fraction - In (0, 1].
 * @throws {ArgumentError} `cuda.setMemoryFraction: expected fraction to be in (0, 1]. Received: 2.`
 */
export function setMemoryFraction(fraction: number, device?: DeviceLike | number): void {
  atMost("cuda.setMemoryFraction", arguments, 2);
  const set = cudaFunction("cudaMemoryFraction", "cuda.setMemoryFraction");
  if (!(fraction > 0 && fraction <= 1))
    throw new ArgumentError("cuda.setMemoryFraction", "fraction to be in (0, 1]", fraction);
  set(fraction, indexOf(device, "cuda.setMemoryFraction"));
}

const mib = (bytes: number): string => `${(bytes / 2 ** 20).toFixed(bytes < 10 * 2 ** 20 ? 1 : 0)} MiB`;

/**
 * {@link memoryStats} as a table for people.
 * @example console.log(cuda.memorySummary());
 */
export function memorySummary(device?: DeviceLike | number): string {
  atMost("cuda.memorySummary", arguments, 1);
  const m = memoryStats(device);
  return formatMemory(m);
}

/** @internal */
export function formatMemory(m: DeviceMemory): string {
  const rows: readonly (readonly [string, string, string])[] = [
    ["", "now", "peak"],
    ["held by tensors", mib(m.allocated), mib(m.peakAllocated)],
    ["kept for reuse", mib(m.reserved - m.allocated), ""],
    ["taken from the driver", mib(m.reserved), mib(m.peakReserved)],
    ["free on the device", mib(m.free), ""],
    ["other programs, CUDA itself", mib(Math.max(0, m.total - m.free - m.reserved)), ""],
    ["the device has", mib(m.total), ""],
  ];
  const width = [0, 1, 2].map((column) => Math.max(...rows.map((row) => (row[column] ?? "").length)));
  return rows
    .map(([what, now, peak]) =>
      `  ${what.padEnd(width[0] ?? 0)}  ${now.padStart(width[1] ?? 0)}  ${peak.padStart(width[2] ?? 0)}`.trimEnd(),
    )
    .join("\n");
}

/** @internal What helps, most useful first, given how the memory is used. */
export function memoryAdvice(m: DeviceMemory): string {
  const fragmented = m.reserved - m.allocated > 0.2 * m.reserved && m.reserved > 0.5 * m.total;
  const foreign = m.total - m.free - m.reserved > 0.25 * m.total;
  return [
    ...(foreign ? ["Another program holds a good part of this device: nvidia-smi shows which."] : []),
    ...(fragmented
      ? ["Much is kept for reuse in pieces that do not fit: PYTORCH_CUDA_ALLOC_CONF=expandable_segments:True."]
      : []),
    'What helps: a smaller batch with accumulateGradBatches; precision: "bf16" or 16; nn.functional.fusedLinearCrossEntropy for large vocabularies; an optimizer with 8-bit state (@nbit/lowbit);',
    "tensors made in a loop inside scope(() => …), so that each turn frees its own.",
  ].join("\n");
}

addMemoryExplainer((message) => {
  if (
    !info.cuda ||
    !/CUDA out of memory|CUDA error: out of memory|CUDNN_STATUS_ALLOC_FAILED|CUBLAS_STATUS_ALLOC_FAILED/.test(message)
  )
    return null;
  try {
    const m = memoryStats();
    return `Memory of the device:\n${formatMemory(m)}\n${memoryAdvice(m)}`;
  } catch {
    return null; // the device itself is lost: the first error says why
  }
});
