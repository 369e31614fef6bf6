import { fstatSync, ftruncateSync } from "node:fs";
import { asFileError } from "./errors.js";
import { writeAll } from "./replace.js";

/** A file that is open for appending: all of a piece is in it, or nothing. */
export class WholeAppends {
  /** Length to which the file must be cut first: a write failed half way, and could not be taken back. */
  #whole: number | null = null;

  /** @param kept - What becomes of a piece that was not written, for the error. */
  constructor(
    readonly fn: string,
    readonly path: string,
    readonly fd: number,
    readonly kept = "",
  ) {}

  /**
   * The operating system has the piece when this returns. What a full disk, or a failing one, took of it is taken back.
   * @throws {FileError} when it was not written.
   */
  append(piece: Uint8Array): void {
    try {
      if (this.#whole !== null) ftruncateSync(this.fd, this.#whole);
      this.#whole = null;
      const before = fstatSync(this.fd).size;
      try {
        writeAll(this.fd, piece);
      } catch (error) {
        this.#whole = before;
        ftruncateSync(this.fd, before);
        this.#whole = null;
        throw error;
      }
    } catch (error) {
      throw asFileError(this.fn, "write", this.path, error, this.kept);
    }
  }
}
