import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { defaultText, TRAINER_OPTIONS } from "@nbit/lightning/options";
import { tableOf, withTable } from "./options-table.mjs";
import { root } from "./workspace.mjs";

test("the documented options of the Trainer are its rows", () => {
  const text = readFileSync(join(root, "docs", "trainer-options.md"), "utf8");
  assert.equal(withTable(text, tableOf(TRAINER_OPTIONS, defaultText)), text, "npm run api");
  const named = [...text.matchAll(/^\| `(\w+)` \|/gm)].map(([, name]) => name);
  assert.deepEqual(named, Object.keys(TRAINER_OPTIONS));
});

test("a line has the default, the values and what only a program can give", () => {
  const rows = {
    speed: { default: 3, flag: ["number"], values: "1|2", summary: "how fast" },
    hooks: { defaultWords: "none", flag: null, summary: "what runs" },
  };
  assert.equal(
    tableOf(rows, defaultText),
    "| option | default | what it is |\n|---|---|---|\n| `speed` | 3 | How fast (1\\|2) |\n| `hooks` | none | What runs; in a program only |\n",
  );
  assert.throws(() => withTable("# No block\n", ""), /no block/);
});
