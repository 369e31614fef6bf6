/**
 * Reads many mutated files, and says what became of them.
 *
 *     npm run fuzz:files -- --files 40000 --seed 7 [--first 0] [--log FILE] [--keep FOLDER]
 *
 * Ends with status 1 when a file gave an error without a code, ended its process or never came back. `--first N --files
 * 1` reads one file of a seed again.
 */
import { writeFileSync } from "node:fs";
import { parseArgs } from "node:util";
import { fuzzFiles, type FileFuzzReport } from "./driver.js";

const { values } = parseArgs({
  options: {
    files: { type: "string", default: "2000" },
    seed: { type: "string", default: "1" },
    first: { type: "string", default: "0" },
    log: { type: "string" },
    keep: { type: "string" },
  },
});
const [files, seed, first] = [values.files, values.seed, values.first].map(Number) as [number, number, number];
if (![files, seed, first].every(Number.isSafeInteger))
  throw new Error("fuzz:files: expected --files, --seed and --first to be whole numbers.");

const began = performance.now();
const report = await fuzzFiles({
  seed,
  files,
  first,
  keep: values.keep ?? null,
  onProgress: (done, findings) => {
    process.stderr.write(
      `${done} of ${files} files, ${findings} findings, ${((performance.now() - began) / 1000).toFixed(0)} s\n`,
    );
  },
});
const text = summary(report);
console.log(text);
if (values.log !== undefined) writeFileSync(values.log, `${text}\n`);
process.exitCode = report.findings.length === 0 ? 0 : 1;

function summary({ files: read, outcomes, findings }: FileFuzzReport): string {
  const codes = new Map<string, number>();
  for (const counts of Object.values(outcomes))
    for (const [code, n] of Object.entries(counts)) codes.set(code, (codes.get(code) ?? 0) + n);
  const table = [...codes].sort(([, a], [, b]) => b - a).map(([code, n]) => `| ${code} | ${n} |`);
  const kinds = Object.entries(outcomes)
    .sort(([a], [b]) => (a < b ? -1 : 1))
    .map(([name, counts]) => {
      const all = Object.values(counts).reduce((sum, n) => sum + n, 0);
      return `| ${name} | ${all} | ${counts["ok"] ?? 0} | ${Object.keys(counts).filter((c) => c !== "ok").length} |`;
    });
  const found = findings.map(
    (f) =>
      `- ${f.kind}: ${f.subject}, index ${f.index}, mutations ${f.mutations.join(", ")}: ${f.what.split("\n").slice(0, 3).join(" | ")}`,
  );
  const seconds = ((performance.now() - began) / 1000).toFixed(0);
  return [
    `# Mutated files`,
    "",
    `${new Date().toISOString().slice(0, 10)}: ${read} files from seed ${seed}${first === 0 ? "" : `, from index ${first}`}, in ${seconds} s on one core, with Node.js ${process.version}.`,
    `Errors without a code: ${count(findings, "error")}. Ended processes: ${count(findings, "end")}. Hangs: ${count(findings, "hang")}.`,
    "",
    "| what is read | files | read as sound | different codes |",
    "|---|---|---|---|",
    ...kinds,
    "",
    "| outcome | files |",
    "|---|---|",
    ...table,
    ...(found.length === 0 ? [] : ["", ...found]),
  ].join("\n");
}
function count(findings: FileFuzzReport["findings"], kind: string): number {
  return findings.filter((f) => f.kind === kind).length;
}
