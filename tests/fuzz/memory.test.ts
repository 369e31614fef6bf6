/**
 * Two hundred allocations that fail, over all plans, drawn anew from a seed: NBIT_FUZZ_SEED. Every one of them: `npm
 * run fuzz:memory`.
 */
import assert from "node:assert/strict";
import { test } from "node:test";
import { failEach } from "./memory.js";
import { PLANS, type PlanName } from "./memory-plans.js";

const seed = Number(process.env["NBIT_FUZZ_SEED"] ?? 2026);
const ALLOCATIONS = 200;
const plans = Object.keys(PLANS) as PlanName[];

for (const [i, plan] of plans.entries()) {
  test(`${plan}: fits and saves in which an allocation fails (seed ${seed})`, async () => {
    // About as many as there are; those beyond the last fail nothing, and must change nothing.
    let state = seed * 7919 + i;
    const which = Array.from(
      { length: Math.ceil(ALLOCATIONS / plans.length) },
      () => 1 + ((state = (state * 48271) % 2147483647) % 450),
    );
    const { allocations, findings } = await failEach(plan, which);
    assert.ok(allocations > 200, `${allocations} allocations`);
    assert.deepEqual(
      findings.filter((finding) => finding.wrong !== null),
      [],
    );
    assert.equal(findings.length, which.length);
    // A fuzz in which nothing fails tests nothing.
    assert.ok(findings.filter((finding) => /memory/.test(finding.outcome)).length > which.length / 2);
  });
}
