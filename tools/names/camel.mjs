const KEPT = new Set(["T", "H"]);

/** snake_case → camelCase; classes, constants and the edges of a name are kept. */
export function camel(name) {
  if (KEPT.has(name)) return name;
  return name.replace(/(?<=[^_.])_+([a-zA-Z0-9])/g, (_, c) => c.toUpperCase());
}
