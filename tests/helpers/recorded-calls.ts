/** Calls of methods, written down in the order in which they are made. */

/** Each of `names` that `object` has, wrapped so that it leaves `prefix.name` in `calls`. */
export function recordCalls(object: object, names: readonly string[], prefix: string, calls: string[]): void {
  for (const name of names) {
    const original: unknown = Reflect.get(object, name);
    if (typeof original !== "function") continue;
    Object.defineProperty(object, name, {
      configurable: true,
      value: (...args: unknown[]): unknown => {
        calls.push(`${prefix}.${name}`);
        return Reflect.apply(original, object, args);
      },
    });
  }
}
