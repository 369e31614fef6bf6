/** Output of a process as whole lines, so that those of several never mix within one. */
import { Buffer } from "node:buffer";

const NEWLINE = 10;
/** A line that is longer is shown in pieces. */
const MOST_BYTES = 1 << 16;

/** Cuts what arrives into lines. They are bytes: nothing is decoded, and nothing is changed. */
export class LineSplitter {
  #rest: Buffer[] = [];
  #length = 0;

  /** @param emit - Is given the lines that a chunk completes, each with its newline. */
  constructor(readonly emit: (lines: readonly Buffer[]) => void) {}

  push(chunk: Buffer): void {
    const lines: Buffer[] = [];
    let from = 0;
    for (let at = chunk.indexOf(NEWLINE); at !== -1; at = chunk.indexOf(NEWLINE, from)) {
      lines.push(this.#take(chunk.subarray(from, at + 1)));
      from = at + 1;
    }
    if (from < chunk.length) {
      this.#rest.push(chunk.subarray(from));
      this.#length += chunk.length - from;
    }
    if (this.#length >= MOST_BYTES) lines.push(this.#take(Buffer.from("\n")));
    if (lines.length > 0) this.emit(lines);
  }

  /** What was left without a newline gets one. */
  end(): void {
    if (this.#length > 0) this.emit([this.#take(Buffer.from("\n"))]);
  }

  #take(last: Buffer): Buffer {
    if (this.#length === 0) return last;
    const line = Buffer.concat([...this.#rest, last]);
    this.#rest = [];
    this.#length = 0;
    return line;
  }
}
