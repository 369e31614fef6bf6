/**
 * Every recorded operator with one floating operand of another dtype than the rest: it computes, or it refuses with an
 * error that says so, whichever of its kernels this processor runs. The processor's own, so nothing is pinned here.
 */
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { describe, it } from "node:test";
import { DTypeMismatchError, promoteTypes, scope, setNumThreads, TorchError, type DType } from "@nbit/torch";
import { makeBase, layOut } from "../../helpers/formula-input.js";
import { decodeArgument, lookUp, type OpCase } from "../../helpers/op-check.js";

// The compiled test lies in tests/dist/parity/ops, the fixtures beside its source.
const file = new URL("../../../parity/ops/fixtures.jsonl", import.meta.url);
const cases = readFileSync(file, "utf8")
  .trimEnd()
  .split("\n")
  .slice(1)
  .map((line) => JSON.parse(line) as OpCase);

/** Refusals for another reason: no kernel at all for a dtype, and scalars of loss scaling that are float32 always. */
const OTHER_REASONS = /not implemented for '\w+'$|must be a float tensor\.$/;
const PAIRS: readonly (readonly [DType, DType])[] = (["float32", "float16"] as const).flatMap((most) =>
  (["float16", "bfloat16", "float32", "float64"] as const).filter((one) => one !== most).map((one) => [most, one]),
);
setNumThreads(1);
// Operators tell that an output argument was resized.
process.removeAllListeners("warning");

/** What a call with operand `at` in dtype `one` and the others in `most` threw; null where it computed. */
function refusal(c: OpCase, at: number, most: DType, one: DType): unknown {
  return scope(() => {
    const operands = c.inputs.map((spec, i) => {
      const operand = layOut(spec, makeBase(spec));
      return operand.isFloatingPoint() ? operand.to(i === at ? one : most) : operand;
    });
    const args = [...c.args, ...(c.options === undefined ? [] : [c.options])].map((a) => decodeArgument(a, operands));
    const call =
      lookUp(c.op) ??
      ((self: unknown, ...rest: unknown[]) =>
        (Reflect.get(self as object, c.op) as (...a: unknown[]) => unknown).apply(self, rest));
    try {
      call(...args);
      return null;
    } catch (error) {
      return error;
    }
  });
}

describe("an operand of another dtype is computed with, or refused in words that say so", () => {
  let refused = 0;
  for (const c of cases) {
    const floating = c.inputs.flatMap((spec, i) => (spec.dtype.startsWith("float") ? [i] : []));
    if (floating.length < 2) continue;
    it(`${c.op} ${c.name}`, () => {
      for (const at of floating) {
        for (const [most, one] of PAIRS) {
          const error = refusal(c, at, most, one);
          if (error === null || (error instanceof TorchError && OTHER_REASONS.test(error.message))) continue;
          assert.ok(error instanceof DTypeMismatchError, `input ${at} in ${one}, others in ${most}: ${String(error)}`);
          // Inside an operator made of several, a result of both may be what met one of them.
          const met = [most, one, promoteTypes(most, one)] as readonly string[];
          assert.ok(error.dtypes.length === 2 && error.dtypes.every((d) => met.includes(d)), error.message);
          refused++;
        }
      }
    });
  }
  it("many are refused", () => assert.ok(refused > 500, `${refused}`));
});
