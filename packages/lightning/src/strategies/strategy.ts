import type { Device, nn } from "@nbit/torch";
import type { Batch } from "../types.js";

/** Where the module lives and how its processes act together. */
export interface Strategy {
  readonly name: string;
  readonly rootDevice: Device;
  /** Index of this process among all. */
  readonly globalRank: number;
  readonly worldSize: number;
  readonly isGlobalZero: boolean;
  /** Move parameters and buffers to the device. */
  setupModule(module: nn.Module): void;
  /** Move every tensor of a batch to the device. Returns the batch itself when it is there already. */
  toDevice(batch: Batch): Batch;
}
