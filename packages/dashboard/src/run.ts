import { atMost, checkArguments, kinds } from "@nbit/torch/options";
import { readdirSync, readFileSync, statSync } from "node:fs";
import { join } from "node:path";
import { checkPath, checkReadable, withFile } from "@nbit/torch/files";
import { RunLogError } from "./errors.js";
import { Fields } from "./fields.js";

/** Metrics by name. */
export type Metrics = Readonly<Record<string, number>>;

export interface StepRecord {
  readonly step: number;
  readonly epoch: number;
  /** Since the run began. */
  readonly seconds: number;
  readonly metrics: Metrics;
}

export interface ScaleRecord {
  readonly step: number;
  readonly value: number;
}

export interface SkipRecord {
  readonly step: number;
  /** The scale that was too high. */
  readonly lossScale: number;
  /** Parameters whose gradients were not finite. */
  readonly nonFinite: readonly string[];
}

export interface EpochRecord {
  readonly epoch: number;
  readonly step: number;
  /** Time in training batches, without validation. */
  readonly trainingSeconds: number;
  readonly batches: number;
  readonly samples: number;
  readonly metrics: Metrics;
  readonly memory: MemoryRecord;
}

/** Bytes; 0 where the log does not say. */
export interface MemoryRecord {
  /** The most that CPU tensors held since the run began. */
  readonly peakTensors: number;
  /** The most that the process has held, other runs before this one included. */
  readonly peakRss: number;
}

export interface EvaluationRecord {
  readonly stage: "validate" | "test";
  readonly step: number;
  readonly epoch: number;
  readonly evaluationSeconds: number;
  readonly metrics: Metrics;
}

export interface RunEnd {
  readonly status: string;
  readonly step: number;
  readonly seconds: number;
  readonly skippedSteps: number;
  readonly memory: MemoryRecord;
}

/** One training run, as its log tells it. */
export interface Run {
  readonly name: string;
  /** Canonical, such as "16-mixed". */
  readonly precision: string;
  readonly model: string;
  readonly parameters: number;
  readonly device: string;
  /** ISO 8601. */
  readonly startedAt: string;
  /** Bytes that tensors held before the run, the model aside: data sets, other models. */
  readonly tensorsBefore: number;
  readonly steps: readonly StepRecord[];
  readonly scales: readonly ScaleRecord[];
  readonly skips: readonly SkipRecord[];
  readonly epochs: readonly EpochRecord[];
  readonly evaluations: readonly EvaluationRecord[];
  /** Null while the run goes on, or when the process was killed. */
  readonly end: RunEnd | null;
}

const { having, listOf, orNull, such } = kinds;
const NUMBER = such<number>("a number", (v) => typeof v === "number");
const MEMORY = having<MemoryRecord>("memory", { peakTensors: NUMBER });
const METRICS = such<Metrics>("numbers by name", (v) => kinds.record.accepts(v) && Object.values(v as object).every(NUMBER.accepts));
/** @internal By the fields that tables, curves and figures read. */
export const RUN = having<Run>("a run as readRunLog gives it", {
  name: kinds.text, precision: kinds.text, model: kinds.text, parameters: NUMBER, device: kinds.text, startedAt: kinds.text, tensorsBefore: NUMBER,
  steps: listOf(having<StepRecord>("a step", { step: NUMBER, epoch: NUMBER, metrics: METRICS })),
  scales: listOf(having<ScaleRecord>("a scale", { step: NUMBER, value: NUMBER })),
  skips: listOf(having<SkipRecord>("a skipped step", { step: NUMBER, lossScale: NUMBER, nonFinite: listOf(kinds.text) })),
  epochs: listOf(having<EpochRecord>("an epoch", { epoch: NUMBER, step: NUMBER, trainingSeconds: NUMBER, samples: NUMBER, metrics: METRICS, memory: MEMORY })),
  evaluations: listOf(having<EvaluationRecord>("an evaluation", { step: NUMBER, epoch: NUMBER, metrics: METRICS })),
  end: orNull(having<RunEnd>("the end", { status: kinds.text, skippedSteps: NUMBER, memory: MEMORY })),
});

/** The newest format that this version reads. */
const FORMAT = 1;

/**
 * Read a run log (`run.jsonl`). A last line that is torn, since the run is still going or was killed, is left out.
 *
 * Record types and fields that are not known are ignored: logs of later versions stay readable within one format number.
 *
 * @throws {RunLogError} When the file is not a run log, is of a newer format, or a line in it is damaged; the message names the line.
 */
export function readRunLog(path: string): Run {
  atMost("readRunLog", arguments, 1);
  checkReadable("readRunLog", path);
  return parseRunLog(withFile("readRunLog", "read", path, () => readFileSync(path, "utf8")), path);
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
  if (first === undefined || first.text("type", "") !== "run") throw new RunLogError(`${source}: expected a run log, whose first line has "type":"run".`);
  const format = first.whole("format");
  if (format > FORMAT) throw new RunLogError(`${source}: expected format ${FORMAT} or older. Received: ${format}. Update @nbit/dashboard.`);

  const of = (type: string): Fields[] => records.filter((record) => record.text("type", "") === type);
  return {
    name: first.text("name"),
    precision: first.text("precision"),
    model: first.text("model", ""),
    parameters: first.whole("parameters", 0),
    device: first.text("device", ""),
    startedAt: first.text("startedAt", ""),
    tensorsBefore: first.number("tensorsBefore", 0),
    steps: of("step").map((r) => ({ step: r.whole("step"), epoch: r.whole("epoch", 0), seconds: r.number("seconds", 0), metrics: r.metrics("metrics") })),
    scales: of("scale").map((r) => ({ step: r.whole("step"), value: r.number("value") })),
    skips: of("skip").map((r) => ({ step: r.whole("step"), lossScale: r.number("lossScale", Number.NaN), nonFinite: r.texts("nonFinite") })),
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

/** Every `run.jsonl` in `dir` and beneath it, oldest first. Folders named `node_modules` and hidden ones are left out. */
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
