import { freemem } from "node:os";
import { cuda, memory, type Device } from "@nbit/torch";

/** Seconds from one sample to the next. */
const EVERY = 10;

/**
 * Looks at the process and its device every ten seconds, between steps: nothing runs in the background, and a step in
 * between costs one look at the clock.
 */
export class SystemSampler {
  #next = 0;
  #at = 0;
  #cpu = process.cpuUsage();

  /** The next step has a sample. */
  start(): void {
    this.#next = 0;
    this.#at = performance.now();
    this.#cpu = process.cpuUsage();
  }

  /** Fields of the record `system`; null: it is not time yet. */
  sample(device: Device): Record<string, number> | null {
    const now = performance.now();
    if (now < this.#next) return null;
    this.#next = now + EVERY * 1000;
    const used = process.cpuUsage(this.#cpu);
    const wall = Math.max(1e-3, now - this.#at);
    this.#cpu = process.cpuUsage();
    this.#at = now;
    const { bytes, residentBytes } = memory();
    return {
      // 1: one core was busy all the time.
      cpu: Number(((used.user + used.system) / 1000 / wall).toFixed(3)),
      rss: residentBytes,
      heap: process.memoryUsage().heapUsed,
      tensors: bytes,
      free: freemem(),
      ...(device.type === "cuda" ? deviceMemory(device) : {}),
    };
  }
}

/** What the host's allocator counts: nothing waits for the device. */
function deviceMemory(device: Device): Record<string, number> {
  const { allocated, peakAllocated, reserved } = cuda.memoryStats(device);
  return { deviceAllocated: allocated, devicePeak: peakAllocated, deviceReserved: reserved };
}
