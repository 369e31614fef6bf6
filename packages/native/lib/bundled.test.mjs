import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import { checkBundled } from "./bundled.mjs";

const folder = mkdtempSync(join(tmpdir(), "nbit-bundled-"));
after(() => rmSync(folder, { recursive: true, force: true }));
const code = (expected) => (error) => error.code === expected && error.message.includes("Fix: ");

test("code that does not lie in its package says which setting keeps it there", () => {
  checkBundled();
  assert.throws(() => checkBundled(folder), code("NBIT_BUNDLED"));
  writeFileSync(join(folder, "package.json"), '{ "name": "project" }');
  assert.throws(() => checkBundled(folder), /of project[\s\S]*Next\.js +serverExternalPackages/);
  writeFileSync(join(folder, "package.json"), "no JSON");
  assert.throws(() => checkBundled(folder), code("NBIT_BUNDLED"));
});

test("Electron is refused before anything is loaded", () => {
  const program = `
    Object.defineProperty(process, "versions", { value: { ...process.versions, electron: "45.5.0" } });
    await import(${JSON.stringify(new URL("index.mjs", import.meta.url).href)}).catch((e) => console.log(e.code));`;
  const { stdout } = spawnSync(process.execPath, ["--input-type=module", "-e", program], { encoding: "utf8" });
  assert.equal(stdout, "NBIT_ELECTRON\n");
});
