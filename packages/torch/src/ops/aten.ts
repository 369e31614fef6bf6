/**
 * Every operator of the dispatcher by its schema name, the private ones too: `aten.add(a, b)`,
 * `aten._foreach_add_.List(xs, ys)`.
 */
import { ArgumentError } from "../errors.js";
import { invoke } from "./invoke.js";
import { Operator } from "./operator.js";
import { native } from "../native.js";
import { atMost } from "../options.js";
import { advanceWeightsEpoch } from "../weights-epoch.js";

/**
 * Call it to let the arguments choose the overload; index it to choose one ("default" is the unnamed). Results are
 * typed by the caller's assertion or check.
 */
export interface AtenOperator {
  // The one place where types end: names and overloads are only known at run time, so results are too.
  (...args: readonly unknown[]): AtenResult;
  readonly [overload: string]: (...args: readonly unknown[]) => AtenResult;
}
import type { Tensor } from "../tensor/tensor.js";
/** The result of a call by name. Use `asTensor`, `asTensors` or your own check to narrow it. */
export type AtenResult = Tensor & Tensor[];

function build(name: string): AtenOperator {
  const all = new Operator(name);
  const overloads = new Map<string, (...args: readonly unknown[]) => AtenResult>();
  // Fused steps write parameters without counting it, so that a graph from before a step can go backward after it: the
  // epoch tells.
  const steps = (name.startsWith("aten::_fused_") && name.endsWith("_")) || name === "nbit::fused_adam_";
  const call = (op: Operator, args: unknown[]): AtenResult => {
    const result = invoke(op, args) as AtenResult;
    if (steps) advanceWeightsEpoch(true);
    return result;
  };
  const target = (...args: unknown[]): AtenResult => call(all, args);
  return new Proxy(target, {
    get(_, key): unknown {
      if (typeof key !== "string") return undefined;
      let found = overloads.get(key);
      if (found === undefined) {
        const op = new Operator(name, key === "default" ? "" : key);
        if (op.schemas.length === 0) return undefined;
        found = (...args: unknown[]) => call(op, args);
        overloads.set(key, found);
      }
      return found;
    },
    has: (_, key) => typeof key === "string" && new Operator(name, key === "default" ? "" : key).schemas.length > 0,
  }) as unknown as AtenOperator;
}

function namespaceOf(prefix: string): { readonly [name: string]: AtenOperator } {
  const known = new Map<string, AtenOperator>();
  return new Proxy(Object.create(null) as { readonly [name: string]: AtenOperator }, {
    get(_, key): AtenOperator | undefined {
      if (typeof key !== "string") return undefined;
      let found = known.get(key);
      if (found === undefined) {
        if (native.schemas(`${prefix}::${key}`) === "[]") return undefined;
        found = build(`${prefix}::${key}`);
        known.set(key, found);
      }
      return found;
    },
    has: (_, key) => typeof key === "string" && native.schemas(`${prefix}::${key}`) !== "[]",
    ownKeys: () => operatorNames(prefix),
    getOwnPropertyDescriptor: (_, key) =>
      typeof key === "string" ? { enumerable: true, configurable: true } : undefined,
  });
}

/** Names of all operators under a prefix such as "aten". */
export function operatorNames(prefix = "aten"): string[] {
  atMost("operatorNames", arguments, 1);
  if (typeof prefix !== "string") throw new ArgumentError("operatorNames", "prefix to be a string", prefix);
  return native
    .operatorNames()
    .split("\n")
    .filter((n) => n.startsWith(`${prefix}::`))
    .map((n) => n.slice(prefix.length + 2));
}

export const aten = namespaceOf("aten");

/** Any namespace of the dispatcher: `operators("quantized").add`. */
export function operators(prefix: string): { readonly [name: string]: AtenOperator } {
  atMost("operators", arguments, 1);
  if (typeof prefix !== "string") throw new ArgumentError("operators", "prefix to be a string", prefix);
  return namespaceOf(prefix);
}
