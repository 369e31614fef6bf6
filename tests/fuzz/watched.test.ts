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
const child = (program: string, patience = 20, limitKb = 2_000_000) => watched(["-e", `require("fs").writeFileSync("journal", "7 sound");${program}`], journal, patience, limitKb);

test("a child that says something and ends well is not a finding", async () => {
  const { how, output, journal: written } = await child("console.log(1)");
  assert.deepEqual([how, output, written], [null, "1\n", "7 sound"]);
});

test("a child that ends otherwise is one, with its last words: exit codes, signals, exit code 0 without a word", async () => {
  const failed = await child('console.log(1); console.error("a\\nb\\nc\\nd\\ne\\nf"); process.exit(3)');
  assert.deepEqual(failed.how, { kind: "end", what: "ended the process with exit code 3" });
  assert.deepEqual(failed.errors, ["b", "c", "d", "e", "f"]);
  assert.deepEqual((await child('process.kill(process.pid, "SIGKILL")')).how, { kind: "end", what: "ended the process with SIGKILL" });
  assert.deepEqual((await child("")).how, { kind: "end", what: "ended the process with exit code 0" });
});

test("a child that leaves its journal alone for too long is ended, and says what it was at", async () => {
  const { how, journal: written } = await child("for (;;);", 1);
  assert.deepEqual([how, written], [{ kind: "hang", what: "did not come back within 1 s" }, "7 sound"]);
});

test("a child that does not come as far as its journal leaves that empty", async () => {
  const elsewhere = join(folder, "never");
  const { how, journal: written } = await watched(["-e", "process.exit(1)"], elsewhere, 20, 2_000_000);
  assert.deepEqual([how?.kind, written], ["end", ""]);
});

test("a child holds so much data and no more", async () => {
  const { output } = await child('for (const bytes of [1e8, 2e9]) try { console.log(new ArrayBuffer(bytes).byteLength); } catch (error) { console.log(error.name); }', 20, 1_500_000);
  assert.equal(output, "100000000\nRangeError\n");
});
