import assert from "node:assert/strict";
import { existsSync, readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { test } from "node:test";
import { amp, aten, autocast, full, isTensor, scope, type Tensor } from "@nbit/torch";
import { options } from "./support.js";

type Sample =
  | number
  | string
  | boolean
  | null
  | { readonly float: number[] }
  | { readonly int: number[]; readonly value: number }
  | readonly Sample[];
interface Call {
  readonly op: string;
  readonly overload: string;
  readonly args: readonly Sample[];
  readonly results: Readonly<Record<string, readonly string[] | "error">>;
}
interface Fixture {
  readonly torch: string;
  readonly calls: readonly Call[];
}
const path = fileURLToPath(new URL("../../gpu/autocast/fixture.json", import.meta.url));
const fixture: Fixture = existsSync(path)
  ? (JSON.parse(readFileSync(path, "utf8")) as Fixture)
  : { torch: "none", calls: [] };

type Low = "float16" | "bfloat16";
function build(args: readonly Sample[], low: Low, kind: string): unknown[] {
  let position = 0;
  const value = (a: Sample): unknown => {
    if (Array.isArray(a)) return (a as readonly Sample[]).map(value);
    if (typeof a !== "object" || a === null) return a;
    if ("int" in a) return full(a.int, a.value, { dtype: "int64", device: "cuda" });
    if (!("float" in a)) throw new Error("a sample is a tensor, a number, a string, a boolean or a list of these");
    const dtype = kind === "low" || (kind === "mixed" && position === 0) ? low : "float32";
    position++;
    return full(a.float, 0.5, { dtype, device: "cuda" });
  };
  return args.map(value);
}
/** Kernels behind public operators, which are not to be called by themselves. */
const REFUSED: readonly string[] = ["_cudnn_rnn", "_thnn_fused_gru_cell", "_thnn_fused_lstm_cell"];
function dtypesOf(call: Call, key: string): string[] | "error" | "refused" {
  const [low, kind] = key.split(" ") as [Low, string];
  return scope(() => {
    const op = aten[call.op]?.[call.overload];
    assert.ok(op !== undefined, `${call.op}.${call.overload} exists`);
    try {
      const result: unknown = autocast({ deviceType: "cuda", dtype: low, cacheEnabled: false }, () =>
        op(...build(call.args, low, kind)),
      );
      return (Array.isArray(result) ? (result as unknown[]) : [result])
        .filter((t): t is Tensor => isTensor(t))
        .map((t) => t.dtype);
    } catch (error) {
      return error instanceof Error && error.message.includes("internal to libtorch") ? "refused" : "error";
    }
  });
}

test("the fixture covers libtorch's whole autocast table", options, () => {
  assert.ok(fixture.calls.length > 100);
  const covered = new Set(fixture.calls.map((call) => call.op));
  for (const name of amp.policyTable("cuda").keys())
    assert.ok(covered.has(name), `${name} is in the table, but not in the fixture: run make_fixture.py`);
});

test(
  "autocast gives the dtypes that PyTorch gives, for every operator of its table",
  { ...options, timeout: 300_000 },
  () => {
    const differences: string[] = [];
    for (const call of fixture.calls)
      for (const [key, expected] of Object.entries(call.results)) {
        const got = dtypesOf(call, key);
        if (String(got) !== (REFUSED.includes(call.op) ? "refused" : String(expected)))
          differences.push(
            `${call.op}.${call.overload} ${key}: ${String(got)}, PyTorch ${fixture.torch} ${String(expected)}`,
          );
      }
    assert.deepEqual(differences, []);
  },
);
