/**
 * What nbit works with, tried: package managers, bundlers, runtimes, test runners, versions of TypeScript. Every row
 * installs this checkout's tarballs into a folder of its own outside of the clone.
 *
 *     npm run test:matrix                  all rows
 *     npm run test:matrix -- bun deno      rows whose group or name contains a word
 *     npm run test:matrix -- --quick       a row or two of each group, and no results are kept
 *
 * Results are kept in tools/matrix/results.json, and shown in docs/support.md.
 */
import { performance } from "node:perf_hooks";
import { openPlace } from "./place.mjs";
import { keep } from "./table.mjs";
import { groups } from "./rows/index.mjs";

const words = process.argv.slice(2).filter((word) => !word.startsWith("-"));
const quick = process.argv.includes("--quick");
const wanted = (group, row) =>
  words.length > 0
    ? words.some((word) => `${group} ${row.name}`.toLowerCase().includes(word.toLowerCase()))
    : !quick || row.quick === true;

const place = await openPlace();
const results = [];
const tried = new Date().toISOString().slice(0, 10);
try {
  for (const { title, rows } of groups) {
    for (const row of rows.filter((r) => wanted(title, r))) results.push(await attempt(title, row));
  }
} finally {
  place.close();
}

async function attempt(group, row) {
  const began = performance.now();
  const result = {
    group,
    name: row.name,
    version: await row.version(),
    note: row.note,
    result: row.refused ?? "works",
    tried,
  };
  try {
    const note = await row.run(place);
    if (typeof note === "string") result.note = note;
  } catch (error) {
    Object.assign(result, { result: "fails", note: String(error.message).split("\n")[0] });
    console.error(error.message ?? error);
  }
  const seconds = ((performance.now() - began) / 1000).toFixed(1);
  console.log(`${result.result.padEnd(8)} ${seconds.padStart(6)} s  ${group}: ${row.name} ${result.version}`);
  return result;
}

const failed = results.filter(({ result }) => result === "fails").length;
console.log(`matrix: ${results.length} rows, ${failed} fail`);
if (!quick) keep(results, groups);
if (failed > 0 || results.length === 0) process.exitCode = 1;
