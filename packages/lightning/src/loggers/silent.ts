/**
 * What stands for an experiment in processes that log nothing: every method is there, does nothing and returns
 * undefined.
 */
export function silent<T extends object>(type: { readonly prototype: T }): T {
  const nothing = (): void => undefined;
  return new Proxy(type.prototype, { get: (prototype, key) => (methods(prototype).has(key) ? nothing : undefined) });
}

/** Getters are not called: they may ask for fields that a prototype does not have. */
function methods(prototype: object): Set<string | symbol> {
  const own = Object.entries(Object.getOwnPropertyDescriptors(prototype));
  return new Set(own.filter(([, { value }]) => typeof value === "function").map(([name]) => name));
}
