/**
 * What a value is, whichever realm made it. A vm context (Jest, a REPL) has classes of its own, while Node's own
 * functions return objects of the first: `instanceof` tells them apart, these do not. Nor do they run code of the
 * value's.
 */
import { types } from "node:util";

export function isMap(value: unknown): value is Map<unknown, unknown> {
  return types.isMap(value);
}
export function isSet(value: unknown): value is Set<unknown> {
  return types.isSet(value);
}
export function isPromise(value: unknown): value is Promise<unknown> {
  return value instanceof Promise || types.isPromise(value);
}
export function isError(value: unknown): value is Error {
  return value instanceof Error || types.isNativeError(value);
}
export function isBuffer(value: unknown): value is ArrayBuffer | SharedArrayBuffer {
  return types.isAnyArrayBuffer(value);
}
export function isUint8Array(value: unknown): value is Uint8Array {
  return types.isUint8Array(value);
}

/** A plain object: what may stand last in a call and hold arguments by name. */
export function isPlain(value: unknown): value is Readonly<Record<string, unknown>> {
  if (typeof value !== "object" || value === null) return false;
  const prototype: object | null = Reflect.getPrototypeOf(value);
  // Of whatever realm: its prototype is the end of the chain.
  return (
    prototype === null ||
    prototype === Object.prototype ||
    (Reflect.getPrototypeOf(prototype) === null && Object.hasOwn(prototype, "hasOwnProperty"))
  );
}

const tag = Object.getOwnPropertyDescriptor(Object.getPrototypeOf(Uint8Array.prototype) as object, Symbol.toStringTag)
  ?.get as () => string | undefined;
/** "Float32Array" and so on; undefined for what is no typed array. */
export function typedArrayName(value: unknown): string | undefined {
  return Reflect.apply(tag, value, []);
}
