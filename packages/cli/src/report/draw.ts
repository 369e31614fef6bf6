/** What `nbit report` does. */
import { spawn } from "node:child_process";
import { lstatSync } from "node:fs";
import { dirname, join, resolve } from "node:path";
import { pathToFileURL } from "node:url";
import { comparisonText, findRunLogs, readRunLogs, RunLogError, writeReport, type Run } from "@nbit/dashboard";
import { FileError, plainText } from "@nbit/torch/files";
import { lastOf, type Call } from "../command.js";
import { CommandError } from "../errors.js";
import { codeText } from "../terminal/errors.js";

/** @returns the exit status. */
export async function draw({ words, flags }: Call): Promise<number> {
  const given = lastOf(flags);
  const folders = words.length === 0 ? ["."] : words;
  const last = given.get("last") ?? Infinity;
  if (typeof last !== "number" || last < 1 || (last !== Infinity && !Number.isInteger(last)))
    throw new CommandError(
      "ERR_FLAG_VALUE",
      `nbit report: expected --last to be a whole number ≥ 1. Received: ${String(last)}.`,
    );
  try {
    const runs = newest(
      folders.flatMap(logsOf).flatMap((path) => readRunLogs(path)),
      last,
    );
    if (runs.length === 0)
      throw new CommandError(
        "ERR_NO_RUN_LOG",
        `nbit report: expected a run.jsonl in ${folders.join(", ")}, or beneath. Received: none. A fit with a logger leaves one, unless runLog is false.`,
      );
    const unit = given.get("unit");
    const options = { unit: typeof unit === "string" ? unit : "samples" };
    const [first = "."] = folders;
    const title = given.get("title") ?? (folders.length === 1 ? titleOf(first) : "Runs");
    // A file or a pipe has room for all of it.
    const width = process.stdout.isTTY === true ? { columns: Math.max(20, process.stdout.columns) } : {};
    console.log(plainText(comparisonText(runs, { ...options, ...width }), "\n"));
    const path = writeReport(String(given.get("out") ?? "report.html"), { title: String(title), runs, ...options });
    console.log(plainText(`\n${runs.length === 1 ? "One run" : `${runs.length} runs`}  ${path}`, "\n"));
    if (given.get("open") === true) await show(path);
    return 0;
  } catch (error) {
    if (!(error instanceof RunLogError) && !(error instanceof FileError)) throw error;
    console.error(codeText(error));
    return 1;
  }
}

function titleOf(given: string): string {
  const path = resolve(given);
  const folder = path.endsWith(".jsonl") ? dirname(path) : path;
  return folder.split(/[\\/]/).at(-1) || "Runs";
}

/** A log that is named itself, or all of a folder. */
function logsOf(given: string): string[] {
  const stat = lstatSync(given, { throwIfNoEntry: false });
  if (stat === undefined)
    throw new CommandError(
      "ERR_ARGUMENT",
      `nbit report: expected a folder, or a log. Received: ${given}, where nothing is.`,
    );
  if (!stat.isDirectory()) return [given];
  return findRunLogs(join(given));
}

/** The last of them by when they began, in that order. */
function newest(runs: readonly Run[], count: number): Run[] {
  const sorted = runs
    .map((run, at) => ({ run, at }))
    .sort((a, b) => (a.run.startedAt < b.run.startedAt ? -1 : a.run.startedAt > b.run.startedAt ? 1 : a.at - b.at));
  return sorted.slice(count === Infinity ? 0 : -count).map(({ run }) => run);
}

/** By what the system opens pages with. */
async function show(path: string): Promise<void> {
  const [program, ...args] =
    process.platform === "darwin" ? ["open"] : process.platform === "win32" ? ["cmd", "/c", "start", ""] : ["xdg-open"];
  await new Promise<void>((done) => {
    const child = spawn(program ?? "xdg-open", [...args, pathToFileURL(path).href], {
      stdio: "ignore",
      detached: true,
    });
    child.once("error", () => {
      console.error(`warning WARN_NO_BROWSER: ${program ?? "xdg-open"} is not here to open the page.`);
      done();
    });
    child.once("spawn", () => {
      child.unref();
      done();
    });
  });
}
