import type { Device, nn } from "@nbit/torch";
import { onDevice } from "../collections.js";
import type { Batch } from "../types.js";
import type { Strategy } from "./strategy.js";

/** One process, one device. */
export class SingleDeviceStrategy implements Strategy {
  readonly name: string = "single_device";
  readonly globalRank = 0;
  readonly worldSize = 1;
  readonly isGlobalZero = true;

  constructor(readonly rootDevice: Device) {}

  setupModule(module: nn.Module): void {
    module.to({ device: this.rootDevice });
  }

  toDevice(batch: Batch): Batch {
    return onDevice(batch, this.rootDevice);
  }
}
