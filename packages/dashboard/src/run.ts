import { atMost, checkArguments, kinds } from "@nbit/torch/options";
import { readdirSync, readFileSync, statSync } from "node:fs";
import { basename, dirname, join, resolve } from "node:path";
import { checkPath, checkReadable, withFile } from "@nbit/torch/files";
import { RunLogError } from "./errors.js";
import { Fields } from "./fields.js";
import type { EvaluationRecord, MemoryRecord, Run, RunEnd, SystemRecord } from "./records.js";

/** The newest format that this version reads. */
const FORMAT = 2;

/**
 * Read the runs of a log (`run.jsonl`), one for each fit, in the order in which they began. A last line that is torn,
 * since the run is still going or was killed, is left out.
 *
 * Record types and fields that are not known are ignored: logs of later versions stay readable within one format
 * number. Where a run went back, since it was resumed, what it had written of later steps is left out.
 *
 * @throws {RunLogError} When the file is not a run log, is of a newer format, or a line in it is damaged; the message
 * names the line.
 */
export function readRunLogs(path: string): Run[] {
  atMost("readRunLogs", arguments, 1);
  checkReadable("readRunLogs", path);
  return runsOf(
    withFile("readRunLogs", "read", path, () => readFileSync(path, "utf8")),
    path,
  ).map((run) => ({ ...run, source: path }));
}

/** As `readRunLogs`, the last run alone. */
export function readRunLog(path: string): Run {
  atMost("readRunLog", arguments, 1);
  checkReadable("readRunLog", path);
  const text = withFile("readRunLog", "read", path, () => readFileSync(path, "utf8"));
  return { ...lastOf(runsOf(text, path)), source: path };
}

/** As `readRunLogs`, from text. `source` names it in messages. */
export function parseRunLogs(text: string, source = "run log"): Run[] {
  atMost("parseRunLogs", arguments, 2);
  checkArguments("parseRunLogs", { text, source }, { text: kinds.text, source: kinds.text });
  return runsOf(text, source);
}

/** As `parseRunLogs`, the last run alone. */
export function parseRunLog(text: string, source = "run log"): Run {
  atMost("parseRunLog", arguments, 2);
  checkArguments("parseRunLog", { text, source }, { text: kinds.text, source: kinds.text });
  return lastOf(runsOf(text, source));
}

function lastOf(runs: readonly Run[]): Run {
  const run = runs.at(-1);
  if (run === undefined) throw new Error("a log without runs"); // runsOf has looked
  return run;
}

/** Each record `run` begins another. */
function runsOf(text: string, source: string): Run[] {
  const complete = text.slice(0, text.lastIndexOf("\n") + 1);
  const parts: Fields[][] = [];
  complete.split("\n").forEach((line, i) => {
    if (line.trim() === "") return;
    const record = Fields.parse(line, `${source}:${i + 1}`);
    if (record.text("type", "") === "run") {
      const format = record.whole("format");
      if (format > FORMAT)
        throw new RunLogError(
          `${source}: expected format ${FORMAT} or older. Received: ${format}. Update @nbit/dashboard.`,
        );
      parts.push([]);
    }
    const part = parts.at(-1);
    if (part === undefined) throw notALog(source);
    part.push(record);
  });
  if (parts.length === 0) throw notALog(source);
  return parts.map((records) => runOf(records, source));
}

const notALog = (source: string): RunLogError =>
  new RunLogError(`${source}: expected a run log, whose first line has "type":"run".`);

function runOf(records: readonly Fields[], source: string): Run {
  const [first] = records;
  if (first === undefined) throw notALog(source);
  const of = (type: string): Fields[] => records.filter((record) => record.text("type", "") === type);
  const precision = first.text("precision");
  return {
    name: nameOf(first.text("name", ""), precision, source),
    precision,
    model: first.text("model", ""),
    parameters: first.whole("parameters", 0),
    device: first.text("device", ""),
    startedAt: first.text("startedAt", ""),
    tensorsBefore: first.number("tensorsBefore", 0),
    hyperparameters: first.values("hyperparameters"),
    steps: forward(
      of("step").map((r) => ({
        step: r.whole("step"),
        epoch: r.whole("epoch", 0),
        seconds: r.number("seconds", 0),
        metrics: r.metrics("metrics"),
        learningRates: r.numbers("learningRates"),
      })),
    ),
    scales: forward(
      of("scale").map((r) => ({ step: r.whole("step"), value: r.number("value") })),
      false,
    ),
    skips: forward(
      of("skip").map((r) => ({
        step: r.whole("step"),
        lossScale: r.number("lossScale", Number.NaN),
        nonFinite: r.texts("nonFinite"),
        ...(r.text("where", "") === "" ? {} : { where: r.text("where") }),
      })),
      false,
    ),
    epochs: forward(
      of("epoch").map((r) => ({
        epoch: r.whole("epoch"),
        step: r.whole("step"),
        trainingSeconds: r.number("trainingSeconds"),
        batches: r.whole("batches", 0),
        samples: r.whole("samples", 0),
        metrics: r.metrics("metrics"),
        memory: memoryOf(r),
      })),
      false,
    ),
    evaluations: evaluationsOf(of("eval")),
    checkpoints: of("checkpoint").map((r) => ({
      step: r.whole("step"),
      epoch: r.whole("epoch", 0),
      path: r.text("path"),
    })),
    system: forward(of("system").map(systemOf)),
    end: endOf(of("end").at(-1)),
  };
}

/** Earlier versions named a run by its precision where it had no name: that says nothing of which one it is. */
function nameOf(given: string, precision: string, source: string): string {
  if (given !== "" && given !== precision) return given;
  const own = basename(source).replace(/\.jsonl$/, "");
  const name = own === "run" ? basename(dirname(resolve(source))) : own;
  return source.endsWith(".jsonl") && name !== "" ? name : given || precision;
}

/**
 * What has come after a run went back to an earlier step takes the place of what it had there.
 * @param replaces - A later record of one step takes the place of the earlier.
 */
function forward<T extends { readonly step: number }>(records: readonly T[], replaces = true): T[] {
  const kept: T[] = [];
  for (const record of records) {
    for (let last = kept.at(-1); last !== undefined; last = kept.at(-1)) {
      if (last.step < record.step || (last.step === record.step && !replaces)) break;
      kept.pop();
    }
    kept.push(record);
  }
  return kept;
}

/** Several evaluations at one step, of several loaders or once more after the fit, are one. */
function evaluationsOf(records: readonly Fields[]): EvaluationRecord[] {
  const all = records.map((r): EvaluationRecord => ({
    stage: r.text("stage") === "test" ? "test" : "validate",
    step: r.whole("step"),
    epoch: r.whole("epoch", 0),
    evaluationSeconds: r.number("evaluationSeconds", 0),
    metrics: r.metrics("metrics"),
  }));
  const ofStage = (stage: "validate" | "test"): EvaluationRecord[] => {
    const together: EvaluationRecord[] = [];
    for (const record of all.filter((r) => r.stage === stage)) {
      const last = together.at(-1);
      const same = last?.step === record.step ? last : null;
      together.push(same === null ? record : { ...record, metrics: { ...same.metrics, ...record.metrics } });
    }
    return forward(together);
  };
  return [...ofStage("validate"), ...ofStage("test")];
}

function systemOf(r: Fields): SystemRecord {
  const device = (["deviceAllocated", "devicePeak", "deviceReserved"] as const).flatMap((name) =>
    r.has(name) ? [[name, r.number(name)] as const] : [],
  );
  return {
    step: r.whole("step"),
    seconds: r.number("seconds", 0),
    cpu: r.number("cpu", 0),
    rss: r.number("rss", 0),
    heap: r.number("heap", 0),
    tensors: r.number("tensors", 0),
    free: r.number("free", 0),
    ...Object.fromEntries(device),
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
