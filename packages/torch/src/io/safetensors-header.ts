/** The header of a safetensors file: which tensors, where, and whether all of that is true. */
import { describe } from "../errors.js";
import { quoted } from "../plain-text.js";
import type { DType } from "../tensor/index.js";
import { SafetensorsError } from "./errors.js";

/** One tensor of a file. */
export interface TensorInfo {
  readonly name: string;
  readonly dtype: DType;
  /** As nbit sees it: a float4 tensor counts pairs. */
  readonly shape: readonly number[];
  /** First byte, and one past the last, counted from the end of the header. */
  readonly start: number;
  readonly end: number;
}

export interface Header {
  readonly metadata: Readonly<Record<string, string>>;
  /** In the order of their data. */
  readonly tensors: readonly TensorInfo[];
  /** Bytes before the data. */
  readonly dataStart: number;
}

interface Format {
  readonly name: string;
  readonly bits: number;
  /** Where the reference writer puts it: larger alignments first. */
  readonly rank: number;
}

// In the reference writer's order.
const ORDER: readonly (readonly [DType, string, number])[] = [
  ["bool", "BOOL", 8],
  ["float4_e2m1fn_x2", "F4", 4],
  ["uint8", "U8", 8],
  ["int8", "I8", 8],
  ["float8_e5m2", "F8_E5M2", 8],
  ["float8_e4m3fn", "F8_E4M3", 8],
  ["float8_e8m0fnu", "F8_E8M0", 8],
  ["float8_e4m3fnuz", "F8_E4M3FNUZ", 8],
  ["float8_e5m2fnuz", "F8_E5M2FNUZ", 8],
  ["int16", "I16", 16],
  ["uint16", "U16", 16],
  ["float16", "F16", 16],
  ["bfloat16", "BF16", 16],
  ["int32", "I32", 32],
  ["uint32", "U32", 32],
  ["float32", "F32", 32],
  ["complex64", "C64", 64],
  ["float64", "F64", 64],
  ["int64", "I64", 64],
  ["uint64", "U64", 64],
];
const FORMATS = new Map<DType, Format>(ORDER.map(([dtype, name, bits], rank) => [dtype, { name, bits, rank }]));
const DTYPES = new Map<string, DType>(ORDER.map(([dtype, name]) => [name, dtype]));

/** The dtypes that the format can hold. */
export function formatOf(dtype: DType): Format | undefined {
  return FORMATS.get(dtype);
}
export const storableDtypes: readonly DType[] = ORDER.map(([dtype]) => dtype);

/** The reference implementation's limit, which keeps a crafted length from filling the memory. */
export const MAX_HEADER = 100_000_000;
/** Dimensions that libtorch's operators can walk. */
const MAX_DIMS = 64;

/**
 * How a zip archive begins, as torch.save writes today, or a bare pickle, as it did before. A header could begin like
 * this too, if it were as long as that says.
 */
function isPickle(first: Uint8Array): boolean {
  const [a, b, c, d] = first;
  return (
    (a === 0x50 && b === 0x4b && c === 3 && d === 4) ||
    (a === 0x80 && b !== undefined && b >= 2 && b <= 5 && c === 0x8a)
  );
}

/** The header's length from the first 8 bytes of a file. */
export function headerLength(first: Uint8Array, fileSize: number, path: string | null): number {
  if (fileSize < 8)
    throw new SafetensorsError("SAFETENSORS_TRUNCATED", `expected at least 8 bytes. Received: ${fileSize}.`, path);
  const length = new DataView(first.buffer, first.byteOffset, 8).getBigUint64(0, true);
  if (isPickle(first) && 8n + length > BigInt(fileSize)) {
    throw new SafetensorsError(
      "SAFETENSORS_PICKLE",
      "expected a safetensors file. Received: a file of torch.save. Read it with load(path), and pass its tensors on, as in model.loadStateDict(load(path)).",
      path,
    );
  }
  if (length > BigInt(MAX_HEADER))
    throw new SafetensorsError(
      "SAFETENSORS_HEADER_TOO_LARGE",
      `expected a header of at most ${MAX_HEADER} bytes. Received: ${length}. Is this a safetensors file?`,
      path,
    );
  if (8 + Number(length) > fileSize)
    throw new SafetensorsError(
      "SAFETENSORS_TRUNCATED",
      `expected a header of ${length} bytes. Received: a file of ${fileSize} bytes.`,
      path,
    );
  return Number(length);
}

/** Read and check a header against the file's size. */
export function parseHeader(bytes: Uint8Array, fileSize: number, path: string | null): Header {
  const fail = (code: ConstructorParameters<typeof SafetensorsError>[0], message: string): never => {
    throw new SafetensorsError(code, message, path);
  };
  let text: string;
  let json: unknown;
  try {
    text = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(bytes);
    json = JSON.parse(text);
  } catch {
    return fail("SAFETENSORS_HEADER", "expected the header to be JSON in UTF-8.");
  }
  if (!text.startsWith("{") || !isObject(json))
    return fail(
      "SAFETENSORS_HEADER",
      `expected the header to be a JSON object. Received: ${quoted(text.slice(0, 20))}.`,
    );
  const duplicate = duplicateKey(text);
  if (duplicate !== null)
    fail("SAFETENSORS_DUPLICATE_KEY", `expected every name once. Received: ${describe(duplicate)} twice.`);

  const dataStart = 8 + bytes.length;
  let metadata: Readonly<Record<string, string>> = {};
  const tensors: TensorInfo[] = [];
  for (const [name, entry] of Object.entries(json)) {
    if (name === "__metadata__") metadata = readMetadata(entry, fail);
    else tensors.push(readEntry(name, entry, fail));
  }
  // Data in one piece, without holes or overlaps: what the reference implementation demands, so that nothing can hide
  // in a file.
  tensors.sort((a, b) => a.start - b.start || a.end - b.end);
  let at = 0;
  for (const t of tensors) {
    if (t.start !== at)
      fail(
        "SAFETENSORS_OFFSETS",
        `expected the data of ${describe(t.name)} to begin at ${at}, where the data before it ends. Received: ${t.start}.`,
      );
    at = t.end;
  }
  if (dataStart + at > fileSize)
    fail("SAFETENSORS_TRUNCATED", `expected ${dataStart + at} bytes. Received: ${fileSize}.`);
  if (dataStart + at < fileSize)
    fail(
      "SAFETENSORS_TRAILING",
      `expected ${dataStart + at} bytes. Received: ${fileSize}, more than the header names.`,
    );
  return { metadata, tensors, dataStart };
}

type Fail = (code: ConstructorParameters<typeof SafetensorsError>[0], message: string) => never;

function readMetadata(entry: unknown, fail: Fail): Readonly<Record<string, string>> {
  if (!isObject(entry)) return fail("SAFETENSORS_METADATA", "expected __metadata__ to be an object of texts.");
  const metadata: Record<string, string> = Object.create(null) as Record<string, string>;
  for (const [key, value] of Object.entries(entry))
    metadata[key] =
      typeof value === "string"
        ? value
        : fail(
            "SAFETENSORS_METADATA",
            `expected __metadata__ to hold texts only. Received: ${typeof value} at ${describe(key)}.`,
          );
  return metadata;
}

function readEntry(name: string, entry: unknown, fail: Fail): TensorInfo {
  const at = describe(name);
  if (!isObject(entry))
    return fail("SAFETENSORS_HEADER", `expected ${at} to be an object with dtype, shape and data_offsets.`);
  const { dtype: written, shape, data_offsets: offsets, ...rest } = entry;
  const extra = Object.keys(rest)[0];
  if (extra !== undefined)
    fail(
      "SAFETENSORS_HEADER",
      `expected ${at} to have dtype, shape and data_offsets only. Received: ${describe(extra)}.`,
    );
  const dtype = typeof written === "string" ? DTYPES.get(written) : undefined;
  if (dtype === undefined)
    return fail(
      "SAFETENSORS_DTYPE",
      `expected the dtype of ${at} to be one of ${[...DTYPES.keys()].join(", ")}. Received: ${describe(written)}.`,
    );
  if (!Array.isArray(shape) || !shape.every(isSize))
    return fail(
      "SAFETENSORS_SHAPE",
      `expected the shape of ${at} to be a list of whole numbers ≥ 0. Received: ${describe(shape)}.`,
    );
  if (!Array.isArray(offsets) || offsets.length !== 2 || !offsets.every(isSize) || offsets[0] > offsets[1])
    return fail(
      "SAFETENSORS_OFFSETS",
      `expected the data_offsets of ${at} to be two whole numbers, the second not below the first. Received: ${describe(offsets)}.`,
    );
  const [start, end] = offsets as [number, number];
  if (shape.length > MAX_DIMS)
    return fail(
      "SAFETENSORS_SHAPE",
      `expected the shape of ${at} to have at most ${MAX_DIMS} sizes. Received: ${shape.length}.`,
    );
  const bits = shape.reduce((n, s) => n * BigInt(s), BigInt((FORMATS.get(dtype) as Format).bits));
  if (bits % 8n !== 0n)
    return fail(
      "SAFETENSORS_SHAPE",
      `expected the shape of ${at} to fill whole bytes. Received: ${describe(shape)} of ${String(written)}.`,
    );
  if (bits / 8n !== BigInt(end - start))
    return fail(
      "SAFETENSORS_OFFSETS",
      `expected ${bits / 8n} bytes for ${at}, ${String(written)} of shape ${describe(shape)}. Received: ${end - start}.`,
    );
  // A size of 0 hides the others from the file's length, but not from operators that multiply them.
  if (shape.reduce((n, s) => n * Math.max(s, 1), 1) > Number.MAX_SAFE_INTEGER)
    return fail(
      "SAFETENSORS_SHAPE",
      `expected the sizes of ${at} other than 0 to have a product below 2^53. Received: ${describe(shape)}.`,
    );
  return {
    name,
    dtype,
    shape: fromFileShape(dtype, shape, () =>
      fail("SAFETENSORS_SHAPE", `expected the last size of ${at} to be even. Received: ${describe(shape)}.`),
    ),
    start,
    end,
  };
}

function fromFileShape(dtype: DType, shape: readonly number[], odd: () => never): readonly number[] {
  if (dtype !== "float4_e2m1fn_x2") return shape;
  const last = shape.at(-1) ?? 1;
  return last % 2 === 0 ? [...shape.slice(0, -1), last / 2] : odd();
}

/** The shape as it stands in a file. */
export function toFileShape(dtype: DType, shape: readonly number[]): readonly number[] {
  return dtype !== "float4_e2m1fn_x2" ? shape : [...shape.slice(0, -1), (shape.at(-1) ?? 1) * 2];
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}
function isSize(value: unknown): value is number {
  return typeof value === "number" && Number.isSafeInteger(value) && value >= 0;
}

/** The first key that an object of valid JSON has twice, which JSON.parse would pass over in silence. */
function duplicateKey(text: string): string | null {
  // Per open bracket: the keys so far, or null for a list.
  const open: (Set<string> | null)[] = [];
  let key = false;
  for (let i = 0; i < text.length; i++) {
    const c = text[i];
    if (c === "{") {
      open.push(new Set());
      key = true;
    } else if (c === "[") {
      open.push(null);
      key = false;
    } else if (c === "}" || c === "]") {
      open.pop();
      key = false;
    } else if (c === ",") {
      key = open.at(-1) instanceof Set;
    } else if (c === '"') {
      const start = i++;
      while (text[i] !== '"') i += text[i] === "\\" ? 2 : 1;
      const keys = open.at(-1);
      if (key && keys instanceof Set) {
        const name = JSON.parse(text.slice(start, i + 1)) as string;
        if (keys.has(name)) return name;
        keys.add(name);
        key = false;
      }
    }
  }
  return null;
}

/**
 * A header for these tensors, padded with spaces to 8 bytes, with its length before it. The bytes are those of the
 * reference writer.
 */
export function writeHeader(
  tensors: readonly TensorInfo[],
  metadata: Readonly<Record<string, string>> | null,
): Uint8Array {
  const parts: string[] = [];
  if (metadata !== null) parts.push(`"__metadata__":${JSON.stringify(metadata)}`);
  for (const t of tensors) {
    const format = FORMATS.get(t.dtype) as Format;
    parts.push(
      `${JSON.stringify(t.name)}:{"dtype":"${format.name}","shape":[${toFileShape(t.dtype, t.shape).join(",")}],"data_offsets":[${t.start},${t.end}]}`,
    );
  }
  const json = new TextEncoder().encode(`{${parts.join(",")}}`);
  const padded = Math.ceil(json.length / 8) * 8;
  const bytes = new Uint8Array(8 + padded).fill(0x20);
  new DataView(bytes.buffer).setBigUint64(0, BigInt(padded), true);
  bytes.set(json, 8);
  return bytes;
}
