import assert from "node:assert/strict";
import { tmpdir } from "node:os";
import { test } from "node:test";
import { flagsOf } from "../flags.js";
import { planOf } from "./job.js";
import { mnistRows, optimizerRows, overheadRows, pairRows } from "./pair-rows.js";
import { modelRows } from "./rows.js";
import { scaleRows } from "./scale-rows.js";
import { commandOf, holeOf, PEERS, peerOf, type Versions } from "./sides.js";

test("ten losses are compared wherever ten steps are made", () => {
  for (const steps of [6, 8, 20, 160, 6000]) assert.equal(planOf({ steps }).checked, 10);
  assert.deepEqual(planOf({ steps: 6 }), { warmUp: 4, chunk: 1, total: 10, checked: 10 });
  assert.deepEqual(planOf({ steps: 6000 }), { warmUp: 1500, chunk: 300, total: 7500, checked: 10 });
  assert.deepEqual(planOf({ steps: 9, cold: true }), { warmUp: 1, chunk: 9, total: 10, checked: 10 });
  assert.deepEqual(planOf({ steps: 4, warmUp: 2 }), { warmUp: 2, chunk: 1, total: 6, checked: 6 });
});

test("every row has an id of its own, nbit's side first, and all peers", () => {
  const sizes = { quick: false, nativeBf16: true };
  const models = modelRows(sizes);
  const scale = scaleRows({ long: true }).map(({ row }) => row);
  const ids = [
    ...models,
    ...scale,
    ...pairRows(1, sizes),
    ...overheadRows(),
    ...mnistRows(tmpdir()),
    ...optimizerRows(false),
  ].map(({ id }) => id);
  assert.equal(new Set(ids).size, ids.length);
  for (const { id, sides, job } of [...models, ...scale]) {
    assert.equal(sides[0], "trainer", id);
    const has = new Set(sides.map(peerOf));
    if (job.optimizer.fused)
      assert.ok(
        PEERS.every((peer) => has.has(peer)),
        id,
      );
  }
  assert.deepEqual(
    modelRows({ ...sizes, threads: [3], steps: 7 }).map(({ job }) => [job.threads, job.steps]),
    modelRows(sizes)
      .filter(({ id }) => !id.endsWith("-t2"))
      .map(() => [3, 7]),
  );
});

test("GPT in bfloat16 is left out where it is emulated", () => {
  const ids = modelRows({ quick: false, nativeBf16: false }).map(({ id }) => id);
  assert.ok(ids.includes("gpt-32-t1") && !ids.includes("gpt-bf16-t1"));
});

test("a flag's value follows = or a space, and unknown flags are refused", () => {
  const flags = flagsOf(["compare", "quick", "runs"], ["--compare", "old.json", "--quick", "--runs=3"]);
  assert.deepEqual(
    [...flags],
    [
      ["compare", "old.json"],
      ["quick", undefined],
      ["runs", "3"],
    ],
  );
  assert.throws(() => flagsOf(["runs"], ["--run=3"]), /expected flags among --runs\. Received: --run=3/);
  assert.throws(() => flagsOf(["runs"], ["--runs=3", "4"]), /Received: 4/);
  assert.throws(() => flagsOf(["runs"], ["--runs", "3", "4"]), /Received: 4/);
});

test("a peer that is not installed leaves a hole that says so; PyTorch and nbit need none of them", () => {
  const none: Versions = { python: "3", torch: "2", capability: "AVX2", lightning: null, jax: null, compiler: false };
  const all: Versions = { ...none, lightning: "2", jax: "0", compiler: true };
  const sides = ["trainer", "loop", "pytorch", "pytorch-keep", "compile", "lightning", "jax"] as const;
  assert.deepEqual(sides.map((side) => holeOf(side, none)), [null, null, null, null, "no C++ compiler", "lightning is not installed", "jax is not installed"]); // prettier-ignore
  assert.ok(sides.every((side) => holeOf(side, all) === null));
});

test("JAX gets as many threads as the others, and memory is kept on one side alone", () => {
  const [row] = modelRows({ quick: true, nativeBf16: true });
  assert.ok(row !== undefined);
  const environment = (side: "jax" | "pytorch" | "pytorch-keep", threads: number): readonly string[] =>
    Object.entries(commandOf({ ...row.job, side, threads }, "python").env).map(([name, value]) => `${name}=${value}`);
  assert.ok(environment("jax", 1).includes("XLA_FLAGS=--xla_cpu_multi_thread_eigen=false"));
  assert.ok(environment("jax", 1).includes("NPROC=1"));
  assert.ok(environment("jax", 2).includes("NPROC=2"));
  assert.deepEqual(environment("pytorch", 1), []);
  assert.ok(environment("pytorch-keep", 1).some((e) => e.startsWith("MALLOC_TRIM_THRESHOLD_=")));
});
