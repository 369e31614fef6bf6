import assert from "node:assert/strict";
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { anchorsOf, deadLinks, documents, faults, missingPaths } from "./documents.mjs";

test("links, pictures, headings and paths in the documents exist", () => {
  const all = documents();
  assert.ok(all.length > 30 && all.includes("README.md") && all.includes("docs/decisions/README.md"), all.join(", "));
  assert.deepEqual(faults(), []);
});

test("what leads nowhere is found, with its line", (t) => {
  const base = mkdtempSync(join(tmpdir(), "nbit-documents-"));
  t.after(() => rmSync(base, { recursive: true, force: true }));
  mkdirSync(join(base, "docs"));
  mkdirSync(join(base, "tools"));
  mkdirSync(join(base, "packages", "a"), { recursive: true });
  writeFileSync(join(base, "docs", "b.md"), "# One thing: `two`\n");
  writeFileSync(join(base, "tools", "c.mjs"), "");

  assert.deepEqual(
    deadLinks(
      "docs/a.md",
      "[b](b.md), [b](b.md#one-thing-two), [x](https://x.org/none), `[no](link.md)`\n```\n[no](link.md)\n```\n",
      base,
    ),
    [],
  );
  assert.deepEqual(deadLinks("docs/a.md", 'x\n[b](c.md) [b](b.md#three)\n<img src="d.png">\n[e]: f.md', base), [
    [2, "c.md does not exist"],
    [2, "b.md#three: no such heading"],
    [3, "d.png does not exist"],
    [4, "f.md does not exist"],
  ]);
  assert.deepEqual(deadLinks("packages/a/README.md", "[b](../../docs/b.md)", base), [
    [1, "../../docs/b.md leads out of the package"],
  ]);

  assert.deepEqual(
    missingPaths("`docs/b.md`, `tools/*.mjs`, `{x}`, `npm run docs/x`, `packages/a/dist/x.js`, `elsewhere/x.ts`", base),
    [],
  );
  assert.deepEqual(missingPaths("`docs/{b,d}.md`\n`tools/*.test.mjs` `tools/c.mjs/d`", base), [
    [1, "docs/d.md"],
    [2, "tools/*.test.mjs"],
    [2, "tools/c.mjs/d"],
  ]);
});

test("anchors are those of GitHub", () => {
  assert.deepEqual(anchorsOf("# A b\n## `c` & d_e\n## A b\n```\n# no\n```\n## [f](g.md), h"), [
    "a-b",
    "c--d_e",
    "a-b-1",
    "f-h",
  ]);
});
