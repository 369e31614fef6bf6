/**
 * Where a log stood when a checkpoint was written, so that a run that goes on from it neither repeats nor loses a line.
 */
import { createHash } from "node:crypto";
import { count, fieldsOf, text, type TypeOf } from "@nbit/torch/schema";

export const logPosition = fieldsOf({
  /** Lines, or rows, that the checkpoint knows of. */
  lines: count,
  /** Of what they say. */
  digest: text,
});
export type LogPosition = TypeOf<typeof logPosition>;

/**
 * What a log says so far, in one number. A log that is found later is cut back only when it begins with the very lines
 * that a checkpoint knows of: one of another run is never touched.
 */
export class LogDigest {
  readonly #hash = createHash("sha256");
  #lines = 0;

  add(line: string): void {
    this.#hash.update(line).update("\n");
    this.#lines++;
  }

  get position(): LogPosition {
    return { lines: this.#lines, digest: this.#hash.copy().digest("hex") };
  }
}

/** Whether these lines begin with those that `position` knows of. */
export function beginsAt(position: LogPosition, lines: readonly string[]): boolean {
  if (lines.length < position.lines) return false;
  const digest = new LogDigest();
  for (const line of lines.slice(0, position.lines)) digest.add(line);
  return digest.position.digest === position.digest;
}
