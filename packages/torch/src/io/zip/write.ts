/** Zip archives, written to a file in one pass, with data at addresses that readers can map. */
import { Buffer } from "node:buffer";
import { writeSync } from "node:fs";
import { crc32, deflateRawSync } from "node:zlib";
import { writeAll } from "../replace.js";

interface Written {
  readonly name: Buffer;
  readonly method: number;
  readonly crc: number;
  readonly size: number;
  readonly packed: number;
  readonly start: number;
}

const LARGE = 0xffffffff;
/** 4.5: a reader that knows large archives. Names are UTF-8. Dates are the first that the format can say. */
const VERSION = 45;
const UTF8 = 0x0800;
const FIRST_DAY = 0x0021;

/** Writes an archive behind what is in a file that is open for writing, at whose end it stands. */
export class ZipWriter {
  readonly #fd: number;
  readonly #written: Written[] = [];
  #at = 0;

  constructor(fd: number) {
    this.#fd = fd;
  }

  /**
   * A file of known size, stored as it is.
   * @param each - Gives its bytes, piece by piece.
   * @param align - Its first byte lies at a multiple of that.
   */
  store(name: string, size: number, each: (take: (piece: Uint8Array) => void) => void, align = 1): void {
    const start = this.#at;
    const entry = { name: Buffer.from(name), method: 0, crc: 0, size, packed: size, start };
    const bare = header(entry, null).length;
    // A field of our own fills the gap; it takes four bytes at least.
    const gap = align === 1 ? null : (align - ((start + bare + 4) % align)) % align;
    this.#write(header(entry, gap));
    let crc = 0;
    let done = 0;
    each((piece) => {
      crc = crc32(piece, crc);
      done += piece.length;
      this.#write(piece);
    });
    if (done !== size) throw new Error(`zip: ${name} was to have ${size} bytes, and has ${done}`);
    // The checksum is known now.
    const whole = header({ ...entry, crc }, gap);
    for (let n = 0; n < whole.length;) n += writeSync(this.#fd, whole, n, whole.length - n, start + n);
    this.#written.push({ ...entry, crc });
  }

  /** A file, deflated. */
  deflate(name: string, bytes: Uint8Array): void {
    const packed = deflateRawSync(bytes);
    const entry = {
      name: Buffer.from(name),
      method: 8,
      crc: crc32(bytes),
      size: bytes.length,
      packed: packed.length,
      start: this.#at,
    };
    this.#write(header(entry, null));
    this.#write(packed);
    this.#written.push(entry);
  }

  /** The directory; nothing comes behind it. */
  finish(): void {
    const at = this.#at;
    for (const entry of this.#written) this.#write(central(entry));
    this.#write(end(this.#written.length, this.#at - at, at));
  }

  #write(bytes: Uint8Array): void {
    writeAll(this.#fd, bytes);
    this.#at += bytes.length;
  }
}

const small = (n: number): number => (n >= LARGE ? LARGE : n);

/** @param gap - Bytes to fill behind the header's own; null: not even a field for them. */
function header({ name, method, crc, size, packed }: Written, gap: number | null): Buffer {
  const large = size >= LARGE || packed >= LARGE;
  const extra = Buffer.alloc((large ? 20 : 0) + (gap === null ? 0 : 4 + gap));
  let at = 0;
  if (large) {
    extra.writeUInt16LE(1, 0);
    extra.writeUInt16LE(16, 2);
    extra.writeBigUInt64LE(BigInt(size), 4);
    extra.writeBigUInt64LE(BigInt(packed), 12);
    at = 20;
  }
  if (gap !== null) {
    extra.write("FB", at, "latin1");
    extra.writeUInt16LE(gap, at + 2);
  }
  const fixed = Buffer.alloc(30);
  fixed.writeUInt32LE(0x04034b50, 0);
  fixed.writeUInt16LE(VERSION, 4);
  fixed.writeUInt16LE(UTF8, 6);
  fixed.writeUInt16LE(method, 8);
  fixed.writeUInt16LE(FIRST_DAY, 12);
  fixed.writeUInt32LE(crc, 14);
  fixed.writeUInt32LE(large ? LARGE : packed, 18);
  fixed.writeUInt32LE(large ? LARGE : size, 22);
  fixed.writeUInt16LE(name.length, 26);
  fixed.writeUInt16LE(extra.length, 28);
  return Buffer.concat([fixed, name, extra]);
}

function central({ name, method, crc, size, packed, start }: Written): Buffer {
  const wide = [size, packed, start].filter((n) => n >= LARGE);
  const extra = Buffer.alloc(wide.length === 0 ? 0 : 4 + 8 * wide.length);
  if (wide.length > 0) {
    extra.writeUInt16LE(1, 0);
    extra.writeUInt16LE(8 * wide.length, 2);
    wide.forEach((n, i) => extra.writeBigUInt64LE(BigInt(n), 4 + 8 * i));
  }
  const fixed = Buffer.alloc(46);
  fixed.writeUInt32LE(0x02014b50, 0);
  fixed.writeUInt16LE(VERSION, 4);
  fixed.writeUInt16LE(VERSION, 6);
  fixed.writeUInt16LE(UTF8, 8);
  fixed.writeUInt16LE(method, 10);
  fixed.writeUInt16LE(FIRST_DAY, 14);
  fixed.writeUInt32LE(crc, 16);
  fixed.writeUInt32LE(small(packed), 20);
  fixed.writeUInt32LE(small(size), 24);
  fixed.writeUInt16LE(name.length, 28);
  fixed.writeUInt16LE(extra.length, 30);
  fixed.writeUInt32LE(small(start), 42);
  return Buffer.concat([fixed, name, extra]);
}

function end(count: number, size: number, at: number): Buffer {
  const large = count >= 0xffff || size >= LARGE || at >= LARGE;
  const bytes = Buffer.alloc((large ? 76 : 0) + 22);
  if (large) {
    bytes.writeUInt32LE(0x06064b50, 0);
    bytes.writeBigUInt64LE(44n, 4);
    bytes.writeUInt16LE(VERSION, 12);
    bytes.writeUInt16LE(VERSION, 14);
    bytes.writeBigUInt64LE(BigInt(count), 24);
    bytes.writeBigUInt64LE(BigInt(count), 32);
    bytes.writeBigUInt64LE(BigInt(size), 40);
    bytes.writeBigUInt64LE(BigInt(at), 48);
    bytes.writeUInt32LE(0x07064b50, 56);
    bytes.writeBigUInt64LE(BigInt(at + size), 64);
    bytes.writeUInt32LE(1, 72);
  }
  const last = bytes.length - 22;
  bytes.writeUInt32LE(0x06054b50, last);
  bytes.writeUInt16LE(Math.min(count, 0xffff), last + 8);
  bytes.writeUInt16LE(Math.min(count, 0xffff), last + 10);
  bytes.writeUInt32LE(small(size), last + 12);
  bytes.writeUInt32LE(small(at), last + 16);
  return bytes;
}
