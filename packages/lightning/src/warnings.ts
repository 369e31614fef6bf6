import { plainText } from "@nbit/torch";

/**
 * Warn once per place and message through Node's own channel: `process.on("warning", w => w.code)` sees it,
 * `--no-warnings` and `--throw-warnings` apply to it, and it goes to stderr otherwise.
 */
export function warn(code: string, message: string): void {
  process.emitWarning(plainText(message), { type: "NbitWarning", code });
}

/** Remembers what was said, so that a warning inside a loop is given once per run. */
export class WarnOnce {
  readonly #given = new Set<string>();

  warn(code: string, message: string): void {
    const key = `${code} ${message}`;
    if (this.#given.has(key)) return;
    this.#given.add(key);
    warn(code, message);
  }
}
