/** What a step leaves in its module's fields, where a program that takes its place would leave nothing. */
import { isMap } from "@nbit/torch/realm";
import type { LightningModule } from "../module.js";

/** By name: a value, or how much a collection holds. */
export type Fields = ReadonlyMap<string, unknown>;

/** Own fields of the module's. Getters are not called, and private ones (`#name`) are not seen. */
export function fieldsOf(module: LightningModule): Fields {
  const fields = new Map<string, unknown>();
  for (const [name, { value }] of Object.entries(Object.getOwnPropertyDescriptors(module))) {
    const held: unknown = value;
    fields.set(name, held);
    if (Array.isArray(held)) fields.set(`${name}.length`, held.length);
    else if (isMap(held) || held instanceof Set) fields.set(`${name}.size`, held.size);
  }
  return fields;
}

/** The name of a field that differs; null: none does. */
export function whatChanged(before: Fields, after: Fields): string | null {
  for (const name of new Set([...before.keys(), ...after.keys()]))
    if (!Object.is(before.get(name), after.get(name))) return name;
  return null;
}
