/**
 * Indexing with lists of positions. Recorders refuse the operator, since masks would give a shape that depends on values;
 * programs that were made by hand, or read from a file, may have it.
 */
import assert from "node:assert/strict";
import { test } from "node:test";
import { index, indexPut, manualSeed, randint, randn, type program, type Tensor } from "@nbit/torch";
import { DeviceStep, difference, needsCpu, type Recorded } from "./harness.js";

type Indices = readonly (Tensor | null)[];
const contiguous = (shape: readonly number[]): number[] =>
  shape.map((_, i) => shape.slice(i + 1).reduce((a, b) => a * b, 1));

/** A program of one operator over tensors that are there. */
function alone(
  operator: Pick<program.StepOperator, "name" | "overload">,
  tensors: Readonly<Record<string, Tensor>>,
  lists: Readonly<Record<string, Indices>>,
  constants: Readonly<Record<string, program.Constant>>,
  result: readonly number[],
): Recorded {
  const all: Tensor[] = [];
  const add = (t: Tensor): number => all.push(t) - 1;
  const given = {
    ...Object.fromEntries(Object.entries(tensors).map(([name, t]) => [name, { value: add(t) }])),
    ...Object.fromEntries(
      Object.entries(lists).map(([name, list]) => [name, { values: list.map((t) => (t === null ? null : add(t))) }]),
    ),
    ...constants,
  };
  const values = all.map((t, buffer) => ({
    buffer,
    offset: 0,
    dtype: t.dtype,
    shape: t.shape,
    strides: contiguous(t.shape),
  }));
  const made = { buffer: all.length, offset: 0, dtype: "float32" as const, shape: result, strides: contiguous(result) };
  return {
    program: {
      format: "nbit.step",
      version: 1,
      buffers: [...all, null].map((t) => ({ bytes: 4096, origin: t === null ? "made" : "external", written: false })),
      values: [...values, made],
      operators: [{ ...operator, arguments: given, results: [all.length], writes: [] }],
      inputs: {},
      results: { y: all.length },
    },
    externals: () => new Map(all.map((t, i) => [i, t])),
  };
}
async function computed(step: Recorded): Promise<Tensor> {
  const device = await DeviceStep.of(step);
  await device.run();
  return (await device.results())["y"] as Tensor;
}

const list = (high: number, ...shape: number[]): Tensor => randint(-high, high, shape);
const CASES: Readonly<Record<string, () => Indices>> = {
  rows: () => [list(5, 3)],
  "rows by a matrix": () => [list(5, 2, 3)],
  columns: () => [null, list(4, 3)],
  "two dimensions, broadcast": () => [list(5, 3, 1), list(4, 2)],
  "two dimensions apart": () => [list(5, 3), null, list(6, 3)],
  "the last two": () => [null, list(4, 2), list(6, 2)],
  "one element": () => [list(5), list(4), list(6)],
};
for (const [name, indices] of Object.entries(CASES))
  test(`index and indexPut: ${name}`, needsCpu, async () => {
    manualSeed(4);
    const [self, at] = [randn([5, 4, 6]), indices()];
    const want = (index as (x: Tensor, at: Indices) => Tensor)(self, at);
    const got = await computed(
      alone({ name: "aten::index", overload: "Tensor" }, { self }, { indices: at }, {}, want.shape),
    );
    assert.equal(difference(got, want), 0);
    const values = randn(want.shape);
    for (const accumulate of [true, false]) {
      if (!accumulate && name !== "one element" && name !== "columns") continue; // places twice: which one stays is not said
      const put = (indexPut as (x: Tensor, at: Indices, v: Tensor, a: boolean) => Tensor)(self, at, values, accumulate);
      const mine = await computed(
        alone({ name: "aten::index_put", overload: "" }, { self, values }, { indices: at }, { accumulate }, self.shape),
      );
      assert.ok(difference(mine, put) < 1e-6, `accumulate ${accumulate}`);
    }
  });
