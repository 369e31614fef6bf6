import { truncate } from "./ansi.js";
import type { OutputStream } from "./ansi.js";

type Write = OutputStream["write"];

const CLEAR = "\r\x1b[K";

/**
 * One line at the bottom of a terminal that is drawn over and over.
 *
 * While it is shown, anything else written to the streams (a `console.log` in a hook, a warning) first clears the line
 * and lands above it; the line comes back at its next `draw`. A redraw is a single write, so nothing flickers. The
 * cursor is never hidden: there is nothing to restore when the process is killed.
 */
export class LiveLine {
  readonly #stream: OutputStream;
  readonly #hooked: Hook[] = [];
  #shown = "";
  #width = 0;
  /** Someone wrote text without a final newline: the cursor stands behind it. */
  #midLine = false;

  /** @param others - Further streams that share the terminal, usually stderr. */
  constructor(stream: OutputStream, others: readonly OutputStream[] = []) {
    this.#stream = stream;
    for (const each of new Set([stream, ...others]))
      this.#hooked.push(
        new Hook(
          each,
          () => this.#erase(),
          (text) => this.#after(text),
        ),
      );
  }

  get columns(): number {
    // One column stays free: a full line makes some terminals wrap. 0 columns is what some pseudo terminals report.
    return Math.max(20, (this.#stream.columns || 80) - 1);
  }

  draw(text: string): void {
    const { columns } = this;
    const line = truncate(text, columns);
    if (line === this.#shown && columns === this.#width) return;
    this.#write(this.#start() + line);
    this.#shown = line;
    this.#width = columns;
  }

  /** Replace the line by text that stays. */
  print(text: string): void {
    this.#write(`${this.#start()}${text}\n`);
    this.#shown = "";
  }

  /** Remove the line. Safe to call at any time, more than once. */
  clear(): void {
    this.#erase();
  }

  /** Remove the line and give the streams back. */
  close(): void {
    this.#erase();
    for (const hook of this.#hooked) hook.remove();
  }

  #start(): string {
    const start = this.#midLine ? "\n" : CLEAR;
    this.#midLine = false;
    return start;
  }

  #after(text: unknown): void {
    if (typeof text === "string" && text !== "") this.#midLine = !text.endsWith("\n");
  }

  #erase(): void {
    if (this.#shown === "") return;
    this.#shown = "";
    this.#write(CLEAR);
  }

  #write(text: string): void {
    const own = this.#hooked.find((hook) => hook.stream === this.#stream);
    if (own === undefined) this.#stream.write(text);
    else own.pass(text);
  }
}

/** Calls `before` ahead of every write to a stream that is not our own, and `after` behind it. */
class Hook {
  readonly #original: Write;
  readonly #installed: Write;
  #active = true;
  #inside = false;

  constructor(
    readonly stream: OutputStream,
    before: () => void,
    after: (text: unknown) => void,
  ) {
    this.#original = stream.write;
    this.#installed = (...args: Parameters<Write>): boolean => {
      if (!this.#active || this.#inside) return Reflect.apply(this.#original, stream, args);
      before();
      const result = Reflect.apply(this.#original, stream, args);
      after(args[0]);
      return result;
    };
    stream.write = this.#installed;
  }

  pass(text: string): void {
    this.#inside = true;
    try {
      Reflect.apply(this.#original, this.stream, [text]);
    } finally {
      this.#inside = false;
    }
  }

  remove(): void {
    this.#active = false;
    // Someone else may have wrapped the stream since; then ours stays beneath as a plain pass-through.
    if (this.stream.write === this.#installed) this.stream.write = this.#original;
  }
}
