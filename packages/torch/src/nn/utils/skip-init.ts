/** Modules without initial values. */
import { ArgumentError } from "../../errors.js";
import { isPlain } from "../../realm.js";
import type { DeviceLike } from "../../tensor/device.js";
import { Module } from "../module.js";

/**
 * A module whose parameters and buffers have memory, but no values: for what will be loaded. Draws no random numbers.
 *
 * @param moduleClass - One whose constructor takes a device.
 * @param args - The constructor's; `device` among its options is where the module is in the end. Default "cpu".
 * @throws {ArgumentError} as the constructor does for an option that it does not know, where it takes no device.
 * @example skipInit(nn.Linear, 4096, 4096, { bias: false }).loadStateDict(state);
 */
export function skipInit<M extends Module>(moduleClass: new (...args: never) => M, ...args: readonly unknown[]): M {
  if (typeof moduleClass !== "function" || !(moduleClass.prototype instanceof Module))
    throw new ArgumentError("skipInit", "moduleClass to be a class of modules", moduleClass);
  let end = args.length;
  while (end > 0 && args[end - 1] === undefined) end--;
  const last = args[end - 1];
  const options: Readonly<Record<string, unknown>> = isPlain(last) ? last : {};
  const others = args.slice(0, isPlain(last) ? end - 1 : end);
  const made = Reflect.construct(moduleClass, [...others, { ...options, device: "meta" }]) as M;
  return made.toEmpty({ device: (options["device"] ?? "cpu") as DeviceLike });
}
