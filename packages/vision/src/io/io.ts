/** Image files and tensors of `[C, H, W]`, by sharp. */
import { readFileSync, writeFileSync } from "node:fs";
import { readFile as readBytes } from "node:fs/promises";
import type { Sharp, SharpOptions } from "sharp";
import {
  atMost,
  checkArguments,
  ArgumentError,
  isTensor,
  kinds,
  scope,
  signature,
  tensor,
  type Call,
  type OptionNames,
  type Tensor,
} from "@nbit/torch";
import { decodePicture } from "@nbit/torch/media";
import { checkImage } from "../transforms/functional/image.js";
import { optional, VisionError } from "../errors.js";

/** What channels an image is read with. */
export const ImageReadMode = {
  /** Those that it has. */
  UNCHANGED: "UNCHANGED",
  GRAY: "GRAY",
  GRAY_ALPHA: "GRAY_ALPHA",
  RGB: "RGB",
  RGB_ALPHA: "RGB_ALPHA",
} as const;
export type ImageReadMode = keyof typeof ImageReadMode;

type SharpFunction = (input?: Uint8Array | string, options?: SharpOptions) => Sharp;
let loading: Promise<SharpFunction> | null = null;
function sharp(): Promise<SharpFunction> {
  loading ??= optional(
    "sharp",
    async () => {
      const { default: made } = await import("sharp");
      // Several images are read at once: threads for each would only wait for one another, and none is read twice.
      made.concurrency(1);
      made.cache(false);
      return made;
    },
    "Reading and writing images",
  );
  loading.catch(() => (loading = null));
  return loading;
}

/** Values on their way into channels that are wanted. */
const CHANNELS: Readonly<Record<ImageReadMode, (image: Sharp) => Sharp>> = {
  UNCHANGED: (image) => image,
  GRAY: (image) => image.removeAlpha().toColourspace("b-w"),
  GRAY_ALPHA: (image) => image.ensureAlpha().toColourspace("b-w"),
  RGB: (image) => image.removeAlpha().toColourspace("srgb"),
  RGB_ALPHA: (image) => image.ensureAlpha().toColourspace("srgb"),
};

export interface DecodeImageArguments {
  /** The bytes of a file: JPEG, PNG, WebP, AVIF, TIFF, GIF (its first picture) or SVG. */
  readonly input: Uint8Array | Tensor;
  /** Default "UNCHANGED". */
  readonly mode?: ImageReadMode;
  /** Turn the image as its EXIF data says. Default false. */
  readonly applyExifOrientation?: boolean;
}
const MODES = kinds.oneOf("UNCHANGED", "GRAY", "GRAY_ALPHA", "RGB", "RGB_ALPHA");
const REST = {
  mode: kinds.byDefault("UNCHANGED", MODES),
  applyExifOrientation: kinds.byDefault(false, kinds.flag),
} as const;
const readDecode = signature("decodeImage", {
  input: kinds.such<Uint8Array | Tensor>(
    "a Uint8Array, or a tensor of uint8",
    (v) => v instanceof Uint8Array || isTensor(v),
  ),
  ...REST,
} satisfies OptionNames<DecodeImageArguments>);
type DecodeCall = Call<
  DecodeImageArguments,
  ["input", "mode", "applyExifOrientation"],
  [input: Uint8Array | Tensor, mode?: ImageReadMode, applyExifOrientation?: boolean]
>;

/**
 * The pixels of an image's file.
 *
 * @returns uint8, `[C, H, W]`, in memory as files have it, pixel by pixel (as torchvision's); 16 bits become 8. The
 *   decoding runs on threads of libuv's.
 * @throws {VisionError} `VISION_IMAGE` for bytes that are no image; `VISION_NO_PACKAGE` without sharp.
 */
export async function decodeImage(...given: DecodeCall): Promise<Tensor> {
  const { input, mode, applyExifOrientation } = readDecode(given);
  const bytes = isTensor(input) ? bytesOf("decodeImage", input) : input;
  return (
    (await decodePlain(bytes, mode, applyExifOrientation)) ?? (await decode(bytes, mode, applyExifOrientation, "bytes"))
  );
}
function bytesOf(fn: string, input: Tensor): Uint8Array {
  if (input.dtype !== "uint8" || input.ndim !== 1)
    throw new ArgumentError(fn, "bytes to be a tensor of uint8 with one dimension", input);
  return new Uint8Array(input.toBytes());
}

/** Photographs as they are take a way of their own to the same bits: see {@link decodePicture}. */
async function decodePlain(source: Uint8Array | string, mode: ImageReadMode, turn: boolean): Promise<Tensor | null> {
  if (turn || (mode !== "RGB" && mode !== "UNCHANGED")) return null;
  await sharp();
  return decodePicture(source);
}

async function decode(bytes: Uint8Array, mode: ImageReadMode, turn: boolean, what: string): Promise<Tensor> {
  const make = await sharp();
  try {
    // Colour profiles are left alone, as PIL leaves them.
    const image = make(bytes, { failOn: "error", sequentialRead: true, ignoreIcc: true });
    let unchanged = mode;
    if (mode === "UNCHANGED") {
      const { channels, space, hasAlpha } = await image.metadata();
      const grey = space === "b-w" || space === "grey16";
      unchanged = grey || channels < 3 ? (hasAlpha ? "GRAY_ALPHA" : "GRAY") : hasAlpha ? "RGB_ALPHA" : "RGB";
    }
    const pixels = CHANNELS[unchanged](turn ? image.rotate() : image).raw({ depth: "uchar" });
    const { data, info } = await pixels.toBuffer({ resolveWithObject: true });
    return scope(() => {
      const wanted = CHANNEL_COUNT[unchanged];
      const rows = tensor(new Uint8Array(data.buffer, data.byteOffset, data.length));
      const all = rows.view([info.height, info.width, info.channels]).permute([2, 0, 1]);
      return info.channels > wanted ? all.narrow(0, 0, wanted) : all;
    });
  } catch (error) {
    if (error instanceof VisionError) throw error;
    throw new VisionError(`${what} cannot be read as an image: ${String(error)}`, "VISION_IMAGE", { cause: error });
  }
}
const CHANNEL_COUNT: Readonly<Record<ImageReadMode, number>> = {
  UNCHANGED: 4,
  GRAY: 1,
  GRAY_ALPHA: 2,
  RGB: 3,
  RGB_ALPHA: 4,
};

export interface ReadImageArguments extends Omit<DecodeImageArguments, "input"> {
  readonly path: string;
}
const readRead = signature("readImage", { path: kinds.filled, ...REST } satisfies OptionNames<ReadImageArguments>);
/** The pixels of a file: see {@link decodeImage}. */
export async function readImage(
  ...given: Call<
    ReadImageArguments,
    ["path", "mode", "applyExifOrientation"],
    [path: string, mode?: ImageReadMode, applyExifOrientation?: boolean]
  >
): Promise<Tensor> {
  const { path, mode, applyExifOrientation } = readRead(given);
  const plain = await decodePlain(path, mode, applyExifOrientation);
  if (plain !== null) return plain;
  let bytes: Uint8Array;
  try {
    bytes = await readBytes(path);
  } catch (error) {
    throw new VisionError(`${path} cannot be read: ${String(error)}`, "VISION_IMAGE", { cause: error });
  }
  return decode(bytes, mode, applyExifOrientation, path);
}

/** The bytes of a file: uint8, `[bytes]`. */
export function readFile(path: string): Tensor {
  atMost("readFile", arguments, 1);
  const bytes = readFileSync(path);
  return tensor(new Uint8Array(bytes.buffer, bytes.byteOffset, bytes.length));
}
const tensorOnly = kinds.such<Tensor>("a tensor", isTensor);
/** Write bytes, a tensor of uint8, to a file. */
export function writeFile(filename: string, data: Tensor): void {
  atMost("writeFile", arguments, 2);
  checkArguments("writeFile", { filename, data }, { filename: kinds.filled, data: tensorOnly });
  writeFileSync(filename, bytesOf("writeFile", data));
}

async function encode(fn: string, image: Tensor, format: (from: Sharp) => Sharp): Promise<Buffer> {
  checkImage(fn, image, 3);
  const [channels = 0, height = 0, width = 0] = image.shape;
  if (image.dtype !== "uint8" || image.ndim !== 3 || (channels !== 1 && channels !== 3))
    throw new ArgumentError(fn, "an image of uint8, [1, H, W] or [3, H, W]", image);
  const pixels = scope(() => new Uint8Array(image.permute([1, 2, 0]).contiguous().toBytes()));
  const from = (await sharp())(pixels, { raw: { width, height, channels } });
  return format(channels === 1 ? from.toColourspace("b-w") : from).toBuffer();
}
const asTensor = (bytes: Buffer): Tensor => tensor(new Uint8Array(bytes.buffer, bytes.byteOffset, bytes.length));
const png = (compressionLevel: number) => (image: Sharp) => image.png({ compressionLevel });
const jpeg = (quality: number) => (image: Sharp) => image.jpeg({ quality });

const anImage = kinds.such<Tensor>("a tensor of uint8, [C, H, W]", isTensor);
const level = kinds.byDefault(6, kinds.whole("[0, 9]"));
const quality = kinds.byDefault(75, kinds.whole("[1, 100]"));
export interface PngArguments {
  /** uint8, `[1, H, W]` or `[3, H, W]`. */
  readonly input: Tensor;
  /** From 0 to 9. Default 6. */
  readonly compressionLevel?: number;
}
export interface JpegArguments {
  /** uint8, `[1, H, W]` or `[3, H, W]`. */
  readonly input: Tensor;
  /** From 1 to 100. Default 75. */
  readonly quality?: number;
}
export interface WritePngArguments extends PngArguments {
  readonly filename: string;
}
export interface WriteJpegArguments extends JpegArguments {
  readonly filename: string;
}
const readPng = signature("encodePng", { input: anImage, compressionLevel: level } satisfies OptionNames<PngArguments>);
const readJpeg = signature("encodeJpeg", { input: anImage, quality } satisfies OptionNames<JpegArguments>);
const readWritePng = signature("writePng", {
  input: anImage,
  filename: kinds.filled,
  compressionLevel: level,
} satisfies OptionNames<WritePngArguments>);
const readWriteJpeg = signature("writeJpeg", {
  input: anImage,
  filename: kinds.filled,
  quality,
} satisfies OptionNames<WriteJpegArguments>);

/** The bytes of a PNG file: uint8, `[bytes]`. */
export async function encodePng(
  ...given: Call<PngArguments, ["input", "compressionLevel"], [input: Tensor, compressionLevel?: number]>
): Promise<Tensor> {
  const a = readPng(given);
  return asTensor(await encode("encodePng", a.input, png(a.compressionLevel)));
}
/** The bytes of a JPEG file: uint8, `[bytes]`. */
export async function encodeJpeg(
  ...given: Call<JpegArguments, ["input", "quality"], [input: Tensor, quality?: number]>
): Promise<Tensor> {
  const a = readJpeg(given);
  return asTensor(await encode("encodeJpeg", a.input, jpeg(a.quality)));
}
export async function writePng(
  ...given: Call<
    WritePngArguments,
    ["input", "filename", "compressionLevel"],
    [input: Tensor, filename: string, compressionLevel?: number]
  >
): Promise<void> {
  const a = readWritePng(given);
  writeFileSync(a.filename, await encode("writePng", a.input, png(a.compressionLevel)));
}
export async function writeJpeg(
  ...given: Call<
    WriteJpegArguments,
    ["input", "filename", "quality"],
    [input: Tensor, filename: string, quality?: number]
  >
): Promise<void> {
  const a = readWriteJpeg(given);
  writeFileSync(a.filename, await encode("writeJpeg", a.input, jpeg(a.quality)));
}

/** @internal The bytes of a file in a format of sharp's, by its name. */
export function encodeAs(fn: string, image: Tensor, format: string): Promise<Buffer> {
  return encode(fn, image, (from) => from.toFormat(format as "png"));
}
