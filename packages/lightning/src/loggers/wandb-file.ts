/**
 * The log of a run as the `wandb` client writes it and `wandb sync` reads it: LevelDB's log format behind a header of
 * seven bytes, with the plain CRC-32, and a protocol buffer `Record` in each entry.
 */
import { Buffer } from "node:buffer";
import { closeSync, openSync } from "node:fs";
import { crc32 } from "node:zlib";
import { withFile } from "@nbit/torch";
import { WholeAppends } from "@nbit/torch/files";
import type { Message } from "@nbit/torch/protobuf";

const BLOCK = 32 * 1024;
const HEAD = 7;
/** Types of pieces: all of an entry, its beginning, middle and end. */
const [FULL, FIRST, MIDDLE, LAST] = [1, 2, 3, 4];

export class WandbFile {
  readonly #fd: number;
  #length = 0;
  readonly #file: WholeAppends;

  /** A new file: one that is there belongs to another run. */
  constructor(readonly path: string) {
    this.#fd = withFile("WandbLogger", "make", path, () => openSync(path, "ax"));
    this.#file = new WholeAppends("WandbLogger", path, this.#fd);
    const header = Buffer.alloc(HEAD);
    header.write(":W&B", "latin1");
    header.writeUInt16LE(0xbee1, 4);
    this.#append(header);
  }

  /** The operating system has it when this returns. */
  add(record: Message): void {
    this.#append(entryOf(record.done(), this.#length));
  }

  #append(bytes: Uint8Array): void {
    this.#file.append(bytes);
    this.#length += bytes.length;
  }

  close(): void {
    withFile("WandbLogger", "close", this.path, () => {
      closeSync(this.#fd);
    });
  }
}

/** The pieces of an entry that begins at a place of the file: none crosses the end of a block. */
export function entryOf(data: Uint8Array, at: number): Buffer {
  const parts: Buffer[] = [];
  let [place, from] = [at, 0];
  do {
    const left = BLOCK - (place % BLOCK);
    if (left < HEAD) {
      parts.push(Buffer.alloc(left));
      place += left;
      continue;
    }
    const length = Math.min(left - HEAD, data.length - from);
    const ends = from + length === data.length;
    const type = from === 0 ? (ends ? FULL : FIRST) : ends ? LAST : MIDDLE;
    const piece = Buffer.alloc(HEAD + length);
    piece.writeUInt16LE(length, 4);
    piece[6] = type as number;
    piece.set(data.subarray(from, from + length), HEAD);
    piece.writeUInt32LE(crc32(piece.subarray(6)), 0);
    parts.push(piece);
    place += piece.length;
    from += length;
    if (ends) break;
  } while (from <= data.length);
  return Buffer.concat(parts);
}
