import assert from "node:assert/strict";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import { watched } from "./watched.js";

const folder = mkdtempSync(join(tmpdir(), "nbit-watched-"));
after(() => {
  rmSync(folder, { recursive: true });
});
const journal = join(folder, "journal");
const child = (program: string, patience = 20, limitKb = 2_000_000) =>
  watched(["-e", `require("fs").writeFileSync("journal", "7 sound");${program}`], journal, patience, limitKb);

test("a child that reports its result and exits with 0 is not a finding", async () => {
  const { how, output, journal: written } = await child("console.log(1)");
  assert.deepEqual([how, output, written], [null, "1\n", "7 sound"]);
});

test("a child that exits with a code, by a signal, or with 0 and no result is a finding, with its last output", async () => {
  const failed = await child('console.log(1); console.error("a\\nb\\nc\\nd\\ne\\nf"); process.exit(3)');
  assert.deepEqual(failed.how, { kind: "end", what: "ended the process with exit code 3" });
  assert.deepEqual(failed.errors, ["b", "c", "d", "e", "f"]);
  assert.deepEqual((await child('process.kill(process.pid, "SIGKILL")')).how, {
    kind: "end",
    what: "ended the process with SIGKILL",
  });
  assert.deepEqual((await child("")).how, { kind: "end", what: "ended the process with exit code 0" });
});

test("a child that does not write its journal for too long is ended, and the finding has its last call", async () => {
  const { how, journal: written } = await child("for (;;);", 1);
  assert.deepEqual([how, written], [{ kind: "hang", what: "did not come back within 1 s" }, "7 sound"]);
});

test("a child that ends before its first call leaves an empty journal", async () => {
  const elsewhere = join(folder, "never");
  const { how, journal: written } = await watched(["-e", "process.exit(1)"], elsewhere, 20, 2_000_000);
  assert.deepEqual([how?.kind, written], ["end", ""]);
});

test("a child's memory is limited", async () => {
  const { output } = await child(
    "for (const bytes of [1e8, 2e9]) try { console.log(new ArrayBuffer(bytes).byteLength); } catch (error) { console.log(error.name); }",
    20,
    1_500_000,
  );
  assert.equal(output, "100000000\nRangeError\n");
});
