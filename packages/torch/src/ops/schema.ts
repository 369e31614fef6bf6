/** Operator schemas, read from the libtorch that is loaded. */
import { native } from "../native.js";

/**
 * `t` tensor, `i` integer, `f` float, `s` scalar, `b` boolean, `S` string, `d` dtype, `l` layout, `m` memory format,
 * `D` device, `g` generator, `?` not from JavaScript.
 */
export type KindLetter = "t" | "i" | "f" | "s" | "b" | "S" | "d" | "l" | "m" | "D" | "g" | "?";

export interface Kind {
  readonly kind: KindLetter;
  readonly optional?: boolean;
  readonly list?: boolean;
  readonly elementOptional?: boolean;
}
export interface Argument extends Kind {
  readonly name: string;
  /** The name in an options object. */
  readonly camel: string;
  /** Fixed length of a list, which one number may stand for (`kernel_size=3`). */
  readonly size?: number;
  readonly kwarg?: boolean;
  readonly write?: boolean;
  readonly default?: unknown;
}
export interface Return extends Kind {
  /** The argument that this result is, or -1. */
  readonly alias: number;
  readonly name?: string;
}
export interface Schema {
  readonly name: string;
  readonly overload: string;
  readonly text: string;
  readonly args: readonly Argument[];
  readonly returns: readonly Return[];
}

export function camelCase(name: string): string {
  return name.replace(/(?<=[^_])_+([a-z0-9])/g, (_, c: string) => c.toUpperCase());
}

const cache = new Map<string, readonly Schema[]>();

/** Overloads that named dimensions or TorchScript brought and that have no counterpart here. */
function reachable(schema: Schema): boolean {
  return (
    !/dimname|(^|_)names/i.test(schema.overload) && !schema.args.some((a) => a.kind === "?" && a.default === undefined)
  );
}

/** All overloads of `aten::add`; an empty list when this libtorch has no such operator. */
export function schemasOf(name: string): readonly Schema[] {
  let found = cache.get(name);
  if (found === undefined) {
    const parsed = JSON.parse(native.schemas(name)) as readonly Omit<Schema, "camel">[];
    found = parsed
      .map((s) => ({ ...s, args: s.args.map((a) => ({ ...a, camel: camelCase(a.name) })) }))
      .filter(reachable)
      .sort((x, y) => rank(x) - rank(y) || x.args.length - y.args.length || (x.overload < y.overload ? -1 : 1));
    cache.set(name, found);
  }
  return found;
}

// Ties between overloads: the unnamed first, those on tensors before those on scalars.
function rank(schema: Schema): number {
  if (schema.overload === "") return 0;
  if (schema.overload.startsWith("Tensor")) return 1;
  return schema.args.some((a) => a.write === true && a.kwarg === true) ? 3 : 2;
}
