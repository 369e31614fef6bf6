import assert from "node:assert/strict";
import { test } from "node:test";
import { campaign } from "./campaign.js";

test("a fit that is killed again and again comes to the same end, to the last bit", async () => {
  const { failures, kills, bySignal } = await campaign(5, 52);
  assert.deepEqual(failures, []);
  assert.ok(kills >= 5 && Object.keys(bySignal).length > 1, JSON.stringify(bySignal));
});
