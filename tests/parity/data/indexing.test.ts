/**
 * `t.at(…)` and `t.setAt(…)` choose, view and write as PyTorch's brackets do. The fixtures are made by
 * make_indexing.py.
 */
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { describe, it } from "node:test";
import {
  arange,
  ArgumentError,
  memory,
  scope,
  tensor,
  TorchError,
  type Index,
  type IndexList,
  type Tensor,
  type TensorData,
} from "@nbit/torch";

type Encoded = number | string | boolean | null | Readonly<Record<string, TensorData>>;
interface Case {
  readonly shape: readonly number[];
  readonly indices: readonly Encoded[];
  readonly out?: { readonly shape: readonly number[]; readonly values: readonly number[]; readonly view: boolean };
  readonly filled?: readonly number[];
  readonly row?: readonly number[];
  readonly error?: string;
}

const DTYPES = { long: "int64", int32: "int32", mask: "bool", byte: "uint8" } as const;

function decode(ix: Encoded): Index {
  if (typeof ix !== "object" || ix === null) return ix;
  const [kind, value] = Object.entries(ix)[0] as [keyof typeof DTYPES | "list", TensorData];
  return kind === "list" ? (value as IndexList) : tensor(value, { dtype: DTYPES[kind] });
}

const numbers = (t: Tensor): number[] => Array.from(t.contiguous().toTypedArray() as BigInt64Array, Number);
const make = (shape: readonly number[]): Tensor =>
  arange(
    shape.reduce((a, b) => a * b, 1),
    { dtype: "int64" },
  ).reshape(shape);

const cases = readFileSync(new URL("../../../parity/data/indexing.jsonl", import.meta.url), "utf8")
  .trimEnd()
  .split("\n")
  .map((line) => JSON.parse(line) as Case);

void describe("indexing as PyTorch indexes", () => {
  void it("has the recorded cases", () => {
    assert.ok(cases.length > 400 && cases.filter((c) => c.error !== undefined).length > 10);
  });
  for (const [n, c] of cases.entries()) {
    void it(`${n}: [${c.shape.join(", ")}] at ${JSON.stringify(c.indices)}`, () => {
      const before = memory().unreleased;
      scope(() => {
        const indices = c.indices.map(decode);
        const t = make(c.shape);
        if (c.out === undefined) {
          assert.throws(
            () => t.at(...indices),
            (e) => e instanceof ArgumentError || e instanceof TorchError,
          );
          return;
        }
        const out = t.at(...indices);
        assert.deepEqual(out.shape, c.out.shape);
        assert.deepEqual(numbers(out), c.out.values);
        assert.notEqual(out, t);
        if (c.out.view) {
          out.fill_(-7);
          assert.deepEqual(numbers(t), c.filled, "writing to the view writes to the tensor");
        }
        // PyTorch reads with a uint8 mask but refuses to write with one.
        if (c.filled !== undefined) {
          const filled = make(c.shape);
          filled.setAt(indices, -7);
          assert.deepEqual(numbers(filled), c.filled);
        }
        if (c.row !== undefined) {
          const row = make(c.shape);
          const n = c.out.shape.at(-1) as number;
          row.setAt(indices, arange(n, { dtype: "int64" }).add(1).neg().reshape([1, 1, n]));
          assert.deepEqual(numbers(row), c.row);
        }
      });
      assert.equal(memory().unreleased, before);
    });
  }
});
