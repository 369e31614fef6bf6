import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { canMake, packageFolder } from "./places.mjs";

const PLACES = new URL("places.mjs", import.meta.url).href;

function cacheWith(env) {
  const program = `import(${JSON.stringify(PLACES)}).then(({ cacheFolder }) => process.stdout.write(cacheFolder()))`;
  const { XDG_CACHE_HOME: _, NBIT_HOME: __, ...rest } = process.env;
  return execFileSync(process.execPath, ["-e", program], { env: { ...rest, ...env }, encoding: "utf8" });
}

test("the cache of a clone whose user has no home to write to is the clone's", (t) => {
  const folder = mkdtempSync(join(tmpdir(), "nbit-places-"));
  t.after(() => rmSync(folder, { recursive: true }));
  const file = join(folder, "file");
  writeFileSync(file, "");
  assert.equal(cacheWith({ HOME: folder }), join(folder, ".cache", "nbit"));
  assert.equal(cacheWith({ HOME: file }), join(packageFolder, "..", "..", "build", "cache"));
  assert.equal(cacheWith({ HOME: file, XDG_CACHE_HOME: join(file, "x") }), join(file, "x", "nbit")); // as asked
  assert.equal(cacheWith({ HOME: file, NBIT_HOME: join(file, "y"), XDG_CACHE_HOME: file }), join(file, "y"));
  assert.deepEqual([folder, join(folder, "a", "b"), file, join(file, "a")].map(canMake), [true, true, false, false]);
});
