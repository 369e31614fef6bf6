/**
 * Every operator with an autocast kernel on the CPU, in float16 and bfloat16: its rule, the dtypes of its results, and
 * their bits, as PyTorch's and as when inputs are cast by hand.
 */
import { incomparable, type FixtureOrigin } from "../../helpers/reproducible.js";
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { describe, it } from "node:test";
import {
  amp,
  aten,
  autocast,
  cpuCapability,
  isTensor,
  manualSeed,
  memory,
  noGrad,
  scope,
  setCpuKernels,
  setNumThreads,
  versions,
} from "@nbit/torch";
import type { DType, Tensor } from "@nbit/torch";
import { difference, type Recorded } from "../../helpers/compare.js";
import { makeBase, type InputSpec } from "../../helpers/formula-input.js";
import { fewUnits, FROM_ROOTS, otherRoots } from "../../helpers/square-roots.js";

interface Vector {
  readonly name: string;
  /** "aten.conv2d.padding" */
  readonly op: string;
  readonly dtype: "float16" | "bfloat16";
  readonly rule: "lower" | "float32" | "promote";
  readonly args: readonly unknown[];
  readonly options?: Readonly<Record<string, unknown>>;
  readonly inputs: readonly InputSpec[];
  readonly outputs?: readonly Recorded[];
  /** PyTorch's message, where it has no kernel with these dtypes on that processor. */
  readonly error?: string;
}

const [first = "", ...rest] = readFileSync(new URL("../../../parity/autocast/fixtures.jsonl", import.meta.url), "utf8")
  .trimEnd()
  .split("\n");
const origin = JSON.parse(first) as FixtureOrigin;
const vectors = rest.map((line) => JSON.parse(line) as Vector);
setNumThreads(1);
setCpuKernels("libtorch");
/**
 * Null: bytes can be compared with the recorded ones. dtypes and shapes always are, and casting by hand is repeated
 * here.
 */
const reason = incomparable(origin, { libtorch: versions().libtorch, capability: cpuCapability() });
/** The same for the last bits of results that come from square roots. */
const roots = reason === null ? otherRoots() : null;
// Deprecated operators are in the table, too.
process.removeAllListeners("warning");

function call(v: Vector, inputs: readonly Tensor[]): Tensor[] {
  const decode = (value: unknown): unknown => {
    if (Array.isArray(value)) return value.map(decode);
    return typeof value === "object" && value !== null && "input" in value ? inputs[value.input as number] : value;
  };
  const [, name = "", overload = ""] = v.op.split(".");
  const target = aten[name]?.[overload];
  assert.ok(target !== undefined, v.op);
  manualSeed(42);
  const result: unknown = target(
    ...v.args.map(decode),
    ...(v.options === undefined ? [] : [Object.fromEntries(Object.entries(v.options).map(([k, x]) => [k, decode(x)]))]),
  );
  const flatten = (r: unknown): Tensor[] => (isTensor(r) ? [r] : Array.isArray(r) ? r.flatMap(flatten) : []);
  return flatten(result);
}

const packed = (t: Tensor): Recorded => ({
  shape: t.shape,
  dtype: t.dtype,
  data: Buffer.from((t.isComplex() ? t.resolveConj() : t).contiguous().toBytes()).toString("base64"),
});
const cast = (t: Tensor, dtype: DType): Tensor => (t.isFloatingPoint() ? t.to(dtype) : t);

function check(v: Vector): void {
  const inputs = v.inputs.map(makeBase);
  const under = (): Tensor[] => autocast({ dtype: v.dtype, cacheEnabled: false }, () => call(v, inputs));
  if (v.outputs === undefined) {
    if (reason === null) assert.throws(under, { name: "TorchError" });
    return;
  }
  const outputs = under();
  assert.deepEqual(
    outputs.map((t) => [t.dtype, t.shape]),
    v.outputs.map((o) => [o.dtype, o.shape]),
    `${v.name}: dtypes and shapes`,
  );
  const byHand = call(
    v,
    inputs.map((t) => cast(t, v.rule === "lower" ? v.dtype : "float32")),
  );
  const problems = outputs.flatMap((t, i) => [
    difference(`${v.name}: result ${i}, against casting by hand`, t, packed(byHand[i] as Tensor)),
    reason === null
      ? difference(
          `${v.name}: result ${i}, against PyTorch's`,
          t,
          v.outputs?.[i] as Recorded,
          roots !== null && FROM_ROOTS.test(v.op) ? fewUnits(t.dtype) : null,
        )
      : null,
  ]);
  assert.deepEqual(
    problems.filter((p) => p !== null),
    [],
  );
}

describe(`autocast's operators are PyTorch ${origin.torch}'s${reason === null ? "" : ` (bits not compared: ${reason})`}`, () => {
  for (const v of vectors) {
    it(`${v.name}${roots !== null && FROM_ROOTS.test(v.op) ? `, to a few units: ${roots}` : ""}`, () => {
      const before = memory().unreleased;
      scope(() => noGrad(() => check(v)));
      assert.equal(memory().unreleased, before);
    });
  }

  it("the derived table has these operators, and each one's rule", () => {
    const rules = new Map(vectors.map((v) => [v.op.split(".")[1] ?? "", v.rule]));
    assert.deepEqual([...amp.policyTable("cpu")].sort(), [...rules].sort());
    assert.ok(vectors.length >= 250 && rules.size >= 110, `${vectors.length} vectors of ${rules.size} operators`);
  });
});
