/** Protocol buffers, as far as files of others need them: no schema, no dependency, and parts that are not copied. */
import { Buffer } from "node:buffer";

/** Writes one message: fields in the order in which they are added. */
export class Message {
  readonly #parts: Uint8Array[] = [];
  #length = 0;

  get length(): number {
    return this.#length;
  }
  get parts(): readonly Uint8Array[] {
    return this.#parts;
  }
  #add(part: Uint8Array): void {
    this.#parts.push(part);
    this.#length += part.length;
  }
  #head(field: number, wire: number, value: number | bigint): void {
    this.#add(varints([(field << 3) | wire, value]));
  }

  /** A whole number or an enumeration's; negative ones take ten bytes, as int32 and int64 have it. */
  int(field: number, value: number | bigint): this {
    this.#head(field, 0, value);
    return this;
  }
  float(field: number, value: number): this {
    const bytes = Buffer.alloc(4);
    bytes.writeFloatLE(value);
    this.#add(varints([(field << 3) | 5]));
    this.#add(bytes);
    return this;
  }
  double(field: number, value: number): this {
    const bytes = Buffer.alloc(8);
    bytes.writeDoubleLE(value);
    this.#add(varints([(field << 3) | 1]));
    this.#add(bytes);
    return this;
  }
  bytes(field: number, value: Uint8Array): this {
    this.#head(field, 2, value.length);
    this.#add(value);
    return this;
  }
  text(field: number, value: string): this {
    return this.bytes(field, Buffer.from(value));
  }
  message(field: number, value: Message): this {
    this.#head(field, 2, value.#length);
    for (const part of value.#parts) this.#parts.push(part);
    this.#length += value.#length;
    return this;
  }

  /** A packed list; nothing for one that is empty. */
  ints(field: number, values: readonly (number | bigint)[]): this {
    return values.length === 0 ? this : this.bytes(field, varints(values));
  }
  floats(field: number, values: ArrayLike<number>): this {
    const bytes = Buffer.alloc(4 * values.length);
    for (let i = 0; i < values.length; i++) bytes.writeFloatLE(values[i] as number, 4 * i);
    return values.length === 0 ? this : this.bytes(field, bytes);
  }
  doubles(field: number, values: ArrayLike<number>): this {
    const bytes = Buffer.alloc(8 * values.length);
    for (let i = 0; i < values.length; i++) bytes.writeDoubleLE(values[i] as number, 8 * i);
    return values.length === 0 ? this : this.bytes(field, bytes);
  }

  /** All of it, copied into one piece. */
  done(): Buffer {
    return Buffer.concat(this.#parts, this.#length);
  }
}

function varints(values: readonly (number | bigint)[]): Uint8Array {
  const bytes: number[] = [];
  for (const value of values) {
    if (typeof value === "number" && value >= 0 && value <= 0x7fffffff) {
      let rest = value;
      for (; rest > 127; rest >>>= 7) bytes.push((rest & 127) | 128);
      bytes.push(rest);
    } else pushLong(bytes, BigInt.asUintN(64, BigInt(value)));
  }
  return Uint8Array.from(bytes);
}
function pushLong(bytes: number[], value: bigint): void {
  let rest = value;
  for (; rest > 127n; rest >>= 7n) bytes.push(Number(rest & 127n) | 128);
  bytes.push(Number(rest));
}
