import assert from "node:assert/strict";
import { test } from "node:test";
import { optionsOf } from "./options.js";

test("without flags everything is measured, five times", () => {
  const { runs, rows, peers, narrowed, out } = optionsOf([]);
  assert.deepEqual({ runs, rows, peers, narrowed, out }, { runs: 5, rows: null, peers: ["pytorch", "compile", "lightning", "jax"], narrowed: false, out: null }); // prettier-ignore
  assert.equal(optionsOf(["--quick"]).runs, 3);
  const some = optionsOf(["--rows=gpt,lstm", "--threads=1,2", "--steps", "6", "--compare", "old.json"]);
  assert.deepEqual([some.rows, some.threads, some.steps, some.compare, some.narrowed], [["gpt", "lstm"], [1, 2], 6, "old.json", true]); // prettier-ignore
});

test("what is wrong is refused by name", () => {
  for (const [args, message] of [
    [["--quick=3"], "expected --quick without a value. Received: 3"],
    [["--quick", "now"], "expected --quick without a value. Received: now"],
    [["--runs"], "expected --runs with a value. Received: none"],
    [["--runs=0"], "expected --runs to be a whole number ≥ 1. Received: 0"],
    [["--runs=3,4"], "expected --runs to be a whole number ≥ 1. Received: 3,4"],
    [["--threads=1,x"], "expected --threads to be whole numbers ≥ 1. Received: 1,x"],
    [["--long"], "expected --scale beside --long. Received: none"],
    [["--with=new.json"], "expected --compare beside --with. Received: none"],
    [["--peers=jax,tf"], "expected --peers among pytorch, compile, lightning, jax, eager, xla. Received: tf"],
  ] as const)
    assert.throws(() => optionsOf(args), { message });
  assert.throws(() => optionsOf(["--row=gpt"]), /^Error: expected flags among .*--rows.*Received: --row=gpt$/);
});
