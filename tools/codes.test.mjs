import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { FAMILIES } from "../packages/cli/dist/codes/index.js";
import * as sections from "../packages/cli/dist/codes/section.js";
import { codesOfSources, faultsOfTable, pages } from "./codes.mjs";
import { root } from "./workspace.mjs";

test("every code of the sources has a row, every row is raised, and the pages are current", async () => {
  assert.deepEqual(faultsOfTable(FAMILIES), []);
  for (const [name, text] of await pages(FAMILIES, sections))
    assert.equal(readFileSync(join(root, name), "utf8"), text, `${name}: node tools/codes.mjs`);
});

test("a code without a row, a row without a code, and one of another package are found", () => {
  const sources = new Map([...codesOfSources(), ["ERR_NEW", new Set(["torch"])]]);
  sources.delete("SCOPE_ASYNC");
  sources.set("ERR_CLIP", new Set(["vision"]));
  const faults = faultsOfTable(FAMILIES, sources).join("\n");
  assert.match(faults, /^ERR_CLIP: packages\/lightning does not raise it; vision does$/m);
  assert.match(faults, /^SCOPE_ASYNC is in the table \(tensors\), and nothing raises it$/m);
  assert.match(faults, /^ERR_NEW of torch is not in packages\/cli\/src\/codes\/table\./m);
  assert.equal(faults.split("\n").length, 3);
});
