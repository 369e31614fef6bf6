/**
 * Every recorded operator call, bit for bit, but where it comes from square roots that this processor rounds otherwise
 * (helpers/square-roots.ts): see cases/ for what is covered and make_fixtures.py for how it was
 * recorded.
 */
import { incomparable, type FixtureOrigin } from "../../helpers/reproducible.js";
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { describe, it } from "node:test";
import { cpuCapability, setCpuKernels, setNumThreads, versions } from "@nbit/torch";
import { checkOp, type OpCase } from "../../helpers/op-check.js";
import { fewUnits, FROM_ROOTS, otherRoots } from "../../helpers/square-roots.js";

// The compiled test lies in tests/dist/parity/ops, the fixtures beside its source.
const file = new URL("../../../parity/ops/fixtures.jsonl", import.meta.url);
const [first, ...rest] = readFileSync(file, "utf8").trimEnd().split("\n");
const origin = JSON.parse(first ?? "") as FixtureOrigin;
const cases = rest.map((line) => JSON.parse(line) as OpCase);

setNumThreads(1);
setCpuKernels("libtorch");
const reason = incomparable(origin, { libtorch: versions().libtorch, capability: cpuCapability() });
const roots = reason === null ? otherRoots() : null;

/** Within a few units in the last place, where roots are others. */
function allowing(c: OpCase): OpCase {
  if (roots === null || !FROM_ROOTS.test(c.op)) return c;
  const { rtol, atol } = fewUnits(c.inputs[0]?.dtype ?? "float32");
  return { tolerance: [rtol, atol], ...c };
}

describe(`operators equal PyTorch ${origin.torch}'s`, { skip: reason ?? false }, () => {
  it("covers at least 400 operators", () => {
    assert.ok(new Set(cases.map((c) => c.op)).size >= 400);
  });
  const families = new Map<string, OpCase[]>();
  for (const c of cases) families.set(c.op, [...(families.get(c.op) ?? []), c]);
  for (const [op, calls] of families) {
    it(`${op} (${calls.length})${roots !== null && FROM_ROOTS.test(op) ? `, to a few units: ${roots}` : ""}`, () => {
      for (const c of calls) checkOp(allowing(c));
    });
  }
});
