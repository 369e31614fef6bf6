import assert from "node:assert/strict";
import { test } from "node:test";
import { kills, names } from "./campaign/kills.js";

test("a training of which ranks are killed ends like one that nobody disturbed", async () => {
  const { failures, table } = await kills.run({ seed: 5, kills: 2, combinations: 1, ranks: 3, say: () => undefined });
  assert.deepEqual(failures, []);
  assert.match(table.join("\n"), /\| [12] \| 2 \|/);
});

test("an error names the rank that is lost, not the one that says so", () => {
  assert.ok(names(1, "rank 0 at step 3, waiting in barrier(): rank 1 has died, or was cut off"));
  assert.ok(!names(0, "rank 0 at step 3, waiting in barrier(): rank 1 has died, or was cut off"));
  assert.ok(names(0, "the store, in the process of rank 0, has not answered for 3000 ms"));
  assert.ok(names(2, "Missing: rank 1, 2"));
});
