import { atMost, kinds, checkArguments, type Device } from "@nbit/torch";
import { MisconfigurationError } from "../errors.js";
import { DDPStrategy } from "./ddp.js";
import { FSDPStrategy } from "./fsdp.js";
import { SingleDeviceStrategy } from "./single-device.js";
import type { Strategy } from "./strategy.js";

/** Makes a strategy whose module lives on `rootDevice`, the Trainer's. */
export type StrategyMaker = (rootDevice: Device) => Strategy;

const registry = new Map<string, StrategyMaker>([
  ["single_device", (rootDevice) => new SingleDeviceStrategy(rootDevice)],
  ["ddp", (rootDevice) => new DDPStrategy(rootDevice)],
  ["fsdp", (rootDevice) => new FSDPStrategy(rootDevice)],
  ["fsdp_cpu_offload", (rootDevice) => new FSDPStrategy(rootDevice, { cpuOffload: true })],
  ["ddp_find_unused_parameters_true", (rootDevice) => new DDPStrategy(rootDevice, { findUnusedParameters: true })],
]);

/**
 * Make `new Trainer({ strategy: name })` mean `create(rootDevice)`. A name that exists is replaced.
 *
 * @throws {ArgumentError} for a name that is no text, or a `create` that is no function.
 * @example registerStrategy("logged", (device) => new LoggedStrategy(device));
 */
export function registerStrategy(name: string, create: StrategyMaker): void {
  atMost("registerStrategy", arguments, 2);
  checkArguments("registerStrategy", { name, create }, { name: kinds.text, create: kinds.callable });
  registry.set(name, create);
}

const METHODS = ["setupModule", "toDevice"] as const;
function isStrategy(value: unknown): value is Strategy {
  return (
    typeof value === "object" &&
    value !== null &&
    "rootDevice" in value &&
    METHODS.every((name) => typeof Reflect.get(value, name) === "function")
  );
}

/** The strategy of a name, an instance as it is, or "auto": a single device, or "ddp" where there are `processes`. */
export function resolveStrategy(asked: string | Strategy, rootDevice: Device, processes = 1): Strategy {
  if (isStrategy(asked)) {
    asked.onDevice?.(rootDevice);
    return asked;
  }
  const auto = processes > 1 ? "ddp" : "single_device";
  const create = typeof asked !== "string" ? undefined : registry.get(asked === "auto" ? auto : asked);
  if (create !== undefined) return create(rootDevice);
  const names = ["auto", ...registry.keys()].map((name) => JSON.stringify(name)).join(", ");
  throw new MisconfigurationError(
    "Trainer",
    `strategy to be one of ${names}, or a Strategy`,
    asked,
    "Add others with registerStrategy(name, create).",
    "ERR_STRATEGY_UNKNOWN",
  );
}
