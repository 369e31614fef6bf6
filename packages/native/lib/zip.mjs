/** Reads zip archives, as wheels are: which files are in one, and the bytes of each. Nothing is trusted before it is checked. */
import { closeSync, createReadStream, fstatSync, openSync, readSync } from "node:fs";
import { Readable } from "node:stream";
import { createInflateRaw, inflateRawSync } from "node:zlib";

const END = 0x06054b50; // end of central directory
const END64_LOCATOR = 0x07064b50;
const END64 = 0x06064b50;
const CENTRAL = 0x02014b50;
const LOCAL = 0x04034b50;
const END_BYTES = 22;
const LONGEST_COMMENT = 0xffff;
const AT_ONCE = 1 << 20; // smaller files are read whole

/** The archive is not what it says: cut short, or overwritten. */
export class ZipError extends Error {
  name = "ZipError";
}

/**
 * @typedef {object} ZipEntry
 * @property {string} name
 * @property {number} size Unpacked, in bytes.
 * @property {number} packed In bytes.
 * @property {boolean} deflated Else stored as it is.
 * @property {number} offset Of its local header.
 */

/** @returns {ZipEntry[]} In the archive's order, without folders. */
export function readZip(path) {
  return withFile(path, (fd) => {
    const { size } = fstatSync(fd);
    const tail = readAt(
      fd,
      Math.max(0, size - END_BYTES - LONGEST_COMMENT),
      Math.min(size, END_BYTES + LONGEST_COMMENT),
    );
    let at = tail.length - END_BYTES;
    while (at >= 0 && tail.readUInt32LE(at) !== END) at--;
    if (at < 0) throw new ZipError("the archive has no end of its directory: it was cut short");
    const { start, bytes, count } = directoryOf(fd, tail, at);
    if (start + bytes > size) throw new ZipError("the archive's directory lies outside of it");
    return entriesOf(readAt(fd, start, bytes), count);
  });
}

/** Where the directory is: in the record at the end, or in the larger one before it where the numbers need more bits. */
function directoryOf(fd, tail, at) {
  const locator = at - 20;
  if (locator < 0 || tail.readUInt32LE(locator) !== END64_LOCATOR)
    return { count: tail.readUInt16LE(at + 10), bytes: tail.readUInt32LE(at + 12), start: tail.readUInt32LE(at + 16) };
  const end = readAt(fd, Number(tail.readBigUInt64LE(locator + 8)), 56);
  if (end.readUInt32LE(0) !== END64) throw new ZipError("the archive's directory is damaged");
  const number = (offset) => Number(end.readBigUInt64LE(offset));
  return { count: number(32), bytes: number(40), start: number(48) };
}

function entriesOf(directory, count) {
  const entries = [];
  let at = 0;
  for (let i = 0; i < count; i++) {
    if (at + 46 > directory.length || directory.readUInt32LE(at) !== CENTRAL)
      throw new ZipError("the archive's directory is damaged");
    const method = directory.readUInt16LE(at + 10);
    const [nameBytes, extraBytes, commentBytes] = [28, 30, 32].map((offset) => directory.readUInt16LE(at + offset));
    const name = directory.toString("utf8", at + 46, at + 46 + nameBytes);
    const extra = directory.subarray(at + 46 + nameBytes, at + 46 + nameBytes + extraBytes);
    const [size, packed, offset] = wide(
      [24, 20, 42].map((field) => directory.readUInt32LE(at + field)),
      extra,
    );
    if (method !== 0 && method !== 8) throw new ZipError(`${name} is compressed by method ${method}, which is unknown`);
    if (!name.endsWith("/")) entries.push({ name, size, packed, deflated: method === 8, offset });
    at += 46 + nameBytes + extraBytes + commentBytes;
  }
  return entries;
}

/** Numbers of 64 bits stand in an extra field, in this order, where 32 bits are all ones. */
function wide(numbers, extra) {
  if (!numbers.includes(0xffffffff)) return numbers;
  for (let at = 0; at + 4 <= extra.length; at += 4 + extra.readUInt16LE(at + 2)) {
    if (extra.readUInt16LE(at) !== 1) continue;
    let field = at + 4;
    return numbers.map((number) => {
      if (number !== 0xffffffff) return number;
      field += 8;
      return Number(extra.readBigUInt64LE(field - 8));
    });
  }
  throw new ZipError("the archive's directory is damaged");
}

/** The bytes of a small file. */
export function readEntry(path, entry) {
  return withFile(path, (fd) => {
    const bytes = readAt(fd, dataOf(fd, entry), entry.packed);
    const content = entry.deflated ? inflateRawSync(bytes, { maxOutputLength: Math.max(1, entry.size) }) : bytes;
    if (content.length !== entry.size)
      throw new ZipError(`${entry.name} has ${content.length} bytes, not ${entry.size}`);
    return content;
  });
}

/** The bytes of any file, in pieces. */
export function streamEntry(path, entry) {
  if (entry.size <= AT_ONCE) return Readable.from([readEntry(path, entry)]);
  const start = withFile(path, (fd) => dataOf(fd, entry));
  const raw = createReadStream(path, { start, end: start + entry.packed - 1, highWaterMark: AT_ONCE });
  if (!entry.deflated) return raw;
  const inflate = createInflateRaw();
  raw.on("error", (error) => inflate.destroy(error));
  return raw.pipe(inflate);
}

function dataOf(fd, { name, offset }) {
  const header = readAt(fd, offset, 30);
  if (header.readUInt32LE(0) !== LOCAL) throw new ZipError(`${name} is not where the archive's directory says`);
  return offset + 30 + header.readUInt16LE(26) + header.readUInt16LE(28);
}

function readAt(fd, position, length) {
  const buffer = Buffer.alloc(length);
  let read = 0;
  while (read < length) {
    const more = readSync(fd, buffer, read, length - read, position + read);
    if (more === 0) throw new ZipError("the archive was cut short");
    read += more;
  }
  return buffer;
}

function withFile(path, work) {
  const fd = openSync(path, "r");
  try {
    return work(fd);
  } finally {
    closeSync(fd);
  }
}
