/** Protocol buffers, as far as this package writes and reads them: no schema, no dependency. */

function varint(value: bigint): number[] {
  const bytes: number[] = [];
  let rest = BigInt.asUintN(64, value);
  do {
    const low = Number(rest & 127n);
    rest >>= 7n;
    bytes.push(rest > 0n ? low | 128 : low);
  } while (rest > 0n);
  return bytes;
}

/** Writes one message: fields in the order in which they are added. */
export class ProtoWriter {
  readonly #bytes: number[] = [];

  whole(field: number, value: number | bigint | boolean): this {
    this.#bytes.push(...varint(BigInt(field << 3)), ...varint(BigInt(value)));
    return this;
  }
  double(field: number, value: number): this {
    this.#bytes.push(...varint(BigInt((field << 3) | 1)), ...new Uint8Array(Float64Array.of(value).buffer));
    return this;
  }
  bytes(field: number, value: Iterable<number>): this {
    const content = [...value];
    this.#bytes.push(...varint(BigInt((field << 3) | 2)), ...varint(BigInt(content.length)), ...content);
    return this;
  }
  text(field: number, value: string): this {
    return this.bytes(field, new TextEncoder().encode(value));
  }
  message(field: number, value: ProtoWriter): this {
    return this.bytes(field, value.#bytes);
  }
  done(): Uint8Array {
    return Uint8Array.from(this.#bytes);
  }
}

/** A field of a message: a number for varints and fixed ones, a view for what has a length. */
export interface ProtoField {
  readonly field: number;
  readonly value: bigint | Uint8Array;
}

/**
 * Fields of a message, in order.
 * @throws {RangeError} For bytes that are no message.
 */
export function* fieldsOf(bytes: Uint8Array): Generator<ProtoField> {
  let at = 0;
  const number = (): bigint => {
    let value = 0n;
    for (let shift = 0n; shift < 70n; shift += 7n) {
      const byte = bytes[at++];
      if (byte === undefined) break;
      value |= BigInt(byte & 127) << shift;
      if (byte < 128) return value;
    }
    throw new RangeError("a protocol buffer that ends within a number");
  };
  const take = (length: number): Uint8Array => {
    if (at + length > bytes.length) throw new RangeError("a protocol buffer that ends within a field");
    at += length;
    return bytes.subarray(at - length, at);
  };
  const fixed = (length: number): bigint => take(length).reduceRight((value, byte) => (value << 8n) | BigInt(byte), 0n);
  while (at < bytes.length) {
    const tag = Number(number());
    const field = tag >>> 3;
    switch (tag & 7) {
      case 0:
        yield { field, value: number() };
        break;
      case 1:
        yield { field, value: fixed(8) };
        break;
      case 2:
        yield { field, value: take(Number(number())) };
        break;
      case 5:
        yield { field, value: fixed(4) };
        break;
      default:
        throw new RangeError(`a protocol buffer with wire type ${tag & 7}`);
    }
  }
}
