import { Buffer } from "node:buffer";
import { readFileSync } from "node:fs";
import { withFile, plainText } from "@nbit/torch";
import { atExit, checkLog, LogFile } from "./log-file.js";
import { beginsAt, LogDigest } from "./position.js";
import type { LogPosition } from "./position.js";

export interface JsonLinesOptions {
  /** How long lines may wait in memory while others follow. Default 1. */
  readonly maxSeconds?: number;
  /** Whose log it is, for messages. */
  readonly fn?: string;
  /** With which other logs in the file begin: behind one there is nothing to cut back. Default: there are none. */
  readonly others?: string;
  /** Lines that begin so stay where they follow the place to go on from: they belong to what is before them. */
  readonly keeps?: string;
}

/** Lines that may wait in memory, however fast they come. */
const MOST_PENDING = 1000;

/**
 * A file of one JSON value per line, appended in batches. A line torn by a crash is cut off when the file is opened
 * again.
 */
export class JsonLines {
  readonly path: string;
  /** The file was the log that `from` knows, and was cut back to it. */
  readonly continued: boolean;
  readonly #file: LogFile;
  readonly #digest = new LogDigest();
  readonly #maxSeconds: number;
  #pending: string[] = [];
  #lastFlush = performance.now();
  #closed = false;
  readonly #onExit = atExit(() => {
    this.flush();
  });

  /**
   * @param begin - With which every such file begins.
   * @param from - Go on from there: lines that came later are dropped, if this is the log that it knows, and no other
   * has begun in the file since.
   */
  constructor(path: string, begin = "{", from: LogPosition | null = null, options: JsonLinesOptions = {}) {
    const { maxSeconds = 1, fn = "RunLog", keeps, others } = options;
    this.path = path;
    this.#maxSeconds = maxSeconds;
    this.#file = new LogFile(fn, path, (content) => isLog(content, begin));
    const content = withFile(fn, "read", path, () => readFileSync(path));
    const complete = content.toString("utf8", 0, content.lastIndexOf(0x0a) + 1);
    const all = complete === "" ? [] : complete.slice(0, -1).split("\n");
    const begins = (line: string): boolean => others !== undefined && line.startsWith(others);
    this.continued = from !== null && beginsAt(from, all) && !all.slice(Math.max(1, from.lines)).some(begins);
    let kept = from !== null && this.continued ? from.lines : all.length;
    while (keeps !== undefined && all[kept]?.startsWith(keeps) === true) kept++;
    const lines = all.slice(0, kept);
    for (const line of lines) this.#digest.add(line);
    const bytes = lines.reduce((sum, line) => sum + Buffer.byteLength(line) + 1, 0);
    if (bytes < content.length) this.#file.cut(bytes);
    process.on("exit", this.#onExit);
  }

  add(record: object): void {
    this.addLine(jsonOf(record));
  }

  /** A line that `jsonOf` made, or parts of such. */
  addLine(line: string): void {
    this.#pending.push(line);
    this.#digest.add(line);
    if (this.#pending.length >= MOST_PENDING || performance.now() - this.#lastFlush >= this.#maxSeconds * 1000)
      this.flush();
  }

  /** Make every line durable, and say where that is. */
  position(): LogPosition {
    this.flush();
    if (!this.#closed) this.#file.sync();
    return this.#digest.position;
  }

  flush(): void {
    if (this.#closed || this.#pending.length === 0) return;
    this.#file.append(`${this.#pending.join("\n")}\n`);
    this.#pending = [];
    this.#lastFlush = performance.now();
  }

  close(): void {
    if (this.#closed) return;
    // What cannot be written stays in memory: the next call, or the end of the process, tries again.
    this.flush();
    this.#closed = true;
    process.removeListener("exit", this.#onExit);
    this.#file.close();
  }
}

/** @throws {MisconfigurationError} `ERR_LOG_FILE` unless there is nothing at `path`, or a log that begins so. */
export function checkLines(path: string, begin: string): void {
  checkLog("RunLog", path, (content) => isLog(content, begin));
}

/** Whether a text is such a log: its first line, which may be all there is, and torn, begins like one. */
function isLog(content: string, begin: string): boolean {
  const end = content.indexOf("\n");
  if (end === -1)
    return content.length < begin.length ? begin.startsWith(content) : begin.length > 1 && content.startsWith(begin);
  if (!content.startsWith(begin)) return false;
  try {
    return typeof JSON.parse(content.slice(0, end)) === "object";
  } catch {
    return false;
  }
}

/** A record as it stands in a line. */
export function jsonOf(record: object): string {
  return plainText(JSON.stringify(record, exactNumbers));
}

/** JSON has no word for these three; plain `JSON.stringify` would make them null. */
function exactNumbers(_key: string, value: unknown): unknown {
  return typeof value === "number" && !Number.isFinite(value) ? String(value) : value;
}
