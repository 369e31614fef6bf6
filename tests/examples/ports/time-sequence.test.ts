import { comparesWithTwin, onGpu, runs } from "./check.js";
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import { train } from "nbit-examples/time-sequence/train";

// A line search compares losses: where roots differ in the last bit, so do its steps.
comparesWithTwin({
  name: "time-sequence",
  train,
  steps: 4,
  atEnd: ["future"],
  distance: { 32: 1e-3, bf16: 0.2, 16: 0.2 },
});

test("time-sequence: precision 64", { skip: onGpu && "its twin ran on a CPU" }, () => {
  const twin = JSON.parse(
    readFileSync(new URL("../../../../examples/time-sequence/losses.json", import.meta.url), "utf8"),
  ) as { readonly curves: { readonly "64": { readonly loss: readonly number[]; readonly future: readonly number[] } } };
  const { loss, future } = train({ steps: 4 });
  for (const [ours, theirs] of [
    [loss, twin.curves[64].loss],
    [future, twin.curves[64].future],
  ] as const) {
    assert.equal(ours.length, theirs.length);
    ours.forEach((value, i) => assert.ok(Math.abs(value / (theirs[i] as number) - 1) < 1e-7, `${value}, ${theirs[i]}`));
  }
});
runs("time-sequence", /^step 1: loss /);
