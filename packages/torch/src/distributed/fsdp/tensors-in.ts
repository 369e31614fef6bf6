/** Tensors within what a module takes and returns: in arrays, plain objects and Maps, at any depth. */
import { isPlain } from "../../kinds.js";
import { isMap } from "../../realm.js";
import { isTensor } from "../../tensor/handle.js";
import type { Tensor } from "../../tensor/tensor.js";

/** The same value with every tensor replaced by what `change` returns for it; itself where nothing changes. */
export function mapTensorsIn(value: unknown, change: (t: Tensor) => Tensor): unknown {
  if (isTensor(value)) return change(value);
  if (Array.isArray(value)) {
    const list: unknown[] = value;
    const next = list.map((v) => mapTensorsIn(v, change));
    return next.every((v, i) => v === list[i]) ? value : next;
  }
  if (isMap(value)) {
    const entries = [...(value as ReadonlyMap<unknown, unknown>)];
    const next = entries.map(([k, v]) => [k, mapTensorsIn(v, change)] as const);
    return next.every(([, v], i) => v === entries[i]?.[1]) ? value : new Map(next);
  }
  if (isPlain(value)) {
    const entries = Object.entries(value as Record<string, unknown>);
    const next = entries.map(([k, v]) => [k, mapTensorsIn(v, change)] as const);
    return next.every(([, v], i) => v === entries[i]?.[1]) ? value : Object.fromEntries(next);
  }
  return value;
}

export function tensorsIn(value: unknown): Tensor[] {
  const found: Tensor[] = [];
  mapTensorsIn(value, (t) => {
    found.push(t);
    return t;
  });
  return found;
}
