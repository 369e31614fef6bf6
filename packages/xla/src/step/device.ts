/** What steps need of a device: memory on it, and programs that run there. The runtime of PJRT plugins is one. */
import type { DType } from "@nbit/torch";
import type { Analysis } from "../executable.js";
import type { LoweredStep } from "../lower/index.js";

/** Values in the memory of one device. */
export interface DeviceBuffer {
  /** Copy to `bytes` bytes of host memory at `address`. Waits until the values are computed, and blocks this thread. */
  readInto(address: number, bytes: number): void;
  /** Give the memory back. What was donated has none. */
  dispose(): void;
}

/** A compiled program. */
export interface DeviceProgram {
  /**
   * Start it: `arguments_[d]` are the buffers of device d, in order. Its first `states` results are new values of as many
   * arguments, whose buffers hold them from here on. Returns at once with the other results, which the devices are
   * still computing; what `done` returns resolves when they have, and rejects with what went wrong.
   */
  execute(
    arguments_: readonly (readonly DeviceBuffer[])[],
    states: number,
  ): { readonly results: readonly (readonly DeviceBuffer[])[]; readonly done: () => Promise<void> };
  /** What the compiler says of its memory and cost. Milliseconds, off this thread. */
  analyse(): Promise<Analysis>;
  dispose(): void;
}

export interface StepDevice {
  /** For messages and keys: "xla:cpu", "TPU v5e". */
  readonly name: string;
  /** Devices that one program may use together. */
  readonly count: number;
  /** Whether it has float64. */
  readonly float64: boolean;
  /** Copy `bytes` bytes of host memory at `address` to a device. The memory is free again when this returns. */
  upload(device: number, address: number, bytes: number, dtype: DType, shape: readonly number[]): DeviceBuffer;
  /** Compile it for as many of the first devices as it has partitions. Off this thread. */
  compile(lowered: LoweredStep): Promise<DeviceProgram>;
}
