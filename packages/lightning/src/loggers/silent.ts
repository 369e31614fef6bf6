/**
 * What stands for an experiment in processes that log nothing: every method is there and does nothing.
 * @param fields - Those that it has beside its methods.
 * @param result - What every method returns.
 */
export function silent<T extends object>(
  type: { readonly prototype: T },
  fields: Partial<T> = {},
  result: Promise<undefined> | undefined = undefined,
): T {
  const nothing = (): unknown => result;
  const names = methods(type.prototype);
  return new Proxy(Object.create(type.prototype) as T, {
    get: (_target, key) => (names.has(key) ? nothing : (Reflect.get(fields, key) as unknown)),
  });
}

/** Getters are not called: they may ask for fields that a prototype does not have. */
function methods(prototype: object): Set<string | symbol> {
  const own = Object.entries(Object.getOwnPropertyDescriptors(prototype));
  return new Set(own.filter(([, { value }]) => typeof value === "function").map(([name]) => name));
}
