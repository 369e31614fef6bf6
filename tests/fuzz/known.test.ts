/**
 * Every call of known.ts gives a value or an error with a code. One that does not ends this file, which is a failure
 * too.
 */
import assert from "node:assert/strict";
import { test } from "node:test";
import { isTensor, scope, type Tensor } from "@nbit/torch";
import { CALLS, KNOWN } from "./known.js";
import { verdict } from "./calls.js";

const tensorsIn = (value: unknown): Tensor[] =>
  isTensor(value) ? [value] : Array.isArray(value) ? value.flatMap(tensorsIn) : [];

for (const [name, call] of Object.entries(CALLS))
  test(name, () => {
    // What is of no use is often found by who reads it.
    assert.equal(
      verdict(() => scope(() => void tensorsIn(call()).forEach((t) => t.toString()))),
      null,
    );
  });

test("the fuzz calls everything", () => {
  assert.deepEqual(KNOWN, []);
});
