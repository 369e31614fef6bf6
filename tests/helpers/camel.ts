/** PyTorch's name in ours: snake_case → camelCase. Edges, such as the `_` of what works in place, are kept. */
export function camel(name: string): string {
  return name.replace(/(?<=[^_])_+([a-z0-9])/g, (_, c: string) => c.toUpperCase());
}
