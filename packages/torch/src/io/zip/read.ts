/**
 * Zip archives, read with their word for nothing: every entry lies within the file and overlaps no other, so that what
 * is stored takes no more memory than the file, and what is packed no more than deflate can hold.
 */
import { crc32, inflateRawSync } from "node:zlib";
import { quoted } from "../../plain-text.js";
import { isError } from "../../realm.js";
import { eachPiece, readBytes, type Source } from "../source.js";

/** Makes the error of an archive that is cut off, is wrong, has what is not read, or unpacks to too much. */
export type ZipFault = (what: "truncated" | "damaged" | "unsupported" | "limit", message: string) => Error;

/** One file of an archive. */
export interface ZipEntry {
  readonly name: string;
  readonly deflated: boolean;
  /** Bytes of the file, and bytes that it takes in the archive. */
  readonly size: number;
  readonly packed: number;
  readonly crc: number;
  /** Where its own header begins, and the first byte behind it that is not its own. */
  readonly start: number;
  readonly end: number;
}

const END = 0x06054b50;
const END64 = 0x06064b50;
const LOCATOR64 = 0x07064b50;
const CENTRAL = 0x02014b50;
const LOCAL = 0x04034b50;
/** Fields of 32 bits that say: look in the extra field. */
const LARGE = 0xffffffff;

/** The end record, and the longest comment behind it. */
const LONGEST_END = 22 + 65535;
const MOST_ENTRIES = 2 ** 20;
/** Deflate makes data at most so many times smaller. */
const DENSEST = 1032;
/** Bytes that may be unpacked of one archive; what is stored as it is does not count. */
const MOST_UNPACKED = 2 ** 32;

/** An archive whose directory has been read and checked. */
export class ZipArchive {
  readonly entries: ReadonlyMap<string, ZipEntry>;
  readonly #source: Source;
  readonly #fault: ZipFault;
  #unpacked = 0;

  /** @throws what `fault` makes. */
  constructor(source: Source, fault: ZipFault) {
    this.#source = source;
    this.#fault = fault;
    this.entries = this.#directory();
  }

  #truncated = (expected: number): Error =>
    this.#fault("truncated", `expected at least ${expected} bytes. Received: ${this.#source.size}.`);

  #bytes(at: number, length: number): DataView {
    const bytes = readBytes(this.#source, at, length, this.#truncated);
    return new DataView(bytes.buffer);
  }

  #directory(): Map<string, ZipEntry> {
    const { at, size, count } = this.#end();
    if (at + size > this.#source.size) throw this.#truncated(at + size);
    if (count > MOST_ENTRIES || size > 2 ** 28)
      throw this.#fault("limit", `expected at most ${MOST_ENTRIES} files in an archive. Received: ${count}.`);
    const view = this.#bytes(at, size);
    const found: Omit<ZipEntry, "end">[] = [];
    let next = 0;
    for (let i = 0; i < count; i++) {
      const { entry, length } = this.#central(view, next);
      found.push(entry);
      next += length;
    }
    found.sort((a, b) => a.start - b.start);
    const entries = new Map<string, ZipEntry>();
    found.forEach((entry, i) => {
      const end = found[i + 1]?.start ?? at;
      if (!(entry.start + 30 + entry.packed <= end))
        throw this.#fault("damaged", `expected files that lie one behind the other. Received: ${quoted(entry.name)}.`);
      if (entries.has(entry.name))
        throw this.#fault("damaged", `expected every file once. Received: ${quoted(entry.name)} twice.`);
      entries.set(entry.name, { ...entry, end });
    });
    return entries;
  }

  /** Where the directory is, by the record at the archive's end. */
  #end(): { readonly at: number; readonly size: number; readonly count: number } {
    const { size } = this.#source;
    const tail = Math.min(size, LONGEST_END);
    const view = this.#bytes(size - tail, tail);
    let i = tail - 22;
    while (i >= 0 && !(view.getUint32(i, true) === END && i + 22 + view.getUint16(i + 20, true) <= tail)) i--;
    if (i < 0)
      throw this.#fault("truncated", "expected the directory at the archive's end. Received: none. Is it cut off?");
    const where = {
      count: view.getUint16(i + 10, true),
      size: view.getUint32(i + 12, true),
      at: view.getUint32(i + 16, true),
    };
    if (i < 20 || view.getUint32(i - 20, true) !== LOCATOR64) return where;
    const end = this.#bytes(this.#exact(view.getBigUint64(i - 12, true)), 56);
    if (end.getUint32(0, true) !== END64) throw this.#fault("damaged", "expected the record of a large archive.");
    return {
      count: this.#exact(end.getBigUint64(32, true)),
      size: this.#exact(end.getBigUint64(40, true)),
      at: this.#exact(end.getBigUint64(48, true)),
    };
  }

  #exact(value: bigint): number {
    if (value > BigInt(this.#source.size)) throw this.#truncated(Number(value));
    return Number(value);
  }

  #central(view: DataView, at: number): { readonly entry: Omit<ZipEntry, "end">; readonly length: number } {
    const broken = (): Error => this.#fault("damaged", "expected a directory of files.");
    if (at + 46 > view.byteLength || view.getUint32(at, true) !== CENTRAL) throw broken();
    const [nameLength, extraLength, commentLength] = [28, 30, 32].map((o) => view.getUint16(at + o, true)) as [
      number,
      number,
      number,
    ];
    const length = 46 + nameLength + extraLength + commentLength;
    if (at + length > view.byteLength) throw broken();
    const name = new TextDecoder().decode(new Uint8Array(view.buffer, at + 46, nameLength));
    const method = view.getUint16(at + 10, true);
    if ((view.getUint16(at + 8, true) & 1) !== 0 || (method !== 0 && method !== 8))
      throw this.#fault(
        "unsupported",
        `expected files that are stored or deflated. Received: ${quoted(name)}, packed or encrypted otherwise.`,
      );
    const large = new DataView(view.buffer, at + 46 + nameLength, extraLength);
    const [size, packed, start] = this.#sizes(large, view.getUint32(at + 24, true), view.getUint32(at + 20, true), {
      start: view.getUint32(at + 42, true),
    });
    const deflated = method === 8;
    if (deflated ? size > packed * DENSEST : size !== packed)
      throw this.#fault(
        "damaged",
        `expected ${quoted(name)} to have the size that it takes. Received: ${size} of ${packed} bytes.`,
      );
    return { entry: { name, deflated, size, packed, crc: view.getUint32(at + 16, true), start }, length };
  }

  /** Sizes and place, from the extra field where 32 bits do not hold them. */
  #sizes(extra: DataView, size: number, packed: number, { start }: { start: number }): [number, number, number] {
    const values: [number, number, number] = [size, packed, start];
    for (let at = 0; at + 4 <= extra.byteLength;) {
      const [id, length] = [extra.getUint16(at, true), extra.getUint16(at + 2, true)];
      if (id === 1) {
        let next = at + 4;
        values.forEach((value, i) => {
          if (value !== LARGE || next + 8 > Math.min(extra.byteLength, at + 4 + length)) return;
          values[i] = this.#exact(extra.getBigUint64(next, true));
          next += 8;
        });
      }
      at += 4 + length;
    }
    return values;
  }

  /** Where the bytes of an entry begin in the file. */
  dataStart(entry: ZipEntry): number {
    const view = this.#bytes(entry.start, 30);
    if (view.getUint32(0, true) !== LOCAL)
      throw this.#fault("damaged", `expected the header of ${quoted(entry.name)} at ${entry.start}.`);
    const start = entry.start + 30 + view.getUint16(26, true) + view.getUint16(28, true);
    if (start + entry.packed > entry.end)
      throw this.#fault("damaged", `expected ${quoted(entry.name)} to end before the next file.`);
    return start;
  }

  /** All bytes of an entry. @param verify - Compare them with the archive's checksum. */
  bytes(entry: ZipEntry, verify: boolean): Uint8Array<ArrayBuffer> {
    const packed = readBytes(this.#source, this.dataStart(entry), entry.packed, this.#truncated);
    const bytes = entry.deflated ? this.#inflate(entry, packed) : packed;
    if (verify && crc32(bytes) !== entry.crc) throw this.#changed(entry);
    return bytes;
  }

  /** The same piece by piece, in memory that is used again. */
  each(entry: ZipEntry, verify: boolean, take: (piece: Uint8Array) => void): void {
    if (entry.deflated) {
      take(this.bytes(entry, verify));
      return;
    }
    let crc = 0;
    eachPiece(this.#source, this.dataStart(entry), entry.size, this.#truncated, (piece) => {
      if (verify) crc = crc32(piece, crc);
      take(piece);
    });
    if (verify && crc !== entry.crc) throw this.#changed(entry);
  }

  /** An entry that is stored as it is, as a source of its own. @param verify - Compare its checksum first. */
  within(entry: ZipEntry, verify: boolean): Source {
    if (verify) this.each(entry, true, () => undefined);
    const start = this.dataStart(entry);
    return {
      path: this.#source.path,
      size: entry.size,
      read: (into, at) => this.#source.read(into.subarray(0, Math.max(0, entry.size - at)), start + at),
      close: () => undefined,
    };
  }

  #changed(entry: ZipEntry): Error {
    return this.#fault("damaged", `expected ${quoted(entry.name)} to have the checksum that the archive says.`);
  }

  #inflate(entry: ZipEntry, packed: Uint8Array): Uint8Array<ArrayBuffer> {
    this.#unpacked += entry.size;
    if (this.#unpacked > MOST_UNPACKED)
      throw this.#fault("limit", `expected at most ${MOST_UNPACKED} bytes to be unpacked of one archive.`);
    let bytes: Buffer;
    try {
      bytes = inflateRawSync(packed, { maxOutputLength: Math.max(1, entry.size) });
    } catch (error) {
      throw this.#fault(
        "damaged",
        `expected ${quoted(entry.name)} to be deflated. Received: ${isError(error) ? error.message : String(error)}.`,
      );
    }
    if (bytes.length !== entry.size)
      throw this.#fault("damaged", `expected ${entry.size} bytes in ${quoted(entry.name)}. Received: ${bytes.length}.`);
    return new Uint8Array(bytes);
  }
}
