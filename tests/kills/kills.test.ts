import assert from "node:assert/strict";
import { test } from "node:test";
import { campaign } from "./campaign.js";

test("a fit that is killed repeatedly ends like an undisturbed one, bit for bit", async () => {
  const { failures, kills, bySignal } = await campaign(5, 52);
  assert.deepEqual(failures, []);
  assert.ok(kills >= 5 && Object.keys(bySignal).length > 1, JSON.stringify(bySignal));
});
