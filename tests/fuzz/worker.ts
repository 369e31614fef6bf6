/**
 * Runs random calls until their number or the time is used up; or the one call of a file. A process of its own: should
 * libtorch abort or a kernel read where it must not, the journal says which call it was.
 *
 *     node worker.js <seed> <seconds> <journal file> <public|hidden|exports> <calls> [operators to leave out, comma-separated] [only these]
 *     node worker.js replay <file with a call>
 */
import { ftruncateSync, openSync, readFileSync, writeSync } from "node:fs";
import fc from "fast-check";
import { setNumThreads } from "@nbit/torch";
import { attempt, callOf, showCall, verdict } from "./calls.js";
import { exportTargets } from "./exports.js";
import { handmade } from "./handmade.js";
import { read, write } from "./journal.js";
import { surface, type Target } from "./surface.js";

setNumThreads(1);
process.on("warning", () => undefined);

function targetsOf(which: string): Target[] {
  return which === "hidden"
    ? surface(true)
    : which === "exports"
      ? exportTargets()
      : [...surface(false), ...handmade()];
}

function replay(path: string): void {
  const { target: name, call } = read(readFileSync(path, "utf8"));
  const target = ["public", "hidden", "exports"].flatMap(targetsOf).find((t) => t.name === name);
  if (target === undefined) throw new Error(`no target ${name}`);
  const wrong = verdict(attempt(target, call), target.leavesTensors);
  console.log(wrong === null ? "a value or an error with a code" : wrong);
}

function run(
  seed: number,
  seconds: number,
  journal: string,
  which: string,
  limit: number,
  leftOut: string,
  only: string,
): void {
  const skipped = new Set(leftOut.split(","));
  const wanted = only === "" ? null : new Set(only.split(","));
  const all = targetsOf(which).filter((t) => !skipped.has(t.name) && (wanted === null || wanted.has(t.name)));
  const file = openSync(journal, "w");
  /** The call that is about to be made, written over the one before. */
  const note = (line: string): void => {
    const bytes = Buffer.from(line);
    writeSync(file, bytes, 0, bytes.length, 0);
    ftruncateSync(file, bytes.length);
  };
  let calls = 0;
  let passed = 0;
  const found: string[] = [];
  const deadline = performance.now() + seconds * 1000;
  const over = (): boolean => performance.now() >= deadline || calls >= limit;
  // Every operator gets its turn before any gets its second; where a process begins is as random as its calls.
  const start = Math.abs(seed) % Math.max(1, all.length);
  for (let round = 0; !over() && all.length > 0; round++) {
    for (let i = 0; i < all.length && !over(); i++) {
      const at = (start + i) % all.length;
      const target = all[at] as Target;
      try {
        fc.assert(
          fc.property(callOf(target), (call) => {
            note(write({ target: target.name, call }));
            calls++;
            const attempted = attempt(target, call);
            const wrong = verdict(() => {
              const result = attempted();
              passed++;
              return result;
            }, target.leavesTensors);
            if (wrong !== null) throw new Error(`${showCall(target.name, call)}\n${wrong}`);
          }),
          { seed: seed + round * 7919 + at, numRuns: 5, endOnFailure: false },
        );
      } catch (error) {
        found.push(String(error instanceof Error && error.cause instanceof Error ? error.cause.message : error));
      }
    }
  }
  note("");
  console.log(JSON.stringify({ operators: all.length, calls, passed, found }));
}

const [
  first = "1",
  second = "10",
  journal = "/dev/null",
  which = "public",
  limit = "Infinity",
  leftOut = "",
  only = "",
] = process.argv.slice(2);
if (first === "replay") replay(second);
else run(Number(first), Number(second), journal, which, Number(limit), leftOut, only);
