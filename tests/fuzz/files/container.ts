/**
 * A safetensors file taken apart, so that what a mutation changes is followed by a header that fits: else every change
 * would end at the first check.
 */

export interface Part {
  name: string;
  dtype: string;
  shape: unknown;
  data: Buffer;
}
export interface Container {
  metadata: Record<string, unknown> | null;
  parts: Part[];
}

export const BITS: Readonly<Record<string, number>> = {
  BOOL: 8,
  U8: 8,
  I8: 8,
  F8_E4M3: 8,
  F8_E5M2: 8,
  I16: 16,
  U16: 16,
  F16: 16,
  BF16: 16,
  I32: 32,
  U32: 32,
  F32: 32,
  C64: 64,
  F64: 64,
  I64: 64,
  U64: 64,
};

/** Null for what is no such file (any more). */
export function takeApart(file: Buffer): Container | null {
  try {
    const length = Number(file.readBigUInt64LE(0));
    const header = JSON.parse(file.toString("utf8", 8, 8 + length)) as Record<
      string,
      { dtype: string; shape: number[]; data_offsets: [number, number] }
    >;
    const { __metadata__: metadata, ...rest } = header as Record<string, unknown>;
    const parts = Object.entries(rest as typeof header).map(
      ([
        name,
        {
          dtype,
          shape,
          data_offsets: [start, end],
        },
      ]) => ({ name, dtype, shape, data: Buffer.from(file.subarray(8 + length + start, 8 + length + end)), start }),
    );
    parts.sort((a, b) => a.start - b.start);
    return { metadata: (metadata as Record<string, unknown> | undefined) ?? null, parts };
  } catch {
    return null;
  }
}

/**
 * The file, with offsets that follow from the data. @param text - Changes the header's text, whose length is then
 * written as it is.
 */
export function putTogether({ metadata, parts }: Container, text: (header: string) => string = (t) => t): Buffer {
  let at = 0;
  const entries = parts.map(({ name, dtype, shape, data }) => {
    const start = at;
    at += data.length;
    return `${JSON.stringify(name)}:${JSON.stringify({ dtype, shape, data_offsets: [start, at] })}`;
  });
  if (metadata !== null) entries.unshift(`"__metadata__":${JSON.stringify(metadata)}`);
  const header = Buffer.from(text(`{${entries.join(",")}}`));
  const length = Buffer.alloc(8);
  length.writeBigUInt64LE(BigInt(header.length));
  return Buffer.concat([length, header, ...parts.map((p) => p.data)]);
}
