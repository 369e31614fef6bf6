/**
 * The table of the Trainer's options in `docs/trainer-options.md`, made from the rows that the Trainer and the command
 * read: `npm run api` writes it, `npm run drift` (`--check`) fails where it says something else.
 */
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { root } from "./workspace.mjs";

const FILE = join("docs", "trainer-options.md");
const BLOCK = /(<!-- Written by `npm run api`; not edited\. -->\n)[^]*?(<!-- End\. -->)/;

const cell = (text) => text.replaceAll("|", "\\|");
const sentence = (text) => text[0].toUpperCase() + text.slice(1);

/** The table, a line for each option. */
export function tableOf(rows, defaultText) {
  const lines = Object.entries(rows).map(([name, { summary, values, flag, ...row }]) => {
    const what =
      sentence(summary) + (values === undefined ? "" : ` (${values})`) + (flag === null ? "; in a program only" : "");
    return `| \`${name}\` | ${cell(defaultText(row))} | ${cell(what)} |`;
  });
  return ["| option | default | what it is |", "|---|---|---|", ...lines, ""].join("\n");
}

/** A document with this table in its block. */
export function withTable(text, table) {
  if (!BLOCK.test(text)) throw new Error(`${FILE} has no block for the table`);
  return text.replace(BLOCK, (_, begin, end) => begin + table + end);
}

async function main() {
  const { TRAINER_OPTIONS, defaultText } = await import("@nbit/lightning/options");
  const text = readFileSync(join(root, FILE), "utf8");
  const wanted = withTable(text, tableOf(TRAINER_OPTIONS, defaultText));
  if (wanted === text) return;
  if (!process.argv.includes("--check")) writeFileSync(join(root, FILE), wanted);
  else {
    console.error(`${FILE} is not what the rows of the options say. Fix: npm run api`);
    process.exitCode = 1;
  }
}

if (process.argv[1] === join(root, "tools", "options-table.mjs")) await main();
