import { atMost, checkArguments, kinds } from "@nbit/torch";
import { Callback } from "../callbacks/callback.js";
import { LightningDataModule } from "../datamodule.js";
import { MisconfigurationError } from "../errors.js";
import { LightningModule } from "../module.js";

/** A class, abstract ones among them. */
type Class = abstract new (...args: never) => object;
const ARGUMENTS = {
  methodName: kinds.filled,
  instance: kinds.such<object | null | undefined>("an object, or null", (v) => v == null || typeof v === "object"),
  parent: kinds.orNull(kinds.such<Class>("a class", (v) => typeof v === "function" && "prototype" in v)),
};
const KNOWN: readonly Class[] = [LightningModule, LightningDataModule, Callback];

/**
 * Whether an object has a method of its own in place of the one that `parent` defines: as a subclass's method, or as a
 * field. Of null nothing is.
 *
 * @param parent - Default: LightningModule, LightningDataModule or Callback, whichever the object is of.
 * @throws {MisconfigurationError} `ERR_OVERRIDDEN`: the object is of none of these, or `parent` has no such method.
 * @example
 * isOverridden("validationStep", model); // true: the model validates
 */
export function isOverridden(
  methodName: string,
  instance: object | null | undefined,
  parent: Class | null = null,
): boolean {
  atMost("isOverridden", arguments, 3);
  checkArguments("isOverridden", { methodName, instance: instance ?? null, parent }, ARGUMENTS);
  if (instance === null || instance === undefined) return false;
  const base = parent ?? KNOWN.find((one) => instance instanceof one);
  if (base === undefined)
    throw new MisconfigurationError(
      "isOverridden",
      "an object of LightningModule, LightningDataModule or Callback",
      instance,
      "Pass the class that defines the method as the third argument.",
      "ERR_OVERRIDDEN",
    );
  const inherited: unknown = Reflect.get(base.prototype as object, methodName);
  if (typeof inherited !== "function")
    throw new MisconfigurationError(
      "isOverridden",
      `methodName to be a method of ${base.name || "the parent"}`,
      methodName,
      undefined,
      "ERR_OVERRIDDEN",
    );
  const own: unknown = Reflect.get(instance, methodName);
  return typeof own === "function" && own !== inherited;
}
