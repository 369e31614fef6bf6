import { join, resolve } from "node:path";
import { atMost, kinds, plainText, signature, type Call, type OptionNames } from "@nbit/torch";
import { count, fieldsOf, text as anyText } from "@nbit/torch/schema";
import { checkState } from "../checkpoint/schema.js";
import { warn } from "../warnings.js";
import { writeHparams } from "./hparams.js";
import { JsonLines, jsonOf } from "./json-lines.js";
import { Logger, type Metrics } from "./logger.js";
import type { LogPosition } from "./position.js";
import { claimVersion, folderOf, makeFolder } from "./version.js";

export interface JSONLLoggerArguments {
  /** Folder of all experiments. Default ".". */
  readonly saveDir?: string;
  /** Experiment. Default "nbit_logs"; "" places the versions in `saveDir` itself. */
  readonly name?: string;
  /** A number n means the folder `version_<n>`; a string is the folder's name. Default: the next free number. */
  readonly version?: number | string | null;
  /** Put before each metric's name, joined by "-". Default none. */
  readonly prefix?: string;
  /** Seconds that lines may wait in memory while others follow. Default 0: each is in the file at once. */
  readonly flushIntervalSeconds?: number;
}
const { byDefault, either, filled, orNull, real, text, whole } = kinds;
const read = signature("JSONLLogger", {
  saveDir: byDefault(".", filled),
  name: byDefault("nbit_logs", text),
  version: byDefault(null, orNull(either(whole("[0, ∞)"), text))),
  prefix: byDefault("", text),
  flushIntervalSeconds: byDefault(0, real("[0, ∞)")),
} satisfies OptionNames<JSONLLoggerArguments>);
const STATE = fieldsOf({ path: anyText, lines: count, digest: anyText });
/** With which every line begins. */
const BEGIN = '{"step":';

/** What writes the file of a `JSONLLogger`. */
export interface JSONLExperiment {
  readonly path: string;
  /** Any record, as a line behind its step and time. */
  readonly log: (record: Readonly<Record<string, unknown>>, step: number) => void;
}

/**
 * Writes metrics as JSON lines to `<saveDir>/<name>/version_<n>/metrics.jsonl`, `{"step":9,"time":…,"loss":0.5}`, and
 * hyper-parameters to `hparams.yaml` beside it. Other than a CSV, a line has only the names that it carries, and the file
 * is only ever appended to.
 *
 * `time` is in seconds since 1970. Numbers that JSON lacks are "NaN", "Infinity" and "-Infinity". Each line is in the
 * file when `logMetrics` returns: a kill loses nothing. A line that a crash of the machine tore is cut off when the file
 * is continued. A run that goes on from a checkpoint into the same version drops the lines that came after it, and
 * writes them again.
 *
 * @example
 * const logger = new JSONLLogger("logs", { name: "mnist" });
 * logger.logMetrics({ loss: 0.25 }, 0);
 * logger.finalize();
 */
export class JSONLLogger extends Logger {
  readonly name: string;
  readonly saveDir: string;
  readonly #prefix: string;
  readonly #maxSeconds: number;
  #version: number | string | null;
  #file: JsonLines | null = null;
  #follows = false;
  #hparams: string | null = null;
  #closedAt: Record<string, unknown> = {};

  constructor(
    ...given: Call<
      JSONLLoggerArguments,
      ["saveDir", "name", "version", "prefix", "flushIntervalSeconds"],
      [
        saveDir?: string,
        name?: string,
        version?: number | string | null,
        prefix?: string,
        flushIntervalSeconds?: number,
      ]
    >
  ) {
    super();
    const { saveDir, name, version, prefix, flushIntervalSeconds } = read(given);
    this.saveDir = saveDir;
    this.name = name;
    this.#version = version;
    this.#prefix = prefix === "" ? "" : `${prefix}-`;
    this.#maxSeconds = flushIntervalSeconds;
  }

  /** Folder of this experiment's versions. */
  get rootDir(): string {
    return join(this.saveDir, this.name);
  }
  get version(): number | string {
    this.#version ??= claimVersion("JSONLLogger", this.rootDir);
    return this.#version;
  }
  override get logDir(): string {
    return join(this.rootDir, folderOf(this.version));
  }
  get #path(): string {
    return join(this.logDir, "metrics.jsonl");
  }

  get experiment(): JSONLExperiment {
    return {
      path: this.#path,
      log: (record, step) => {
        this.#add(record, step);
      },
    };
  }

  override follow(version: number | string): void {
    this.#version = version;
    this.#follows = true;
  }

  override start(): void {
    if (!this.#follows) makeFolder("JSONLLogger", this.logDir);
  }

  logMetrics(metrics: Metrics, step: number): void {
    this.#add(Object.fromEntries(Object.entries(metrics).map(([key, value]) => [this.#prefix + key, value])), step);
  }

  #add(record: Readonly<Record<string, unknown>>, step: number): void {
    if (this.#follows) return;
    // Its own step and time stand first, whatever the record calls so.
    const { step: _step, time: _time, ...rest } = record;
    const head = jsonOf({ step, time: Date.now() / 1000 }).slice(0, -1);
    const tail = jsonOf(rest).slice(1);
    (this.#file ?? this.#open(null)).addLine(`${head}${tail === "}" ? "" : ","}${tail}`);
  }

  #open(from: LogPosition | null): JsonLines {
    return (this.#file = new JsonLines(this.#path, BEGIN, from, { maxSeconds: this.#maxSeconds, fn: "JSONLLogger" }));
  }

  override logHyperparams(params: Readonly<Record<string, unknown>>): void {
    if (!this.#follows) this.#hparams = writeHparams("JSONLLogger", this.logDir, params, this.#hparams);
  }

  override save(): void {
    atMost("JSONLLogger.save", arguments, 0);
    if (this.#maxSeconds === 0) this.#file?.flush();
  }

  override stateDict(): Record<string, unknown> {
    if (this.#file === null) return this.#closedAt;
    return { path: resolve(this.#path), ...this.#file.position() };
  }

  override loadStateDict(state: Record<string, unknown>): void {
    if (Object.keys(state).length === 0) return;
    const { path, ...from } = checkState("JSONLLogger.loadStateDict", STATE, state);
    if (this.#version === null || path !== resolve(this.#path)) return; // a version of its own
    this.finalize();
    if (!this.#open(from).continued)
      warn(
        "WARN_LOG_POSITION",
        plainText(
          `JSONLLogger: ${path} has other lines than the checkpoint knows of: none was removed, and some may come twice.`,
        ),
      );
  }

  override finalize(): void {
    if (this.#file !== null) this.#closedAt = this.stateDict();
    this.#file?.close();
    this.#file = null;
  }
}
