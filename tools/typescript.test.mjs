import assert from "node:assert/strict";
import { existsSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { test } from "node:test";
import { removeOrphans, sourceOf } from "./typescript.mjs";

test("output of a source that has gone is removed; everything else stays", (t) => {
  const folder = mkdtempSync(join(tmpdir(), "nbit-tools-"));
  t.after(() => rmSync(folder, { recursive: true, force: true }));
  const [source, dist] = [join(folder, "src"), join(folder, "dist")];
  const write = (path) => {
    mkdirSync(dirname(join(folder, path)), { recursive: true });
    writeFileSync(join(folder, path), "");
  };
  for (const path of [
    "src/deep/kept.ts",
    "src/module.mts",
    "dist/deep/kept.js",
    "dist/deep/kept.d.ts",
    "dist/deep/kept.js.map",
    "dist/deep/gone.test.js",
    "dist/deep/gone.test.d.ts",
    "dist/report.html",
  ])
    write(path);
  removeOrphans([{ source, dist }]);
  const left = (path) => existsSync(join(dist, path));
  assert.ok(left("deep/kept.js") && left("deep/kept.d.ts") && left("deep/kept.js.map") && left("report.html"));
  assert.ok(!left("deep/gone.test.js") && !left("deep/gone.test.d.ts"));
  assert.equal(sourceOf(join(dist, "deep", "kept.js"), source, dist), join(source, "deep", "kept.ts"));
});
