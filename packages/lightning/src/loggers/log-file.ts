/** Files that logs are appended to: whole pieces or nothing, and only to what is a log already. */
import { Buffer } from "node:buffer";
import { closeSync, constants, fsyncSync, ftruncateSync, lstatSync, mkdirSync, openSync, readFileSync } from "node:fs";
import { dirname } from "node:path";
import { checkPath, plainText, withFile, verbatim } from "@nbit/torch";
import { WholeAppends } from "@nbit/torch/files";
import { MisconfigurationError } from "../errors.js";
import { isError } from "@nbit/torch/realm";

const KEPT = "What was not written waits in memory, and is written with what comes next.";

/** A file that is open for appending. */
export class LogFile {
  private readonly fd: number;
  readonly #file: WholeAppends;

  /**
   * Open a log, which is made, with its folder, where there is none.
   * @param isLog - Whether a text that is found is such a log, and not somebody's file of that name.
   * @throws {MisconfigurationError} `ERR_LOG_FILE` for any other file, and for a symbolic link; nothing is changed.
   */
  constructor(
    readonly fn: string,
    readonly path: string,
    isLog: (content: string) => boolean,
  ) {
    checkPath(fn, path);
    withFile(fn, "make the folder of", path, () => mkdirSync(dirname(path), { recursive: true }));
    checkLog(fn, path, isLog);
    this.fd = withFile(fn, "open", path, () =>
      openSync(path, constants.O_RDWR | constants.O_APPEND | constants.O_CREAT | constants.O_NOFOLLOW, 0o666),
    );
    this.#file = new WholeAppends(fn, path, this.fd, KEPT);
  }

  /**
   * Append all of a text. What a full disk, or a failing one, took of it is taken back.
   * @throws {FileError} when it was not written.
   */
  append(text: string): void {
    this.#file.append(Buffer.from(text));
  }

  /** Cut what a crash left of a last line. */
  cut(length: number): void {
    withFile(this.fn, "write", this.path, () => {
      ftruncateSync(this.fd, length);
    });
  }

  /** What was appended has reached the disk when this returns. */
  sync(): void {
    withFile(this.fn, "write", this.path, () => {
      fsyncSync(this.fd);
    });
  }

  close(): void {
    withFile(this.fn, "close", this.path, () => {
      closeSync(this.fd);
    });
  }

  /** Close it, when another file has taken its name: whatever the device says of it is of no interest. */
  abandon(): void {
    try {
      closeSync(this.fd);
    } catch {
      // Its rows are in the other file.
    }
  }
}

/** @throws {MisconfigurationError} `ERR_LOG_FILE` unless there is nothing at `path`, or such a log. */
export function checkLog(fn: string, path: string, isLog: (content: string) => boolean): void {
  const fail = (received: string): MisconfigurationError =>
    new MisconfigurationError(
      fn,
      `a log of its own, or nothing, at ${plainText(path)}`,
      verbatim(received),
      "Choose another place: that file was left as it is.",
      "ERR_LOG_FILE",
    );
  const stat = withFile(fn, "look at", path, () => lstatSync(path, { throwIfNoEntry: false }));
  if (stat === undefined) return;
  if (!stat.isFile()) throw fail(stat.isSymbolicLink() ? "a symbolic link" : "something that is no file");
  const content = withFile(fn, "read", path, () => readFileSync(path, "utf8"));
  if (content !== "" && !isLog(content))
    throw fail(`a file that begins with ${JSON.stringify(plainText(content.slice(0, 40)))}`);
}

/** When a process ends, nobody is left to catch an error: it is said. */
export function atExit(flush: () => void): () => void {
  return () => {
    try {
      flush();
    } catch (error) {
      process.stderr.write(`${plainText(isError(error) ? error.message : error)}\n`);
    }
  };
}
