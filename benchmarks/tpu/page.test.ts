import assert from "node:assert/strict";
import { test } from "node:test";
import { page, type Row } from "./page.js";

const row: Row = {
  model: "MLP",
  topology: "v5e:2x2",
  devices: 4,
  kind: "TPU v5 lite",
  deviceMemory: 2 ** 34,
  precision: "bf16",
  shardState: true,
  program: {
    what: "step",
    operators: 54,
    views: 17,
    textBytes: 4000,
    seconds: 1.26,
    memory: { peak: 2 ** 20, arguments: 2 ** 19, outputs: 2 ** 19, aliased: 2 ** 19, temporaries: 0, code: 2 ** 18 },
    flops: 2.5e6,
    bytesAccessed: 3e6,
    estimatedSeconds: 3e-6,
    collectives: { "all-reduce": 3, "all-gather": 2 },
  },
  jax: { seconds: 1, flops: 2e6, bytesAccessed: 4e6, estimatedSeconds: 2e-6, devices: 4 },
};
const lastRow = (rows: readonly Row[]): string =>
  page({ date: "2026-12-01", compiler: "x", jax: "1.0", rows })
    .split("\n")
    .filter((line) => line.startsWith("|"))
    .at(-1) ?? "";

test("a row has each device's figures, and ratios to JAX's", () => {
  assert.equal(
    lastRow([row]),
    "| MLP | v5e:2x2 | 4 | bf16, fsdp | 54 | 1.3 | 1.00 | 0.500 | 0.250 | 2.500 | 3.000 | 3.00 | 3 all-reduce, 2 all-gather | 1.25 | 0.75 | 1.50 |",
  );
});

test("programs of another number of devices are not compared, nor what a compiler does not say", () => {
  const elsewhere: Row = {
    ...row,
    jax: { seconds: 1, flops: 2e6, bytesAccessed: 4e6, estimatedSeconds: null, devices: 8 },
  };
  assert.match(lastRow([elsewhere]), /\| {2}\| {2}\| {2}\|$/);
  assert.match(
    lastRow([{ ...row, program: { ...row.program, memory: null, flops: null } }]),
    /\| 1\.3 \| {2}\| {2}\| {2}\| {2}\| 3\.000 \|/,
  );
});
