/**
 * Runs the programs of guides and writes what they print into the blocks below them: `node tests/dist/docs/outputs.js
 * docs/getting-started.md …`; without a name, those of all guides. Blocks without output stay without.
 */
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { blocksOf, compile, execute, guides, root } from "./blocks.js";

const names = process.argv.slice(2);
for (const name of names.length > 0 ? names : guides) {
  const path = join(root, name);
  const blocks = blocksOf(path).filter(({ needs, output }) => needs === null && output !== null);
  const { programs, errors } = compile(blocks, "docs-outputs");
  if (errors.length > 0) throw new Error(`${name} does not compile:\n${errors.join("\n")}`);
  let text = readFileSync(path, "utf8");
  let changed = 0;
  for (const [i, { code, output }] of blocks.entries()) {
    const printed = await execute(programs[i] ?? "");
    if (printed === output) continue;
    const at = text.indexOf("```text\n", text.indexOf(code) + code.length) + "```text\n".length;
    text = text.slice(0, at) + printed + text.slice(at + (output ?? "").length);
    changed++;
  }
  if (changed > 0) writeFileSync(path, text);
  console.log(`${name}: ${blocks.length} outputs, ${changed} written`);
}
