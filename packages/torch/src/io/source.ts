/** Bytes that are read where they are needed: of a file, or of memory. */
import { closeSync, fstatSync, openSync } from "node:fs";
import { checkReadable, withFile } from "./errors.js";
import { PIECE, readAt } from "./pieces.js";

/** @internal */
export interface Source {
  /** Null: of memory. */
  readonly path: string | null;
  readonly size: number;
  /** Fills `into` with the bytes from `at`. Returns how many there were: fewer where the source ends before. */
  readonly read: (into: Uint8Array, at: number) => number;
  readonly close: () => void;
}

/** @internal What is to be read, open. @throws {FileError} when the file cannot be read at all. */
export function openSource(fn: string, from: string | Uint8Array): Source {
  if (typeof from !== "string")
    return {
      path: null,
      size: from.length,
      read: (into, at) => {
        const part = from.subarray(at, at + into.length);
        into.set(part);
        return part.length;
      },
      close: () => undefined,
    };
  checkReadable(fn, from);
  const fd = withFile(fn, "read", from, () => openSync(from, "r"));
  return {
    path: from,
    size: fstatSync(fd).size,
    read: (into, at) => readAt(fn, from, fd, into, at),
    close: () => closeSync(fd),
  };
}

/**
 * @internal Bytes of a source. No memory is taken for what it does not have.
 * @param truncated - Makes the error when the source ends before: of how many bytes in all there should be.
 */
export function readBytes(
  source: Source,
  at: number,
  length: number,
  truncated: (expected: number) => Error,
): Uint8Array<ArrayBuffer> {
  if (!(at + length <= source.size)) throw truncated(at + length);
  const bytes = new Uint8Array(length);
  if (source.read(bytes, at) < length) throw truncated(at + length);
  return bytes;
}

/** @internal The same piece by piece, in memory that is used again. Pieces hold whole elements of up to 16 bytes. */
export function eachPiece(
  source: Source,
  at: number,
  length: number,
  truncated: (expected: number) => Error,
  take: (piece: Uint8Array) => void,
): void {
  if (!(at + length <= source.size)) throw truncated(at + length);
  const memory = new Uint8Array(Math.min(PIECE, length));
  for (let done = 0; done < length; done += PIECE) {
    const piece = memory.subarray(0, Math.min(PIECE, length - done));
    if (source.read(piece, at + done) < piece.length) throw truncated(at + length);
    take(piece);
  }
}
