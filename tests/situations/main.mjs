/**
 * Set-up and the first program where something is missing, broken, full or not allowed: each is tried, and must answer
 * with a message that names the next command. `node tests/situations/main.mjs [WORD]`; as root on Debian all of them,
 * else those that need no root, and which were not run is said. The table of docs/set-up.md has a row for each.
 */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { isRoot, place, root } from "./place.mjs";
import { situations } from "./table.mjs";

const word = process.argv[2] ?? "";
const page = readFileSync(join(root, "docs", "set-up.md"), "utf8");
let failed = 0;
let skipped = 0;
const chosen = situations.filter(({ name }) => name.includes(word));
for (const { name, needs, folder, run, expect } of chosen) {
  const began = performance.now();
  const tell = (mark, text) =>
    console.log(`${mark} ${name}${text} (${((performance.now() - began) / 1000).toFixed(1)} s)`);
  const missing = needs === undefined ? null : needs();
  if (missing !== null) {
    skipped++;
    tell("-", `: not run, ${missing}`);
    continue;
  }
  const project = place(folder);
  try {
    const problems = await judge(await run(project), expect);
    if (!page.includes(`| ${name} |`)) problems.push("docs/set-up.md has no row for it");
    if (problems.length > 0) failed++;
    tell(problems.length > 0 ? "✗" : "✓", problems.map((problem) => `\n    ${problem}`).join(""));
  } catch (error) {
    failed++;
    tell("✗", `\n    ${error.stack}`);
  } finally {
    project.end();
  }
}
console.log(`${chosen.length - failed - skipped} situations as they should be, ${failed} not, ${skipped} not run`);
if (!isRoot && skipped > 0) console.log("as root, more of them run");
process.exitCode = failed > 0 || chosen.length === 0 ? 1 : 0;

function judge({ status, output }, { code = null, says }) {
  const problems = [];
  const expected = code === null ? 0 : 1;
  if (status !== expected) problems.push(`ended with ${status}, expected ${expected}`);
  if (code !== null && !output.includes(`${code}: `)) problems.push(`expected ${code}`);
  if (code !== null && !/^ +Fix: \S/m.test(output)) problems.push("names no next command");
  if (code !== null && /^ +at .*:\d+:\d+\)?$/m.test(output)) problems.push("shows a stack");
  for (const each of says) if (!each.test(output)) problems.push(`expected ${each}`);
  if (problems.length > 0) problems.push(`said: ${output.trim().slice(-3000)}`);
  return problems;
}
