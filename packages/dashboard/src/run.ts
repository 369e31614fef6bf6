import { atMost, checkArguments, kinds } from "@nbit/torch/options";
import { readdirSync, readFileSync, statSync } from "node:fs";
import { join } from "node:path";
import { checkPath, checkReadable, withFile } from "@nbit/torch/files";
import { RunLogError } from "./errors.js";
import { Fields } from "./fields.js";
import type { MemoryRecord, Run, RunEnd } from "./records.js";

/** The newest format that this version reads. */
const FORMAT = 1;

/**
 * Read a run log (`run.jsonl`). A last line that is torn, since the run is still going or was killed, is left out.
 *
 * Record types and fields that are not known are ignored: logs of later versions stay readable within one format
 * number.
 *
 * @throws {RunLogError} When the file is not a run log, is of a newer format, or a line in it is damaged; the message
 * names the line.
 */
export function readRunLog(path: string): Run {
  atMost("readRunLog", arguments, 1);
  checkReadable("readRunLog", path);
  return parseRunLog(
    withFile("readRunLog", "read", path, () => readFileSync(path, "utf8")),
    path,
  );
}

/** As `readRunLog`, from text. `source` names it in messages. */
export function parseRunLog(text: string, source = "run log"): Run {
  atMost("parseRunLog", arguments, 2);
  checkArguments("parseRunLog", { text, source }, { text: kinds.text, source: kinds.text });
  const complete = text.slice(0, text.lastIndexOf("\n") + 1);
  const records = complete
    .split("\n")
    .map((line, i) => ({ line, where: `${source}:${i + 1}` }))
    .filter(({ line }) => line.trim() !== "")
    .map(({ line, where }) => Fields.parse(line, where));
  const first = records[0];
  if (first === undefined || first.text("type", "") !== "run")
    throw new RunLogError(`${source}: expected a run log, whose first line has "type":"run".`);
  const format = first.whole("format");
  if (format > FORMAT)
    throw new RunLogError(
      `${source}: expected format ${FORMAT} or older. Received: ${format}. Update @nbit/dashboard.`,
    );

  const of = (type: string): Fields[] => records.filter((record) => record.text("type", "") === type);
  return {
    name: first.text("name"),
    precision: first.text("precision"),
    model: first.text("model", ""),
    parameters: first.whole("parameters", 0),
    device: first.text("device", ""),
    startedAt: first.text("startedAt", ""),
    tensorsBefore: first.number("tensorsBefore", 0),
    steps: of("step").map((r) => ({
      step: r.whole("step"),
      epoch: r.whole("epoch", 0),
      seconds: r.number("seconds", 0),
      metrics: r.metrics("metrics"),
    })),
    scales: of("scale").map((r) => ({ step: r.whole("step"), value: r.number("value") })),
    skips: of("skip").map((r) => ({
      step: r.whole("step"),
      lossScale: r.number("lossScale", Number.NaN),
      nonFinite: r.texts("nonFinite"),
      ...(r.text("where", "") === "" ? {} : { where: r.text("where") }),
    })),
    epochs: of("epoch").map((r) => ({
      epoch: r.whole("epoch"),
      step: r.whole("step"),
      trainingSeconds: r.number("trainingSeconds"),
      batches: r.whole("batches", 0),
      samples: r.whole("samples", 0),
      metrics: r.metrics("metrics"),
      memory: memoryOf(r),
    })),
    evaluations: of("eval").map((r) => ({
      stage: r.text("stage") === "test" ? "test" : "validate",
      step: r.whole("step"),
      epoch: r.whole("epoch", 0),
      evaluationSeconds: r.number("evaluationSeconds", 0),
      metrics: r.metrics("metrics"),
    })),
    end: endOf(of("end").at(-1)),
  };
}

function endOf(record: Fields | undefined): RunEnd | null {
  if (record === undefined) return null;
  return {
    status: record.text("status"),
    step: record.whole("step", 0),
    seconds: record.number("seconds", 0),
    skippedSteps: record.whole("skippedSteps", 0),
    memory: memoryOf(record),
  };
}

function memoryOf(record: Fields): MemoryRecord {
  const memory = record.inner("memory");
  return { peakTensors: memory.number("peakTensors", 0), peakRss: memory.number("peakRss", 0) };
}

/**
 * Every `run.jsonl` in `dir` and beneath it, oldest first. Folders named `node_modules` and hidden ones are left out.
 */
export function findRunLogs(dir: string): string[] {
  atMost("findRunLogs", arguments, 1);
  checkPath("findRunLogs", dir);
  const found: { path: string; time: number }[] = [];
  const visit = (folder: string): void => {
    for (const entry of withFile("findRunLogs", "read", folder, () => readdirSync(folder, { withFileTypes: true }))) {
      const path = join(folder, entry.name);
      if (entry.isDirectory() && entry.name !== "node_modules" && !entry.name.startsWith(".")) visit(path);
      else if (entry.isFile() && entry.name === "run.jsonl") found.push({ path, time: statSync(path).birthtimeMs });
    }
  };
  visit(dir);
  return found.sort((a, b) => a.time - b.time || (a.path < b.path ? -1 : 1)).map(({ path }) => path);
}
