/**
 * Random calls of every operator and of every other export, with arguments that fit, that nearly fit and that do not:
 * always a value or a JavaScript error with a code, never a dead process, and no tensor left behind.
 *
 *     NBIT_FUZZ_SECONDS=300 NBIT_FUZZ_SEED=7 node --test tests/dist/fuzz/fuzz.test.js
 */
import assert from "node:assert/strict";
import { test } from "node:test";
import { fuzz } from "./driver.js";
import { KNOWN } from "./known.js";

const seconds = Number(process.env["NBIT_FUZZ_SECONDS"] ?? 20);
const seed = Number(process.env["NBIT_FUZZ_SEED"] ?? 2026);

test(`operators and the tensor class under ${seconds} seconds of random calls (seed ${seed})`, async () => {
  const report = await fuzz({ seed, seconds, which: "public", leftOut: KNOWN.map((k) => k.operator) });
  const deadly = report.deadly.map((d) => `${d.call}\n  ${d.how}`);
  assert.deepEqual(deadly, [], "calls that ended the process");
  assert.deepEqual(report.wrong, [], "calls with a wrong outcome");
  // A fuzz whose calls all fail at the door tests the door only.
  assert.ok(report.operators > 900, `only ${report.operators} operators were found`);
  assert.ok(report.calls > 1000, `only ${report.calls} calls were made`);
  assert.ok(report.passed > report.calls / 20, `only ${report.passed} of ${report.calls} calls returned a value`);
});

const exportSeconds = Number(process.env["NBIT_FUZZ_SECONDS"] ?? 10);
test(`every other export under ${exportSeconds} seconds of hostile values (seed ${seed})`, async () => {
  const report = await fuzz({ seed, seconds: exportSeconds, which: "exports", leftOut: [] });
  assert.deepEqual(
    report.deadly.map((d) => `${d.call}\n  ${d.how}`),
    [],
    "calls that ended the process",
  );
  assert.deepEqual(report.wrong, [], "calls with a wrong outcome");
  assert.ok(report.operators > 400, `only ${report.operators} exports were found`);
  assert.ok(report.calls > 1000, `only ${report.calls} calls were made`);
});
