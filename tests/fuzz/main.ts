/**
 * The long fuzz: random calls of everything that users reach by name, each a value or an error with a code; processes
 * of a few thousand calls each.
 *
 *     npm run fuzz                                            60 seconds, public names
 *     npm run fuzz -- --calls 3000000 --seed 7 --jobs 2       until so many calls were made
 *     npm run fuzz -- --which hidden                          operators that only `aten` reaches
 *     npm run fuzz -- --which exports                         every other function, class and method of every package
 *     npm run fuzz -- --only addmm,Tensor#at                  some of them
 *     npm run fuzz -- --replay '{"target":…}'                 one call again, as it was printed
 *     npm run fuzz -- --out FILE.md                           also writes its log
 *
 * A call that ends the process or never comes back is made smaller, printed with what replays it, and its operator left
 * out of the rest. The same seed gives the same calls.
 */
import { writeFileSync } from "node:fs";
import { parseArgs } from "node:util";
import { versions } from "@nbit/torch";
import { fuzz, replay, type FuzzReport } from "./driver.js";

const { values } = parseArgs({
  options: {
    seed: { type: "string", default: "1" },
    calls: { type: "string" },
    seconds: { type: "string" },
    which: { type: "string", default: "public" },
    only: { type: "string" },
    jobs: { type: "string", default: "1" },
    patience: { type: "string", default: "20" },
    replay: { type: "string" },
    out: { type: "string" },
  },
});
function number(name: "seed" | "calls" | "seconds" | "jobs" | "patience"): number | undefined {
  const text = values[name];
  if (text === undefined) return undefined;
  const n = Number(text);
  if (!Number.isInteger(n) || n < 0)
    throw new Error(`fuzz: expected --${name} to be a whole number. Received: ${text}`);
  return n;
}
const { which } = values;
if (which !== "public" && which !== "hidden" && which !== "exports")
  throw new Error(`fuzz: expected --which to be public, hidden or exports. Received: ${which}`);

if (values.replay !== undefined) {
  console.log(await replay(values.replay));
} else {
  const calls = number("calls");
  const seconds = number("seconds") ?? (calls === undefined ? 60 : Infinity);
  const seed = number("seed") ?? 1;
  const began = performance.now();
  let shown = 0;
  const report = await fuzz(
    {
      seed,
      ...(calls === undefined ? {} : { calls }),
      seconds,
      which,
      leftOut: [],
      only: values.only?.split(",") ?? [],
      jobs: number("jobs") ?? 1,
      patienceSeconds: number("patience") ?? 20,
    },
    (r) => {
      for (const d of r.deadly.slice(shown))
        console.log(
          `DEADLY  ${d.call}\n        ${d.how}\n        npm run fuzz -- --replay '${d.written.replaceAll("'", "'\\''")}'`,
        );
      shown = r.deadly.length;
    },
  );
  for (const w of report.wrong) console.log(`WRONG   ${w}`);
  const text = summary(report, seed, (performance.now() - began) / 1000);
  console.log(text);
  if (values.out !== undefined) writeFileSync(values.out, log(report, text));
  process.exitCode = report.deadly.length + report.wrong.length === 0 ? 0 : 1;
}

function summary(r: FuzzReport, seed: number, seconds: number): string {
  return `fuzz: ${r.calls} calls of ${r.operators} ${which} names by ${r.processes} processes in ${seconds.toFixed(0)} s, seed ${seed}: ${r.passed} returned a value, ${r.deadly.length} ended the process or hung, ${r.wrong.length} wrong`;
}
function log(r: FuzzReport, text: string): string {
  const rows = [...r.deadly.map((d) => `- ${d.call}: ${d.how}`), ...r.wrong.map((w) => `- ${w.replaceAll("\n", " ")}`)];
  return [
    `# Fuzz, ${new Date().toISOString().slice(0, 10)}`,
    "",
    `libtorch ${versions().libtorch}, Node.js ${process.version}. ${text}.`,
    "",
    ...rows,
    "",
  ].join("\n");
}
