import assert from "node:assert/strict";
import { test } from "node:test";
import { continues, ReplayPlan, roleOf, steps, type WindowRole } from "./window-role.js";

/** What happens to each batch of some epochs of `length` batches, as the loop goes through them. */
function course(accumulate: number, length: number, epochs: number, plan = new ReplayPlan(accumulate)): string[] {
  const happened: string[] = [];
  let open = false;
  for (let i = 0; i < length * epochs; i++) {
    const batch = i % length;
    const role = roleOf(open, batch === length - 1 || (batch + 1) % accumulate === 0);
    const what = plan.next(role);
    happened.push(`${what} ${role}`);
    if (what === "eager") plan.ranEagerly(steps(role));
    else plan.recorded(role);
    open = !steps(role);
  }
  return happened;
}

test("a batch's role follows from the window's state", () => {
  const roles: readonly (readonly [boolean, boolean, WindowRole])[] = [
    [false, true, "whole"],
    [false, false, "opens"],
    [true, false, "within"],
    [true, true, "closes"],
  ];
  for (const [open, ends, role] of roles) {
    assert.equal(roleOf(open, ends), role);
    assert.equal(steps(role), ends);
    assert.equal(continues(role), open);
  }
});

test("with one batch to a step three batches run eagerly, then replays begin", () => {
  assert.deepEqual(course(1, 5, 1), ["eager whole", "eager whole", "eager whole", "record whole", "replay whole"]);
});

test("recording begins where a window opens, and each role is recorded at its first batch", () => {
  assert.deepEqual(course(2, 8, 1), [
    "eager opens",
    "eager closes",
    "eager opens",
    "eager closes",
    "record opens",
    "record closes",
    "replay opens",
    "replay closes",
  ]);
  assert.deepEqual(course(4, 12, 1).slice(4), [
    "record opens",
    "record within",
    "replay within",
    "record closes",
    "replay opens",
    "replay within",
    "replay within",
    "replay closes",
  ]);
});

test("the last window of an epoch runs eagerly if it has one batch, and is replayed if it has several", () => {
  assert.deepEqual(course(2, 5, 3).slice(4), [
    "eager whole",
    "record opens",
    "record closes",
    "replay opens",
    "replay closes",
    "eager whole",
    "replay opens",
    "replay closes",
    "replay opens",
    "replay closes",
    "eager whole",
  ]);
  assert.deepEqual(course(4, 6, 3).slice(4, 12), [
    "record opens",
    "record closes",
    "replay opens",
    "record within",
    "replay within",
    "replay closes",
    "replay opens",
    "replay closes",
  ]);
});

test("nothing is recorded before a step was made", () => {
  const plan = new ReplayPlan(2);
  for (let i = 0; i < 6; i++) {
    assert.equal(plan.next("opens"), "eager");
    plan.ranEagerly(false); // a step method that returns no loss leaves its window closed
  }
  plan.ranEagerly(true);
  assert.equal(plan.next("within"), "eager");
  assert.equal(plan.next("closes"), "eager");
  assert.equal(plan.begun, false);
  assert.equal(plan.next("opens"), "record");
});

test("a window left open by another number of batches is finished eagerly", () => {
  const one = new ReplayPlan(1);
  for (let i = 0; i < 4; i++) one.ranEagerly(true);
  assert.equal(one.next("closes"), "eager");
  assert.equal(one.next("whole"), "record");
});
