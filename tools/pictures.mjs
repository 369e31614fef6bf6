/**
 * The drawn pictures of the guides, in `docs/pictures`, for light and dark: `node tools/pictures.mjs`. What they show is
 * run or read anew, on the CPU, in seconds; `--check` fails where that is not what the pictures show.
 */
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import * as autocast from "./pictures/autocast.mjs";
import * as lossScale from "./pictures/loss-scale.mjs";
import * as memory from "./pictures/memory.mjs";
import { THEMES } from "./pictures/svg.mjs";
import { root } from "./workspace.mjs";

const folder = join(root, "docs", "pictures");
const check = process.argv.includes("--check");
const drawn = {
  autocast: [autocast.draw, await autocast.operators()],
  "loss-scale": [lossScale.draw, await lossScale.curve()],
  memory: [memory.draw, memory.rows()],
};

const stale = [];
for (const [name, [draw, facts]] of Object.entries(drawn))
  for (const [mode, theme] of Object.entries(THEMES)) {
    const file = join(folder, `${name}-${mode}.svg`);
    const text = draw(facts, theme);
    if (!check) writeFileSync(file, text);
    else if (readFileSync(file, "utf8") !== text) stale.push(`docs/pictures/${name}-${mode}.svg`);
  }
for (const file of stale) console.error(`${file} is not what runs show. Fix: node tools/pictures.mjs`);
console.log(`pictures: ${Object.keys(drawn).length} in ${Object.keys(THEMES).length} themes, ${stale.length} stale`);
if (stale.length > 0) process.exitCode = 1;
