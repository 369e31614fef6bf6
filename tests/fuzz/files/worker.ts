/**
 * Reads mutated files, one after the other. A process of its own: should one end it, the journal says which, and the
 * file lies in the folder.
 *
 *     node worker.js <seed> <first index> <end> <folder> [mutations to keep, comma-separated]
 */
import { mkdirSync, openSync, writeSync } from "node:fs";
import { join } from "node:path";
import { setNumThreads } from "@nbit/torch";
import { attempt, mutated, soundFile, subjectOf } from "./case.js";

const [seed = "1", from = "0", end = "100", folder = ".", keep = ""] = process.argv.slice(2);
setNumThreads(1);
process.on("warning", () => undefined);
// What a late callback throws is a finding of the file in progress.
const late: string[] = [];
process.on("uncaughtException", (error) =>
  late.push(`an exception that nobody caught: ${error.stack ?? error.message}`),
);
process.on("unhandledRejection", (error) => late.push(`a rejection that nobody caught: ${String(error)}`));

mkdirSync(folder, { recursive: true });
const journal = openSync(join(folder, "journal"), "w");
const kinds: Record<string, Record<string, number>> = {};
const wrong: { index: number; what: string }[] = [];
const kept = keep === "" ? undefined : keep.split(",").map(Number);
const print = console.log;
console.log = () => undefined;

// Whoever waits for what never comes ends the process, quietly: that too is a finding.
let done = false;
process.on("exit", () => {
  if (!done) process.exitCode = 3;
});

try {
  for (let index = Number(from); index < Number(end); index++) {
    const subject = subjectOf(index);
    writeSync(journal, `${index} sound`.padEnd(20), 0);
    const file = await soundFile(subject, folder);
    writeSync(journal, String(index).padEnd(20), 0);
    const outcome = await attempt(subject, mutated(file, subject, Number(seed), index, kept).bytes, folder);
    const of = (kinds[subject.name] ??= {});
    const code = "code" in outcome ? outcome.code : "WRONG";
    of[code] = (of[code] ?? 0) + 1;
    if ("wrong" in outcome) wrong.push({ index, what: outcome.wrong });
    for (const what of late.splice(0)) wrong.push({ index, what });
  }
} catch (error) {
  // Of this program, not of a file.
  console.error(error);
  process.exit(4);
}
done = true;
print(JSON.stringify({ kinds, wrong }));
