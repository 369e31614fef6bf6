import { readFileSync } from "node:fs";
import { withFile } from "@nbit/torch";
import { atExit, LogFile } from "./log-file.js";

/** A file of one JSON value per line, appended in batches. A line torn by a crash is cut off when the file is opened again. */
export class JsonLines {
  readonly path: string;
  readonly #file: LogFile;
  readonly #maxSeconds: number;
  #pending: string[] = [];
  #lastFlush = performance.now();
  #closed = false;
  readonly #onExit = atExit(() => {
    this.flush();
  });

  /**
   * @param begin - With which every such file begins.
   * @param maxSeconds - How long lines may wait in memory while others follow.
   */
  constructor(path: string, begin = "{", maxSeconds = 1) {
    this.path = path;
    this.#maxSeconds = maxSeconds;
    this.#file = new LogFile("RunLog", path, (content) => isLog(content, begin));
    const content = withFile("RunLog", "read", path, () => readFileSync(path));
    const complete = content.lastIndexOf(0x0a) + 1;
    if (complete < content.length) this.#file.cut(complete);
    process.on("exit", this.#onExit);
  }

  add(record: object): void {
    this.#pending.push(JSON.stringify(record, exactNumbers));
    if (performance.now() - this.#lastFlush >= this.#maxSeconds * 1000) this.flush();
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

/** Whether a text is such a log: its first line, which may be all there is, and torn, begins like one. */
function isLog(content: string, begin: string): boolean {
  const end = content.indexOf("\n");
  if (end === -1) return content.length < begin.length ? begin.startsWith(content) : begin.length > 1 && content.startsWith(begin);
  if (!content.startsWith(begin)) return false;
  try {
    return typeof JSON.parse(content.slice(0, end)) === "object";
  } catch {
    return false;
  }
}

/** JSON has no word for these three; plain `JSON.stringify` would make them null. */
function exactNumbers(_key: string, value: unknown): unknown {
  return typeof value === "number" && !Number.isFinite(value) ? String(value) : value;
}
