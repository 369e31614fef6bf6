import { closeSync, mkdirSync, openSync, readFileSync, truncateSync, writeSync } from "node:fs";
import { dirname } from "node:path";

/** A file of one JSON value per line, appended in batches. A line torn by a crash is cut off when the file is opened again. */
export class JsonLines {
  readonly path: string;
  readonly #fd: number;
  readonly #maxSeconds: number;
  #pending: string[] = [];
  #lastFlush = performance.now();
  #closed = false;
  readonly #onExit = (): void => this.flush();

  /** @param maxSeconds - How long lines may wait in memory while others follow. */
  constructor(path: string, maxSeconds = 1) {
    this.path = path;
    this.#maxSeconds = maxSeconds;
    mkdirSync(dirname(path), { recursive: true });
    this.#fd = openSync(path, "a+");
    const content = readFileSync(this.#fd);
    const complete = content.lastIndexOf(0x0a) + 1;
    if (complete < content.length) truncateSync(path, complete);
    process.on("exit", this.#onExit);
  }

  add(record: object): void {
    this.#pending.push(JSON.stringify(record, exactNumbers));
    if (performance.now() - this.#lastFlush >= this.#maxSeconds * 1000) this.flush();
  }

  flush(): void {
    if (this.#closed || this.#pending.length === 0) return;
    const bytes = Buffer.from(`${this.#pending.join("\n")}\n`);
    for (let at = 0; at < bytes.length; ) at += writeSync(this.#fd, bytes, at);
    this.#pending = [];
    this.#lastFlush = performance.now();
  }

  close(): void {
    if (this.#closed) return;
    this.flush();
    this.#closed = true;
    process.removeListener("exit", this.#onExit);
    closeSync(this.#fd);
  }
}

/** JSON has no word for these three; plain `JSON.stringify` would make them null. */
function exactNumbers(_key: string, value: unknown): unknown {
  return typeof value === "number" && !Number.isFinite(value) ? String(value) : value;
}
