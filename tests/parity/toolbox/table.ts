/** The rows of cases/*.json, and what make_fixtures.py recorded of them. */
import assert from "node:assert/strict";
import { camel } from "../../helpers/camel.js";
import { fromNumbers, type Digest, type Numeral } from "./digests.js";
import type { DType } from "@nbit/torch";

/** A value of a table: JSON, with tensors, dtypes, functions and modules by `$`-names; README.md lists them. */
export type Value = null | boolean | number | string | readonly Value[] | { readonly [name: string]: Value };

export interface TensorSpec {
  readonly shape?: readonly number[];
  readonly values?: readonly Numeral[];
  /** "float": the dtype of the mode. */
  readonly dtype?: DType | "float";
  readonly low?: number;
  readonly high?: number;
  readonly grad?: boolean;
}
/** A call of PyTorch's, spelt as Python spells it. */
export interface CallSpec {
  readonly call: string;
  readonly args?: readonly Value[];
  readonly kwargs?: Readonly<Record<string, Value>>;
}
export interface Row extends CallSpec {
  readonly name: string;
  readonly inputs?: readonly TensorSpec[];
  readonly forward?: Readonly<Record<string, Value>>;
  readonly modes?: readonly Mode[];
  readonly train?: boolean;
  readonly steps?: number;
  readonly output?: number;
  readonly tolerance?: number;
  /** Of optimizers: which model, which of its parameters, whether steps take a closure. */
  readonly model?: "embedding";
  readonly matrices?: boolean;
  readonly closure?: boolean;
  /** Of schedulers. */
  readonly optimizer?: CallSpec & { readonly second?: number };
  readonly metrics?: readonly number[];
  readonly epochs?: readonly number[];
  readonly bare?: boolean;
}
export type Mode = "float32" | "float64" | "bfloat16" | "autocast";

export interface RecordOfCase {
  readonly name: string;
  readonly mode: Mode;
  readonly state?: Readonly<Record<string, Digest>> | readonly Readonly<Record<string, Digest>>[];
  readonly outputs?: readonly Digest[];
  readonly inputGrads?: readonly (Digest | null)[];
  readonly grads?: Readonly<Record<string, Digest | null>>;
  readonly losses?: readonly Numeral[];
  readonly after?: Readonly<Record<string, Digest>>;
  readonly params?: readonly (readonly Digest[])[];
  readonly rates?: readonly (readonly (readonly [number, number])[])[];
}

/** How far a record may be from ours, relative to a tensor's norm. */
export function toleranceOf(row: Row, mode: Mode): number {
  return row.tolerance ?? { float32: 3e-6, float64: 1e-11, bfloat16: 5e-3, autocast: 5e-3 }[mode];
}

/** What of a record is compared. */
export interface Comparison {
  readonly dtypes: boolean;
  readonly values: boolean;
}
const ALL: Comparison = { dtypes: true, values: true };

/** Everything of a record that differs from ours, in words. */
export function differences(
  expected: unknown,
  received: unknown,
  tolerance: number,
  path = "",
  how: Comparison = ALL,
): string[] {
  if (Array.isArray(expected) && isDigest(expected))
    return fromNumbers(expected as unknown as Digest, received as Digest | null | undefined, tolerance, how).map(
      (text) => `${path}: ${text}`,
    );
  if (typeof expected === "number" || typeof expected === "string") {
    if (!how.values) return [];
    if (typeof expected === "number" && typeof received === "number")
      return Math.abs(expected - received) <= tolerance * Math.max(1, Math.abs(expected))
        ? []
        : [`${path}: ${received}, PyTorch ${expected}`];
    return expected === received ? [] : [`${path}: ${String(received)}, PyTorch ${expected}`];
  }
  if (expected === null || typeof expected !== "object")
    return expected === (received ?? null) ? [] : [`${path}: ${String(received)}, PyTorch ${String(expected)}`];
  if (typeof received !== "object" || received === null)
    return [`${path}: nothing, PyTorch has ${Object.keys(expected).join()}`];
  const [theirs, ours] = [Object.keys(expected), Object.keys(received)];
  if (String(theirs) !== String(ours)) return [`${path}: has ${ours.join(", ")}; PyTorch ${theirs.join(", ")}`];
  return theirs.flatMap((name) =>
    differences(
      Reflect.get(expected, name),
      Reflect.get(received, name),
      tolerance,
      path === "" ? name : `${path}.${name}`,
      how,
    ),
  );
}
function isDigest(value: readonly unknown[]): boolean {
  return typeof value[0] === "string" && (value.length === 4 || (value.length === 2 && value[0] === "number"));
}

/** PyTorch's dotted path in our names: `optim.lr_scheduler.StepLR` → `optim.lrScheduler.StepLR`. */
export function ourPath(path: string): string[] {
  return path.split(".").map(camel);
}
/** What a path leads to. @throws {AssertionError} Where there is nothing. */
export function lookup(root: object, path: string): unknown {
  let found: unknown = root;
  for (const part of ourPath(path)) {
    assert.ok(typeof found === "object" || typeof found === "function", `nbit has no ${path}`);
    found = Reflect.get(found as object, part);
  }
  assert.notEqual(found, undefined, `nbit has no ${ourPath(path).join(".")}`);
  return found;
}
