import { isInteractive, paintFor } from "./ansi.js";
import type { OutputStream, Paint } from "./ansi.js";
import { layoutLine } from "./bar.js";
import type { Segment } from "./bar.js";
import { LiveLine } from "./live-line.js";

/** What a progress display shows: `head bar segments…`. */
export interface Status {
  readonly head: string;
  /** 0…1, or null when the length is not known. */
  readonly fraction: number | null;
  readonly segments: readonly Segment[];
}

/** Where progress is shown. `due` is asked in every step, so it only compares. */
export interface Display {
  readonly paint: Paint;
  /** Is it time to show `fraction`? */
  due(now: number, fraction: number | null): boolean;
  show(status: Status, now: number): void;
  /** Start a new phase: the first status of a phase is always due. */
  restart(now: number): void;
  /** A line that stays. */
  print(status: Status): void;
  close(): void;
}

export function displayFor(stream: OutputStream, others: readonly OutputStream[], intervalMs: number): Display {
  return isInteractive(stream) ? new LiveDisplay(stream, others, intervalMs) : new PlainDisplay(stream);
}

/** A terminal: one line, redrawn at most every `intervalMs`. */
export class LiveDisplay implements Display {
  readonly paint: Paint;
  readonly #line: LiveLine;
  readonly #intervalMs: number;
  #next = 0;

  constructor(stream: OutputStream, others: readonly OutputStream[], intervalMs: number) {
    this.paint = paintFor(stream);
    this.#line = new LiveLine(
      stream,
      others.filter((other) => other.isTTY === true),
    );
    this.#intervalMs = intervalMs;
  }

  due(now: number): boolean {
    return now >= this.#next;
  }

  show(status: Status, now: number): void {
    this.#line.draw(layoutLine(status.head, status.fraction, status.segments, this.#line.columns, this.paint));
    this.#next = now + this.#intervalMs;
  }

  restart(): void {
    this.#next = 0;
  }

  print(status: Status): void {
    this.#line.print(layoutLine(status.head, null, status.segments, this.#line.columns, this.paint));
  }

  close(): void {
    this.#line.close();
  }
}

const PLAIN_SHARE = 0.1;
const PLAIN_SECONDS = 10;
/** Short phases do not need ten lines. */
const PLAIN_MIN_SECONDS = 1;

/** A file or a pipe: a line at each tenth of a phase, but not within a second, and at the latest every ten seconds. */
export class PlainDisplay implements Display {
  readonly paint: Paint;
  readonly #stream: OutputStream;
  #lastAt = 0;
  #nextShare = PLAIN_SHARE;

  constructor(stream: OutputStream) {
    this.#stream = stream;
    this.paint = paintFor(stream);
  }

  due(now: number, fraction: number | null): boolean {
    const seconds = (now - this.#lastAt) / 1000;
    return (
      seconds >= PLAIN_SECONDS || (seconds >= PLAIN_MIN_SECONDS && fraction !== null && fraction >= this.#nextShare)
    );
  }

  show(status: Status, now: number): void {
    this.#lastAt = now;
    if (status.fraction !== null)
      this.#nextShare = (Math.floor(status.fraction / PLAIN_SHARE + 1e-9) + 1) * PLAIN_SHARE;
    this.print(status);
  }

  restart(now: number): void {
    this.#lastAt = now;
    this.#nextShare = PLAIN_SHARE;
  }

  print(status: Status): void {
    this.#stream.write(`${[status.head, ...status.segments.map((s) => s.text)].join("  ")}\n`);
  }

  close(): void {}
}
