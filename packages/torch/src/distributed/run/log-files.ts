/** Everything that each rank writes, in a file of its own. */
import { Buffer } from "node:buffer";
import { closeSync, mkdirSync, openSync, writeSync } from "node:fs";
import { join } from "node:path";
import { asFileError } from "../../io/errors.js";

export class LogFiles {
  readonly #files = new Map<number, number>();

  /**
   * Opens `rank-0.log` and so on in a folder, which is made. What is in them stays: a restart writes behind it.
   * @param onFailure - Called once, when a file can no longer be written; training goes on.
   */
  constructor(
    readonly folder: string,
    ranks: readonly number[],
    readonly onFailure: (error: unknown) => void,
  ) {
    try {
      mkdirSync(folder, { recursive: true });
      for (const rank of ranks) this.#files.set(rank, openSync(this.pathOf(rank), "a"));
    } catch (error) {
      this.close();
      throw asFileError("launch", "write", folder, error);
    }
  }

  pathOf(rank: number): string {
    return join(this.folder, `rank-${rank}.log`);
  }

  write(rank: number, lines: readonly Buffer[]): void {
    const file = this.#files.get(rank);
    if (file === undefined) return;
    try {
      for (let bytes = Buffer.concat(lines); bytes.length > 0;) bytes = bytes.subarray(writeSync(file, bytes));
    } catch (error) {
      this.close();
      this.onFailure(asFileError("launch", "write", this.pathOf(rank), error));
    }
  }

  close(): void {
    for (const file of this.#files.values()) closeSync(file);
    this.#files.clear();
  }
}
