import { cuda, memory, resetPeakMemory, verbatim } from "@nbit/torch";
import type { Device } from "@nbit/torch";
import { MisconfigurationError } from "../errors.js";
import type { LightningModule } from "../module.js";
import type { TrainerView } from "../trainer-view.js";
import type { HookResult } from "../types.js";
import { Callback } from "./callback.js";
import { logCallbackMetrics } from "./log-metrics.js";

/** Memory of the training device at a log step, in bytes. */
export interface DeviceStats {
  /** Of optimizer steps, as loggers are given it. */
  readonly step: number;
  /** Held by tensors now, after the step. */
  readonly allocated: number;
  /**
   * The most that tensors held at once within this step: from the first batch of its accumulation window to its end.
   * Null where training was ended from within the window.
   */
  readonly stepPeak: number | null;
  /** The most that tensors held at once since the log step before. */
  readonly peak: number;
  /** Held by tensors or kept for reuse. On a GPU: what was taken from the driver. */
  readonly reserved: number;
  /** Times, since the process began, that a GPU's allocator had to empty its cache to go on. 0 on the CPU. */
  readonly retries: number;
}

interface Reading {
  readonly allocated: number;
  readonly peak: number;
  readonly reserved: number;
  readonly retries: number;
}

function read(device: Device): Reading {
  if (device.type === "cuda") {
    const { allocated, peakAllocated, reserved, retries } = cuda.memoryStats(device);
    return { allocated, peak: peakAllocated, reserved, retries };
  }
  const { allocatedBytes, peakBytes, reservedBytes } = memory();
  return { allocated: allocatedBytes, peak: peakBytes, reserved: reservedBytes, retries: 0 };
}

function resetPeak(device: Device): void {
  if (device.type === "cuda") cuda.resetPeakMemoryStats(device);
  else resetPeakMemory();
}

/**
 * Logs the memory of the training device at log steps: `memory_allocated`, `memory_step_peak`, `memory_peak`,
 * `memory_reserved` and `memory_retries`, in bytes.
 *
 * The allocator counts on the host, so nothing waits for a GPU; a log step costs some 50 µs, every other step a
 * comparison. The peaks of the process (`cuda.resetPeakMemoryStats`, `resetPeakMemory`) begin anew at log steps. While
 * `cudaGraph` replays, the step's peak is that of the graph's own memory, which it holds all the time.
 *
 * @throws {MisconfigurationError} at the start of training without a logger.
 * @example
 * const monitor = new DeviceStatsMonitor();
 * await new Trainer({ callbacks: [monitor], logEveryNSteps: 10 }).fit(model, { trainDataloaders });
 * monitor.latest?.stepPeak;
 */
export class DeviceStatsMonitor extends Callback {
  #latest: DeviceStats | null = null;
  /** Within the window of a log step: the highest peak before it, and the optimizer steps made before it. */
  #window: { readonly peakBefore: number; readonly globalStep: number } | null = null;

  /** Of the latest log step. */
  get latest(): DeviceStats | null {
    return this.#latest;
  }

  override onTrainStart(trainer: TrainerView): void {
    if (trainer.loggers.length === 0)
      throw new MisconfigurationError(
        "DeviceStatsMonitor",
        "a Trainer with a logger",
        verbatim("logger: false"),
        "Remove this callback, or add a logger.",
        "ERR_DEVICE_STATS",
      );
    this.#window = null;
    resetPeak(trainer.rootDevice);
  }

  override onTrainBatchStart(trainer: TrainerView): void {
    if (this.#window !== null || !trainer.isLogStep) return;
    this.#window = { peakBefore: read(trainer.rootDevice).peak, globalStep: trainer.globalStep };
    resetPeak(trainer.rootDevice);
  }

  override onTrainBatchEnd(trainer: TrainerView, module: LightningModule): HookResult {
    if (!trainer.isLogStep) return;
    const window = this.#window;
    if (module.automaticOptimization && window !== null && trainer.globalStep === window.globalStep) return; // the accumulation window goes on
    this.#window = null;
    const { allocated, peak, reserved, retries } = read(trainer.rootDevice);
    resetPeak(trainer.rootDevice);
    const stats: DeviceStats = {
      step: trainer.logStep,
      allocated,
      stepPeak: window === null ? null : peak,
      peak: Math.max(peak, window?.peakBefore ?? 0),
      reserved,
      retries,
    };
    this.#latest = stats;
    const metrics = {
      memory_allocated: allocated,
      ...(stats.stepPeak === null ? {} : { memory_step_peak: stats.stepPeak }),
      memory_peak: stats.peak,
      memory_reserved: reserved,
      memory_retries: retries,
    };
    return logCallbackMetrics(trainer, metrics);
  }
}
