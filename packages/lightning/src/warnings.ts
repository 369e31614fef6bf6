import { plainText } from "@nbit/torch";
import { globalRank } from "@nbit/torch/distributed";

/**
 * Warn once per place and message through Node's own channel: `process.on("warning", w => w.code)` sees it,
 * `--no-warnings` and `--throw-warnings` apply to it, and it goes to stderr otherwise. What all of several processes
 * would say, process 0 says alone.
 */
export function warn(code: string, message: string): void {
  if (globalRank() === 0) emit(code, message);
}

/** The same for what may be so in one process and not in others: each says it, with its rank. */
export function warnOfThisRank(code: string, message: string): void {
  const rank = globalRank();
  emit(code, rank === 0 ? message : `[rank ${rank}] ${message}`);
}

function emit(code: string, message: string): void {
  process.emitWarning(plainText(message), { type: "NbitWarning", code });
}

/** Remembers what was said, so that a warning inside a loop is given once per run. */
export class WarnOnce {
  readonly #given = new Set<string>();

  warn(code: string, message: string): void {
    if (this.#isNew(code, message)) warn(code, message);
  }
  warnOfThisRank(code: string, message: string): void {
    if (this.#isNew(code, message)) warnOfThisRank(code, message);
  }
  #isNew(code: string, message: string): boolean {
    const key = `${code} ${message}`;
    if (this.#given.has(key)) return false;
    this.#given.add(key);
    return true;
  }
}
