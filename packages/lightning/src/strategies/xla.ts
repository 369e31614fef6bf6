import { device } from "@nbit/torch";
import { SingleDeviceStrategy } from "./single-device.js";

export interface XLAStrategyOptions {
  /** Devices that share each batch; -1: all. */
  readonly devices: number;
  /** Parameters and optimizer state are split among them; false: each has all of both. */
  readonly shardState: boolean;
}

/**
 * One process that drives all devices of an XLA plugin. The module's tensors are the host's; steps keep what they need
 * of it on the devices, and collectives between these come from the compiler.
 */
export class XLAStrategy extends SingleDeviceStrategy {
  override readonly name = "xla";
  readonly devices: number;
  readonly shardState: boolean;

  constructor({ devices, shardState }: XLAStrategyOptions) {
    super(device("cpu"));
    this.devices = devices;
    this.shardState = shardState;
  }
}
