import assert from "node:assert/strict";
import { readdirSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { findPlugins } from "@nbit/xla";
import { blocksOf, compile, execute, guides, root, type Block } from "./blocks.js";

const blocks = guides.flatMap((path) => blocksOf(join(root, path)));
const { programs, errors } = compile(blocks);

test("the guides have code, and all of it compiles", () => {
  for (const path of guides) assert.ok(blocksOf(join(root, path)).length > 0, `${path} has no block`);
  assert.deepEqual(errors, []);
});

test("every page of docs with a program is among them", () => {
  const pages = readdirSync(join(root, "docs")).filter((name) => name.endsWith(".md"));
  const left = pages.map((name) => `docs/${name}`).filter((path) => !guides.includes(path));
  assert.deepEqual(
    left.filter((path) => blocksOf(join(root, path)).length > 0),
    [],
  );
});

const plugins = new Set(findPlugins().flatMap(({ platform, path }) => (path === null ? [] : [platform])));
/** Why a block cannot run here; false when it can. */
function lacking(needs: Block["needs"]): string | false {
  switch (needs) {
    case null:
      return false;
    case "gpu":
      return "needs a GPU: tests/gpu runs it";
    case "xla":
      return !plugins.has("cpu") && "needs the CPU plugin: nbit setup --xla";
    case "tpu":
      return !plugins.has("tpu") && "needs libtpu: nbit setup --tpu";
  }
}

blocks.forEach((block, i) => {
  test(
    `${block.document}:${block.line} prints what it says`,
    { skip: errors.length > 0 || lacking(block.needs) },
    async () => {
      const stdout = await execute(programs[i] ?? "");
      if (block.output !== null) assert.equal(stdout, block.output);
    },
  );
});
