/** Arguments as the caller gave them: copied where they are lists or options, and told apart by their tags. */
import { isTensor } from "../tensor/handle.js";
import { isTensorList } from "../tensor/list.js";
import { isDevice } from "../tensor/device.js";
import { isDType } from "../tensor/dtype.js";
import { elementsOf, MOST_ELEMENTS } from "../read-once.js";
import { isPlain as isOptions } from "../realm.js";
import { Complex } from "./complex.js";
import { Tag } from "./conversion-cost.js";
import { isGenerator } from "./generator.js";

/**
 * An argument as this side owns it: lists, options and complex numbers are copied, whatever getters, proxies or classes
 * of a caller's they are, so that a later read runs no code of a caller's. Everything else is a tensor, a primitive, or
 * an object of ours whose fields cannot change.
 */
export function own(value: unknown): unknown {
  if (typeof value !== "object" || value === null || isTensor(value) || isTensorList(value)) return value;
  if (Array.isArray(value)) return isTooLong(value) ? value : elementsOf(value as readonly unknown[]);
  if (value instanceof Complex) {
    const { re, im } = value;
    return typeof re === "number" && typeof im === "number" ? new Complex(re, im) : NOTHING;
  }
  return isOptions(value) ? { ...value } : value;
}
/** What no argument takes. */
const NOTHING = Symbol("not a number");

/** An array of more elements than any list of a call has. */
export function isTooLong(value: unknown): boolean {
  return Array.isArray(value) && !(value.length <= MOST_ELEMENTS);
}

export function tagOf(value: unknown): number {
  if (isTensor(value)) return Tag.tensor;
  switch (typeof value) {
    case "number":
      return Number.isInteger(value) ? Tag.integer : Tag.float;
    case "boolean":
      return Tag.boolean;
    case "bigint":
      return Tag.bigint;
    case "string":
      return isDType(value) ? Tag.dtype : Tag.string;
    case "undefined":
      return Tag.none;
    case "object":
      if (value === null) return Tag.none;
      if (Array.isArray(value)) return tagOfList(value);
      if (isTensorList(value)) return Tag.tensors;
      if (isGenerator(value)) return Tag.generator;
      if (isDevice(value)) return Tag.device;
      if (value instanceof Complex) return Tag.complex;
      return isOptions(value) ? Tag.options : Tag.other;
    default:
      return Tag.other;
  }
}

function tagOfList(list: readonly unknown[]): number {
  if (list.length === 0) return Tag.empty;
  if (isTooLong(list)) return Tag.other;
  let result = -1;
  for (const e of list) {
    const tag = tagOfElement(e);
    if (tag === Tag.other) return Tag.other;
    if (result === -1 || result === tag) result = tag;
    else if ((result === Tag.integers && tag === Tag.floats) || (result === Tag.floats && tag === Tag.integers))
      result = Tag.floats;
    else if (
      (result === Tag.tensors && tag === Tag.maybeTensors) ||
      (result === Tag.maybeTensors && tag === Tag.tensors)
    )
      result = Tag.maybeTensors;
    else return Tag.other;
  }
  return result;
}
function tagOfElement(e: unknown): number {
  if (typeof e === "number") return Number.isInteger(e) ? Tag.integers : Tag.floats;
  if (typeof e === "bigint") return Tag.integers;
  if (typeof e === "boolean") return Tag.booleans;
  if (typeof e === "string") return Tag.strings;
  if (e === null || e === undefined) return Tag.maybeTensors;
  return isTensor(e) ? Tag.tensors : Tag.other;
}

export { isOptions };
