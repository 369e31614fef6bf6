import assert from "node:assert/strict";
import { readdirSync, readFileSync } from "node:fs";
import { dirname, join, posix } from "node:path";
import { test } from "node:test";
import ts from "typescript";
import { pack } from "./pack.mjs";
import { root, workspaces } from "./workspace.mjs";

test("a package holds what it exports and imports, and no tests", () => {
  const packed = new Map(pack(["--dry-run"]).map(({ name, files }) => [name, new Set(files.map(({ path }) => path))]));
  assert.ok(packed.size >= 7);
  for (const { name, folder, manifest } of workspaces()) {
    const files = packed.get(name);
    if (files === undefined) continue;
    const targets = [
      ...Object.values(manifest.exports ?? {}).flatMap((entry) => Object.values(entry)),
      ...Object.values(manifest.bin ?? {}),
    ];
    const binaries = name.startsWith("@nbit/native-"); // for nobody to import
    assert.ok(targets.length > 0 || binaries, name);
    assert.ok(files.has("README.md"), name);
    assert.equal(readFileSync(join(folder, "LICENSE"), "utf8"), readFileSync(join(root, "LICENSE"), "utf8"), name);
    for (const word of [manifest.description, ...(manifest.keywords ?? [])]) assert.ok(word?.length > 1, name);
    for (const target of targets) assert.ok(files.has(target.replace(/^\.\//, "")), `${name} lacks ${target}`);
    for (const path of files) {
      assert.doesNotMatch(path, /\.test\.|\/testing\//, name);
      if (!/\.m?js$/.test(path)) continue;
      // What it imports of its own package is there too.
      // By the compiler's own scanner: a template that holds source text is no import.
      for (const { fileName: specifier } of ts.preProcessFile(readFileSync(join(folder, path), "utf8")).importedFiles) {
        if (!specifier.startsWith(".")) continue;
        const target = posix.join(dirname(path), specifier);
        assert.ok(files.has(target), `${name}: ${path} imports ${specifier}, which is not packed`);
      }
    }
  }
  // The addon is compiled where it is installed.
  const native = packed.get("@nbit/native");
  for (const file of readdirSync(join(root, "packages/native/src"), { recursive: true }))
    if (/\.\w+$/.test(file) && !/(^|\/)\./.test(file)) assert.ok(native?.has(`src/${file}`), file);
  assert.ok(native?.has("generated/hot.cc"));
});
