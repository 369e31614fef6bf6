/**
 * What set-up tells while it works: one live line on a terminal, plain lines elsewhere, nothing when there is nothing
 * to do.
 */

const PLAIN_EVERY_MS = 5_000;
const FRAMES = ["⠋", "⠙", "⠹", "⠸", "⠼", "⠴", "⠦", "⠧", "⠇", "⠏"];

export class Progress {
  /** @param {{ stream?: NodeJS.WriteStream, quiet?: boolean }} [options] */
  constructor({ stream = process.stderr, quiet = false } = {}) {
    this.stream = stream;
    this.quiet = quiet;
    this.live = stream.isTTY === true && process.env["CI"] === undefined && process.env["TERM"] !== "dumb";
    this.steps = 0;
  }

  /** Runs one named piece of work; `work` gets a function that shows how far it is, or, with `true`, notes what stays to be read. */
  async step(name, what, work) {
    this.steps++;
    const began = performance.now();
    let text = what;
    let frame = 0;
    let said = performance.now();
    this.#plain(name, what);
    const timer = this.live
      ? setInterval(
          () => this.#draw(`${FRAMES[frame++ % FRAMES.length]} ${name.padEnd(10)} ${text} ${seconds(began)}`),
          100,
        )
      : undefined;
    timer?.unref();
    const update = (next, note = false) => {
      if (note) return this.note(next);
      text = next;
      if (this.live || performance.now() - said < PLAIN_EVERY_MS) return;
      said = performance.now();
      this.#plain(name, `${next} ${seconds(began)}`);
    };
    try {
      const result = await work(update);
      clearInterval(timer);
      this.#finish(`✓ ${name.padEnd(10)} ${text} ${seconds(began)}`);
      return result;
    } catch (error) {
      clearInterval(timer);
      this.#finish(`✗ ${name.padEnd(10)} ${text} ${seconds(began)}`);
      throw error;
    }
  }

  note(text) {
    if (!this.quiet) this.stream.write(`${this.live ? "\r\x1b[2K" : ""}  ${text}\n`);
  }

  #plain(name, text) {
    if (!this.live && !this.quiet) this.stream.write(`  ${name.padEnd(10)} ${text}\n`);
  }

  #draw(line) {
    if (!this.quiet) this.stream.write(`\r\x1b[2K${line.slice(0, Math.max(20, (this.stream.columns || 80) - 1))}`);
  }

  #finish(line) {
    if (this.quiet) return;
    this.stream.write(`${this.live ? "\r\x1b[2K" : ""}${line}\n`);
  }
}

function seconds(began) {
  return `(${((performance.now() - began) / 1000).toFixed(1)} s)`;
}

export function megabytes(bytes) {
  return `${(bytes / 1e6).toFixed(0)} MB`;
}
