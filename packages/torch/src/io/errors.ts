/** Files that are not what they should be. */
import { statSync } from "node:fs";
import { ArgumentError, NbitError } from "../errors.js";
import { plainText, quoted } from "../plain-text.js";
import { isError } from "../realm.js";

/** What can be wrong with a safetensors file. */
export type SafetensorsCode =
  /** Shorter than its header says. */
  | "SAFETENSORS_TRUNCATED"
  /** Longer than its header says. */
  | "SAFETENSORS_TRAILING"
  /** A header of more than 100 MB. */
  | "SAFETENSORS_HEADER_TOO_LARGE"
  /** A file of torch.save. */
  | "SAFETENSORS_PICKLE"
  /** A header that is not a JSON object of tensors. */
  | "SAFETENSORS_HEADER"
  | "SAFETENSORS_DUPLICATE_KEY"
  | "SAFETENSORS_METADATA"
  | "SAFETENSORS_DTYPE"
  | "SAFETENSORS_SHAPE"
  /** Data that overlaps, has holes, or does not fit the shape. */
  | "SAFETENSORS_OFFSETS"
  /** A tensor was asked for that the file does not have. */
  | "SAFETENSORS_MISSING"
  /** An index of several files that is not one. */
  | "SAFETENSORS_INDEX"
  | "SAFETENSORS_CLOSED";

/** A safetensors file that cannot be read. `code` says what is wrong; nothing was read of it. */
export class SafetensorsError extends NbitError {
  readonly path: string | null;
  constructor(code: SafetensorsCode, message: string, path: string | null = null) {
    super(plainText(path === null ? `safetensors: ${message}` : `${path}: ${message}`), code);
    this.path = path;
  }
}

/** A checkpoint whose contents this version cannot read. */
export class CheckpointError extends NbitError {
  constructor(
    code: "CHECKPOINT_FORMAT" | "CHECKPOINT_VERSION" | "CHECKPOINT_STATE" | "CHECKPOINT_INCOMPLETE",
    message: string,
  ) {
    super(plainText(message), code);
  }
}

/**
 * A file that cannot be read or written. `code` is the operating system's (`ENOSPC`, `ENOENT`, `EACCES`, `EIO`, …),
 * `cause` its error; the message says what was done to which file, and what became of it.
 */
export class FileError extends NbitError {
  constructor(
    message: string,
    code: string,
    readonly path: string,
    options?: ErrorOptions,
  ) {
    super(plainText(message), code, options);
  }
}

/** What helps against what the operating system says most often. */
const FIXES: Readonly<Record<string, string>> = {
  ENOENT: "Check the path: a folder or the file itself is missing.",
  ENOSPC: "Make room on that file system, or choose another.",
  EDQUOT: "Make room in your quota, or choose another file system.",
  EACCES: "Check the permissions of the file and of its folder.",
  EPERM: "Check the permissions of the file and of its folder.",
  EROFS: "That file system is read-only: choose another.",
  EISDIR: "Give the path of a file, not of a folder.",
  ENOTDIR: "A part of the path is a file, not a folder.",
  ENAMETOOLONG: "Choose a shorter name.",
  EMFILE: "Too many files are open: close some.",
  EIO: "The device failed; try again, or choose another.",
};

/**
 * @internal Do something to a file; what the operating system refuses becomes a {@link FileError}.
 *
 * @param doing - In the infinitive: "write", "read".
 * @param kept - What is true of the file when that fails, as a sentence.
 */
export function withFile<T>(fn: string, doing: string, path: string, run: () => T, kept = ""): T {
  try {
    return run();
  } catch (error) {
    throw asFileError(fn, doing, path, error, kept);
  }
}

/** @throws {ArgumentError} for what cannot be the path of a file. */
export function checkPath(fn: string, path: unknown): asserts path is string {
  if (typeof path !== "string" || path === "" || path.includes("\0"))
    throw new ArgumentError(fn, "path to be the path of a file", path);
}

/**
 * @internal Check that there is a file to be read. A pipe or a device would keep its reader waiting, or never end.
 * @throws {FileError} when there is none, or it cannot be looked at. @throws {ArgumentError} when it is no file.
 */
export function checkReadable(fn: string, path: unknown): asserts path is string {
  checkPath(fn, path);
  if (!withFile(fn, "read", path, () => statSync(path)).isFile())
    throw new ArgumentError(fn, "path to be that of a file", path);
}

/**
 * @internal An error of the operating system, or of Node's file functions, as a {@link FileError}; any other as it is.
 */
export function asFileError(fn: string, doing: string, path: string, error: unknown, kept = ""): unknown {
  if (!isError(error) || error instanceof NbitError || !("code" in error) || typeof error.code !== "string")
    return error;
  if (!("syscall" in error) && !error.code.startsWith("ERR_")) return error;
  // "ENOSPC: no space left on device, write": the call and the path at the end say nothing that this message does not.
  const said = error.message.split(", ")[0] ?? error.message;
  const rest = [kept, FIXES[error.code] ?? ""].filter((part) => part !== "").join(" ");
  return new FileError(
    `${fn}: expected to ${doing} ${quoted(path)}. Received: ${said}.${rest === "" ? "" : ` ${rest}`}`,
    error.code,
    path,
    { cause: error },
  );
}
