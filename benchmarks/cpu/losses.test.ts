import assert from "node:assert/strict";
import { test } from "node:test";
import { compareLosses } from "./losses.js";

test("losses are equal, close, or differ from a step on", () => {
  assert.equal(compareLosses([2, 1], [2, 1], 0), "equal");
  assert.equal(compareLosses([2, 1.00009], [2, 1], 1e-4), "close");
  assert.deepEqual(compareLosses([2, 1.0002], [2, 1], 1e-4), { differs: "loss 1.0002 and 1 at step 1" });
  assert.deepEqual(compareLosses([2], [2, 1], 1e-4), { differs: "1 and 2 losses" });
  assert.deepEqual(compareLosses([], [], 1), { differs: "0 and 0 losses" });
});

test("a loss that is not a number differs from every other", () => {
  assert.deepEqual(compareLosses([NaN], [NaN], 1), { differs: "loss NaN and NaN at step 0" });
  assert.deepEqual(compareLosses([1], [NaN], 1), { differs: "loss 1 and NaN at step 0" });
});
