/** A call as text, so that another process can make it again. */
import type { Call } from "./calls.js";

export interface Written {
  readonly target: string;
  readonly call: Call;
}

const SPECIAL: Readonly<Record<string, unknown>> = { NaN, Infinity, "-Infinity": -Infinity, "-0": -0, undefined };

export function write(written: Written): string {
  return JSON.stringify(written, (_, value: unknown) => {
    if (typeof value === "bigint") return { $: "bigint", text: value.toString() };
    if (value === undefined) return { $: "special", text: "undefined" };
    if (typeof value === "number" && (!Number.isFinite(value) || Object.is(value, -0)))
      return { $: "special", text: Object.is(value, -0) ? "-0" : String(value) };
    return value;
  });
}

export function read(text: string): Written {
  return revive(JSON.parse(text)) as Written;
}

// Not a reviver: that drops what it turns into undefined.
function revive(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(revive);
  if (typeof value !== "object" || value === null) return value;
  const { $: kind, text } = value as { readonly $?: unknown; readonly text?: unknown };
  if (kind === "bigint" && typeof text === "string") return BigInt(text);
  if (kind === "special" && typeof text === "string") return SPECIAL[text];
  return Object.fromEntries(Object.entries(value).map(([k, v]) => [k, revive(v)]));
}
