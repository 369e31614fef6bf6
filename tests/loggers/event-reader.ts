/** Reads event files, `.wandb` files and PNG, for tests: written from their formats, apart from what writes them. */
import assert from "node:assert/strict";
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { crc32, inflateSync } from "node:zlib";

export interface Field {
  readonly field: number;
  readonly value: number | bigint | Buffer;
}

/** Fields of a message; whole numbers as bigint, 32 and 64 bits as their bytes read as floats, the rest as bytes. */
export function fieldsOf(bytes: Buffer): Field[] {
  const fields: Field[] = [];
  let at = 0;
  const varint = (): bigint => {
    let value = 0n;
    for (let shift = 0n; ; shift += 7n) {
      const byte = bytes[at++];
      assert.notEqual(byte, undefined, "a number that ends");
      value |= BigInt((byte as number) & 127) << shift;
      if ((byte as number) < 128) return value;
    }
  };
  while (at < bytes.length) {
    const tag = Number(varint());
    const field = tag >>> 3;
    switch (tag & 7) {
      case 0:
        fields.push({ field, value: varint() });
        break;
      case 1:
        fields.push({ field, value: bytes.readDoubleLE(at) });
        at += 8;
        break;
      case 5:
        fields.push({ field, value: bytes.readFloatLE(at) });
        at += 4;
        break;
      case 2: {
        const length = Number(varint());
        assert.ok(at + length <= bytes.length, "a field within its message");
        fields.push({ field, value: bytes.subarray(at, at + length) });
        at += length;
        break;
      }
      default:
        assert.fail(`wire type ${tag & 7}`);
    }
  }
  return fields;
}

export function all(bytes: Buffer, field: number): (number | bigint | Buffer)[] {
  return fieldsOf(bytes).flatMap((f) => (f.field === field ? [f.value] : []));
}
export function message(bytes: Buffer, ...path: readonly number[]): Buffer {
  return path.reduce((inner, field) => {
    const [value] = all(inner, field);
    assert.ok(Buffer.isBuffer(value), `a message in field ${field}`);
    return value;
  }, bytes);
}
export function text(bytes: Buffer, ...path: readonly number[]): string {
  return message(bytes, ...path).toString("utf8");
}
export function number(bytes: Buffer, field: number): number {
  const [value = 0] = all(bytes, field);
  assert.ok(!Buffer.isBuffer(value));
  return Number(value);
}

/** Castagnoli's CRC, bit by bit. */
function crc32c(bytes: Buffer): number {
  let value = 0xffffffff;
  for (const byte of bytes) {
    value ^= byte;
    for (let bit = 0; bit < 8; bit++) value = (value & 1) !== 0 ? (value >>> 1) ^ 0x82f63b78 : value >>> 1;
  }
  return ~value >>> 0;
}
function masked(bytes: Buffer): number {
  const value = crc32c(bytes);
  return (((value >>> 15) | (value << 17)) + 0xa282ead8) >>> 0;
}

/** Records of a file of TensorFlow's. @throws for one that is torn or damaged. */
export function records(file: Buffer): Buffer[] {
  const found: Buffer[] = [];
  for (let at = 0; at < file.length;) {
    const length = Number(file.readBigUInt64LE(at));
    assert.equal(file.readUInt32LE(at + 8), masked(file.subarray(at, at + 8)), "checksum of a length");
    const content = file.subarray(at + 12, at + 12 + length);
    assert.equal(file.readUInt32LE(at + 12 + length), masked(content), "checksum of a record");
    found.push(content);
    at += length + 16;
  }
  return found;
}

export interface ReadEvent {
  readonly wallTime: number;
  readonly step: number;
  readonly bytes: Buffer;
  /** `Summary`, where there is one. */
  readonly summary: Buffer | null;
}
export function eventFiles(folder: string): string[] {
  return readdirSync(folder)
    .filter((name) => name.startsWith("events.out.tfevents."))
    .sort()
    .map((name) => join(folder, name));
}
/** Events of a folder, after the first of each file, which says the version. */
export function events(folder: string): ReadEvent[] {
  return eventFiles(folder).flatMap((path) => {
    const [first, ...rest] = records(readFileSync(path));
    assert.equal(text(first as Buffer, 3), "brain.Event:2");
    return rest.map((bytes) => {
      const [summary = null] = all(bytes, 5) as Buffer[];
      return { wallTime: number(bytes, 1), step: number(bytes, 2), bytes, summary };
    });
  });
}

/** Scalars of a folder: tag, step, value. */
export function scalars(folder: string): [tag: string, step: number, value: number][] {
  return events(folder).flatMap(({ step, summary }) =>
    summary === null
      ? []
      : (all(summary, 1) as Buffer[]).flatMap((value): [string, number, number][] =>
          all(value, 2).length === 0 ? [] : [[text(value, 1), step, number(value, 2)]],
        ),
  );
}

export interface Decoded {
  readonly width: number;
  readonly height: number;
  readonly channels: number;
  /** Of each frame. */
  readonly frames: readonly number[][];
}
/** Pixels of a PNG of 8 bits without interlacing; and of what an animated one adds. */
export function decodePng(file: Buffer): Decoded {
  assert.equal(file.toString("hex", 0, 8), "89504e470d0a1a0a");
  let [width, height, channels] = [0, 0, 0];
  const parts: Buffer[][] = [];
  for (let at = 8; at < file.length;) {
    const length = file.readUInt32BE(at);
    const type = file.toString("latin1", at + 4, at + 8);
    const body = file.subarray(at + 8, at + 8 + length);
    assert.equal(
      file.readUInt32BE(at + 8 + length),
      crc32(file.subarray(at + 4, at + 8 + length)),
      `checksum of ${type}`,
    );
    if (type === "IHDR") {
      [width, height] = [body.readUInt32BE(0), body.readUInt32BE(4)];
      channels = { 0: 1, 2: 3, 4: 2, 6: 4 }[body[9] as 0 | 2 | 4 | 6];
    } else if (type === "IDAT") parts.push([body]);
    else if (type === "fdAT") parts.push([body.subarray(4)]);
    at += length + 12;
  }
  const frames = parts.map((pieces) => {
    const rows = inflateSync(Buffer.concat(pieces));
    const stride = width * channels;
    const pixels: number[] = [];
    for (let y = 0; y < height; y++) {
      const filter = rows[y * (stride + 1)];
      for (let i = 0; i < stride; i++) {
        const raw = rows[y * (stride + 1) + 1 + i] as number;
        const above = y === 0 ? 0 : (pixels[(y - 1) * stride + i] as number);
        pixels.push(filter === 2 ? (raw + above) & 255 : raw);
      }
    }
    return pixels;
  });
  return { width, height, channels, frames };
}

/** Records of a `.wandb` file. @throws for one that is torn or damaged. */
export function wandbRecords(file: Buffer): Buffer[] {
  assert.equal(file.toString("latin1", 0, 4), ":W&B");
  assert.deepEqual([...file.subarray(4, 7)], [0xe1, 0xbe, 0]);
  const found: Buffer[] = [];
  let pieces: Buffer[] = [];
  for (let at = 7; at < file.length;) {
    const left = 32768 - (at % 32768);
    if (left < 7) {
      at += left;
      continue;
    }
    const [length, type] = [file.readUInt16LE(at + 4), file[at + 6]];
    assert.equal(file.readUInt32LE(at), crc32(file.subarray(at + 6, at + 7 + length)), "checksum of a piece");
    assert.ok(7 + length <= left, "a piece within its block");
    pieces.push(file.subarray(at + 7, at + 7 + length));
    if (type === 1 || type === 4) {
      found.push(Buffer.concat(pieces));
      pieces = [];
    }
    at += 7 + length;
  }
  assert.equal(pieces.length, 0, "a record that ends");
  return found;
}
/** Items of a message of `.wandb`'s, as values by name. */
export function wandbItems(bytes: Buffer): Record<string, unknown> {
  return Object.fromEntries(
    (all(bytes, 1) as Buffer[]).map((item) => [text(item, 1), JSON.parse(text(item, 16)) as unknown]),
  );
}
