/**
 * Runs random calls until time is up. A process of its own: should libtorch abort or a kernel read where it must not, the file named last says which call it was.
 *
 *     node worker.js <seed> <seconds> <journal file> <public|hidden> [operators to leave out, comma-separated] [only these]
 */
import { openSync, writeSync } from "node:fs";
import fc from "fast-check";
import { setNumThreads } from "@nbit/torch";
import { attempt, callOf, showCall, verdict } from "./calls.js";
import { handmade } from "./handmade.js";
import { surface } from "./surface.js";

const [seed = "1", seconds = "10", journal = "/dev/null", which = "public", leftOut = "", only = ""] = process.argv.slice(2);
const skipped = new Set(leftOut.split(","));
const wanted = only === "" ? null : new Set(only.split(","));
const targets = [...surface(which === "hidden"), ...(which === "hidden" ? [] : handmade())].filter((t) => !skipped.has(t.name) && (wanted === null || wanted.has(t.name)));
const file = openSync(journal, "w");

setNumThreads(1);
process.on("warning", () => undefined);

let calls = 0;
let passed = 0;
const found: string[] = [];
const deadline = performance.now() + Number(seconds) * 1000;

/** One line of fixed width, overwritten before each call. */
function note(line: string): void {
  writeSync(file, Buffer.from(line.slice(0, 1999).padEnd(2000)), 0, 2000, 0);
}

// Every operator gets its turn before any gets its second.
for (let round = 0; performance.now() < deadline && targets.length > 0; round++) {
  for (const target of targets) {
    if (performance.now() >= deadline) break;
    try {
      fc.assert(
        fc.property(callOf(target), (call) => {
          note(showCall(target.name, call));
          calls++;
          const run = attempt(target, call);
          const wrong = verdict(() => {
            const result = run();
            passed++;
            return result;
          });
          if (wrong !== null) throw new Error(`${showCall(target.name, call)}\n${wrong}`);
        }),
        { seed: Number(seed) + round * 7919 + targets.indexOf(target), numRuns: 5, endOnFailure: false },
      );
    } catch (error) {
      found.push(String(error instanceof Error && error.cause instanceof Error ? error.cause.message : error));
    }
  }
}
note("");
console.log(JSON.stringify({ operators: targets.length, calls, passed, found }));
