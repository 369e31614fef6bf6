import { Tensor, type Device } from "@nbit/torch";
import { isMap, isPlain } from "@nbit/torch/realm";

/** Whether a value is an object literal (or has no prototype), so that its keys may be walked. */
export function isPlainObject(value: unknown): value is Record<string, unknown> {
  return isPlain(value);
}

/**
 * Copy a collection with every tensor in it replaced by `fn(tensor)`. Walks arrays, plain objects and Maps; everything
 * else is passed through `other`. Containers in which nothing changed are given back themselves.
 */
export function mapTensors(
  value: unknown,
  fn: (tensor: Tensor) => Tensor,
  other: (value: unknown) => unknown = (same) => same,
): unknown {
  if (value instanceof Tensor) return fn(value);
  if (Array.isArray(value)) {
    const items: unknown[] = value;
    let copy: unknown[] | null = null;
    for (let i = 0; i < items.length; i++) {
      const mapped = mapTensors(items[i], fn, other);
      if (mapped !== items[i]) (copy ??= items.slice())[i] = mapped;
    }
    return copy ?? items;
  }
  if (isMap(value)) return new Map([...value].map(([key, item]) => [key, mapTensors(item, fn, other)]));
  if (isPlainObject(value)) {
    let copy: Record<string, unknown> | null = null;
    for (const key of Object.keys(value)) {
      const mapped = mapTensors(value[key], fn, other);
      if (mapped !== value[key]) (copy ??= { ...value })[key] = mapped;
    }
    return copy ?? value;
  }
  return other(value);
}

/**
 * A batch with every tensor on a device, and with what has a method `to` of its own (a packed sequence) as that gives
 * it: the batch itself where all is there already. Waits for nothing.
 */
export function onDevice(batch: unknown, target: Device): unknown {
  const move = (t: Tensor): Tensor => (t.device === target ? t : t.to({ device: target, nonBlocking: true }));
  return mapTensors(batch, move, (other) => (isMovable(other) ? (other.to(target) ?? other) : other));
}
function isMovable(value: unknown): value is { to: (device: Device) => unknown } {
  return typeof value === "object" && value !== null && "to" in value && typeof value.to === "function";
}

/** Of an object, those of the named fields that are given. */
export function pickGiven<T extends object, K extends keyof T>(from: T, names: readonly K[]): Partial<Pick<T, K>> {
  const picked: Partial<Pick<T, K>> = {};
  for (const name of names) if (from[name] !== undefined) picked[name] = from[name];
  return picked;
}

/** Calls `fn` with every tensor in a collection. */
export function eachTensor(value: unknown, fn: (tensor: Tensor) => void): void {
  if (value instanceof Tensor) fn(value);
  else if (Array.isArray(value)) for (const item of value) eachTensor(item, fn);
  else if (isMap(value)) for (const item of value.values()) eachTensor(item, fn);
  else if (isPlainObject(value)) for (const key of Object.keys(value)) eachTensor(value[key], fn);
}

/** Calls `fn` with everything in lists and plain objects that is neither. */
export function eachLeaf(value: unknown, fn: (leaf: unknown) => void): void {
  if (Array.isArray(value)) for (const item of value) eachLeaf(item, fn);
  else if (isPlainObject(value)) for (const item of Object.values(value)) eachLeaf(item, fn);
  else fn(value);
}
