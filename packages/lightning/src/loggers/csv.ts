import { existsSync } from "node:fs";
import { join, resolve } from "node:path";
import { ArgumentError, atMost, checkOptions, kinds, type OptionNames, plainText } from "@nbit/torch";
import { count, fieldsOf, flag, text as anyText } from "@nbit/torch/schema";
import { checkState } from "../checkpoint/schema.js";
import { CsvFile } from "./csv-file.js";
import type { CsvPosition } from "./csv-file.js";
import { writeHparams } from "./hparams.js";
import { atExit } from "./log-file.js";
import { Logger } from "./logger.js";
import type { Metrics } from "./logger.js";
import { LogDigest } from "./position.js";
import { claimVersion, folderOf } from "./version.js";

export interface CSVLoggerOptions {
  /** Experiment. Default "nbit_logs"; "" places the versions in `saveDir` itself. */
  readonly name?: string;
  /** A number n means the folder `version_<n>`; a string is the folder's name. Default: the next free number. */
  readonly version?: number | string;
  /** Put before each metric's name, joined by "-". Default none. */
  readonly prefix?: string;
  /** Rows that may wait in memory. Default 100. */
  readonly flushLogsEveryNSteps?: number;
  /** Seconds that rows may wait in memory while more are logged. Default 1. */
  readonly flushIntervalSeconds?: number;
}
/** What writes the files of a `CSVLogger`. */
export interface CSVExperiment {
  readonly logMetrics: (metrics: Metrics, step: number) => void;
  readonly logHparams: (params: Readonly<Record<string, unknown>>) => void;
  /** Write every row that waits. */
  readonly save: () => void;
}
const { either, real, text, whole } = kinds;
const NAMES: OptionNames<CSVLoggerOptions> = {
  name: text,
  version: either(whole("[0, ∞)"), text),
  prefix: text,
  flushLogsEveryNSteps: whole("[1, ∞)"),
  flushIntervalSeconds: real("[0, ∞]"),
};
const STATE = fieldsOf({ path: anyText, lines: count, digest: anyText, fresh: flag });

/**
 * Writes metrics to `<saveDir>/<name>/version_<n>/metrics.csv` and hyper-parameters to `hparams.yaml` beside it.
 *
 * The layout is Lightning's: one row per call, with the names that it carried and `step`; columns sorted by name, empty
 * where a row has no such metric. Columns that appear later are added by an atomic rewrite.
 *
 * Rows wait in memory for at most `flushLogsEveryNSteps` rows or `flushIntervalSeconds` and are written with each
 * checkpoint and at the end of the run, also when it fails or the process exits. Only a kill loses what waited. A run
 * that goes on from a checkpoint into the same version drops the rows that came after it, and writes them again.
 *
 * Numbers are exact: the text reads back as the same double. Unlike Lightning's, a version that has a metrics file
 * already is continued, not deleted: a resumed run keeps its curve.
 *
 * @param saveDir - Folder of all experiments; made when missing, at the first use of `version` or the first row.
 * @throws {ArgumentError} `CSVLogger: expected flushLogsEveryNSteps to be a whole number ≥ 1. Received: 0.`
 * @example
 * const logger = new CSVLogger("logs", { name: "mnist" });
 * logger.logMetrics({ loss: 0.25 }, 0);
 * logger.finalize();
 * logger.logDir; // "logs/mnist/version_0"
 */
export class CSVLogger extends Logger {
  readonly name: string;
  readonly saveDir: string;
  readonly #prefix: string;
  readonly #maxRows: number;
  readonly #maxSeconds: number;
  #version: number | string | null;
  #file: CsvFile | null = null;
  #lastFlush = 0;
  /** Another process writes. */
  #follows = false;
  /** Where this run's hyper-parameters are. */
  #hparams: string | null = null;
  /** Where the log stood when it was closed. */
  #closedAt: Record<string, unknown> = {};
  readonly #onExit = atExit(() => {
    this.flush();
  });

  constructor(saveDir = ".", options: CSVLoggerOptions = {}) {
    atMost("CSVLogger", arguments, 2);
    super();
    checkOptions("CSVLogger", options, NAMES);
    if (typeof saveDir !== "string")
      throw new ArgumentError(
        "CSVLogger",
        "saveDir to be a folder",
        saveDir,
        "Options come second: new CSVLogger(saveDir, { name, version }).",
      );
    const { flushLogsEveryNSteps = 100, flushIntervalSeconds = 1, version = null } = options;
    this.saveDir = saveDir;
    this.name = options.name ?? "nbit_logs";
    this.#version = version;
    this.#prefix = options.prefix === undefined || options.prefix === "" ? "" : `${options.prefix}-`;
    this.#maxRows = flushLogsEveryNSteps;
    this.#maxSeconds = flushIntervalSeconds;
  }

  /** Folder of this experiment's versions. */
  get rootDir(): string {
    return join(this.saveDir, this.name);
  }

  /** Reading it the first time claims the next number by making its folder, unless a version was given. */
  get version(): number | string {
    this.#version ??= claimVersion("CSVLogger", this.rootDir);
    return this.#version;
  }

  override get logDir(): string {
    return join(this.rootDir, folderOf(this.version));
  }

  /** Lightning's name for what writes: the same rows and hyper-parameters, by hand. */
  get experiment(): CSVExperiment {
    return {
      logMetrics: (metrics, step) => {
        this.logMetrics(metrics, step);
      },
      logHparams: (params) => {
        this.logHyperparams(params);
      },
      save: () => {
        this.flush();
      },
    };
  }

  override follow(version: number | string): void {
    this.#version = version;
    this.#follows = true;
  }

  logMetrics(metrics: Metrics, step: number): void {
    if (this.#follows) return;
    const row: Record<string, number> = {};
    for (const [key, value] of Object.entries(metrics)) row[plainText(this.#prefix + key)] = value;
    row["step"] = step;
    const file = this.#file ?? this.#open();
    file.add(row);
    this.save();
  }

  override logHyperparams(params: Readonly<Record<string, unknown>>): void {
    if (this.#follows) return;
    this.#hparams = writeHparams("CSVLogger", this.logDir, params, this.#hparams);
  }

  /** Writes when enough rows wait, or have waited long enough; see `flush` to write now. */
  override save(): void {
    atMost("CSVLogger.save", arguments, 0);
    const file = this.#file;
    if (file === null || file.pending === 0) return;
    if (file.pending >= this.#maxRows || performance.now() - this.#lastFlush >= this.#maxSeconds * 1000) this.flush();
  }

  /** Write every row that waits. */
  flush(): void {
    atMost("CSVLogger.flush", arguments, 0);
    this.#file?.flush();
    this.#lastFlush = performance.now();
  }

  /** Writes every row, and says where that is: a run that goes on from the checkpoint neither repeats nor loses one. */
  override stateDict(): Record<string, unknown> {
    if (this.#file !== null) return { path: resolve(this.#path), ...this.#file.position() };
    if (this.#version === null || Object.keys(this.#closedAt).length > 0) return this.#closedAt;
    return { path: resolve(this.#path), ...new LogDigest().position, fresh: !existsSync(this.#path) };
  }

  /** Rows that were written after the checkpoint are dropped, if the file is the one that the checkpoint knows. */
  override loadStateDict(state: Record<string, unknown>): void {
    if (Object.keys(state).length === 0) return;
    const { path, lines, digest, fresh } = checkState("CSVLogger.loadStateDict", STATE, state);
    if (this.#version === null || !existsSync(this.#path)) return; // a version of its own
    this.finalize();
    this.#open({ lines, digest, fresh: fresh && path === resolve(this.#path) });
  }

  /** What cannot be written stays in memory: the next call, or the end of the process, tries again. */
  override finalize(): void {
    if (this.#file !== null) this.#closedAt = this.stateDict();
    this.#file?.close();
    this.#file = null;
    process.removeListener("exit", this.#onExit);
  }

  get #path(): string {
    return join(this.logDir, "metrics.csv");
  }

  #open(from: CsvPosition | null = null): CsvFile {
    const file = new CsvFile(this.#path, from);
    process.on("exit", this.#onExit);
    this.#lastFlush = performance.now();
    this.#file = file;
    return file;
  }
}
