/** PNG files, still and moving: what browsers show, and readers of event files know. */
import { Buffer } from "node:buffer";
import { crc32, deflateSync } from "node:zlib";

/** Pixels of 8 bits, row by row: grey, grey and opacity, RGB, or RGB and opacity. */
export interface Pixels {
  readonly height: number;
  readonly width: number;
  readonly channels: 1 | 2 | 3 | 4;
  readonly data: Uint8Array;
}

const COLOR_TYPE = { 1: 0, 2: 4, 3: 2, 4: 6 } as const;
const SIGNATURE = Buffer.from([0x89, 0x50, 0x4e, 0x47, 0x0d, 0x0a, 0x1a, 0x0a]);

function chunk(type: string, ...parts: readonly Uint8Array[]): Buffer {
  const body = Buffer.concat([Buffer.from(type, "latin1"), ...parts]);
  const all = Buffer.alloc(body.length + 8);
  all.writeUInt32BE(body.length - 4, 0);
  body.copy(all, 4);
  all.writeUInt32BE(crc32(body), body.length + 4);
  return all;
}

function header({ height, width, channels }: Pixels): Buffer {
  const content = Buffer.alloc(13);
  content.writeUInt32BE(width, 0);
  content.writeUInt32BE(height, 4);
  content[8] = 8;
  content[9] = COLOR_TYPE[channels];
  return chunk("IHDR", content);
}

/** Rows, each less the one above it: a picture of smooth colours becomes small. */
function packed({ height, width, channels, data }: Pixels): Buffer {
  const length = width * channels;
  const rows = Buffer.alloc(height * (length + 1));
  for (let y = 0; y < height; y++) {
    const [from, to] = [y * length, y * (length + 1)];
    rows[to] = 2;
    for (let i = 0; i < length; i++)
      rows[to + 1 + i] = (data[from + i] as number) - (y === 0 ? 0 : (data[from + i - length] as number));
  }
  return deflateSync(rows);
}

export function png(pixels: Pixels): Buffer {
  return Buffer.concat([SIGNATURE, header(pixels), chunk("IDAT", packed(pixels)), chunk("IEND")]);
}

/**
 * Frames one after the other, for ever: an animated PNG (APNG), which is a PNG of its first frame to whoever knows no
 * better. @param frames - Of one size, at least one. @param fps - Frames a second.
 */
export function animatedPng(frames: readonly Pixels[], fps: number): Buffer {
  const [first] = frames;
  if (first === undefined) throw new RangeError("at least one frame");
  const count = Buffer.alloc(8);
  count.writeUInt32BE(frames.length, 0);
  const parts = [SIGNATURE, header(first), chunk("acTL", count)];
  let sequence = 0;
  const numbered = (): Buffer => {
    const bytes = Buffer.alloc(4);
    bytes.writeUInt32BE(sequence++);
    return bytes;
  };
  frames.forEach((frame, i) => {
    const control = Buffer.alloc(22);
    control.writeUInt32BE(frame.width, 0);
    control.writeUInt32BE(frame.height, 4);
    // 1 / fps seconds as a fraction of 16 bits by 16 bits.
    control.writeUInt16BE(Math.max(1, Math.min(65535, Math.round(1000 / fps))), 16);
    control.writeUInt16BE(1000, 18);
    parts.push(chunk("fcTL", numbered(), control));
    parts.push(i === 0 ? chunk("IDAT", packed(frame)) : chunk("fdAT", numbered(), packed(frame)));
  });
  return Buffer.concat([...parts, chunk("IEND")]);
}

/** Width and height of a PNG file, and its channels; null for bytes that are none. */
export function sizeOfPng(bytes: Uint8Array): Omit<Pixels, "data"> | null {
  const file = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  if (file.length < 33 || !file.subarray(0, 8).equals(SIGNATURE) || file.toString("latin1", 12, 16) !== "IHDR")
    return null;
  const channels = ({ 0: 1, 2: 3, 3: 3, 4: 2, 6: 4 } as const)[file[25] as 0 | 2 | 3 | 4 | 6] as
    1 | 2 | 3 | 4 | undefined;
  return channels === undefined ? null : { width: file.readUInt32BE(16), height: file.readUInt32BE(20), channels };
}
