/**
 * Damaged files of every kind that is read: always what was asked for, or an error with a code; never a dead process,
 * nor one that does not come back.
 *
 *     npm run fuzz:files -- --files 40000 --seed 7
 */
import assert from "node:assert/strict";
import { test } from "node:test";
import { temporaryFolder } from "../helpers/temporary-folder.js";
import { mutated, soundFile, subjectOf } from "./files/case.js";
import { fuzzFiles } from "./files/driver.js";
import { SUBJECTS } from "./files/subjects.js";

const folder = temporaryFolder("files");

test("mutated files are read, or refused with a code", async () => {
  const report = await fuzzFiles({ seed: 2026, files: 420 });
  assert.deepEqual(report.findings, []);
  assert.equal(report.files, 420);
  assert.deepEqual(Object.keys(report.outcomes).sort(), SUBJECTS.map((s) => s.name).sort(), "every kind had its turn");
  // A fuzz whose files all fail at the door tests the door only.
  const counts = Object.values(report.outcomes).flatMap((codes) => Object.entries(codes));
  const sum = (of: (code: string) => boolean): number =>
    counts.reduce((n, [code, times]) => n + (of(code) ? times : 0), 0);
  assert.ok(sum((code) => code === "ok") > 40, "some are read");
  assert.ok(
    sum((code) => code === "CHECKPOINT_STATE" || code === "OPTIMIZER_STATE") > 60,
    "some are refused far inside",
  );
});

test("a seed and an index always give the same file", async () => {
  for (const index of [3, 40, 61]) {
    const subject = subjectOf(index);
    const file = await soundFile(subject, folder);
    const once = mutated(file, subject, 7, index);
    assert.ok(once.bytes.equals(mutated(file, subject, 7, index).bytes));
    assert.ok(!once.bytes.equals(mutated(file, subject, 8, index).bytes) || once.bytes.length === 0);
    assert.ok(mutated(file, subject, 7, index, []).bytes.equals(file), "without its mutations it is the sound one");
  }
});
