/** Protocol buffers, as far as a model of ONNX needs them: varints, 32-bit floats and bytes, in parts that are not copied. */

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

  int(field: number, value: number | bigint): this {
    this.#add(varints(BigInt(field << 3), BigInt(value)));
    return this;
  }
  float(field: number, value: number): this {
    const bytes = Buffer.alloc(4);
    bytes.writeFloatLE(value);
    this.#add(varints(BigInt((field << 3) | 5)));
    this.#add(bytes);
    return this;
  }
  bytes(field: number, value: Uint8Array): this {
    this.#add(varints(BigInt((field << 3) | 2), BigInt(value.length)));
    this.#add(value);
    return this;
  }
  text(field: number, value: string): this {
    return this.bytes(field, Buffer.from(value));
  }
  message(field: number, value: Message): this {
    this.#add(varints(BigInt((field << 3) | 2), BigInt(value.#length)));
    for (const part of value.#parts) this.#parts.push(part);
    this.#length += value.#length;
    return this;
  }
}

function varints(...values: readonly bigint[]): Uint8Array {
  const bytes: number[] = [];
  for (const value of values) {
    let rest = BigInt.asUintN(64, value);
    do {
      const low = Number(rest & 127n);
      rest >>= 7n;
      bytes.push(rest > 0n ? low | 128 : low);
    } while (rest > 0n);
  }
  return Uint8Array.from(bytes);
}
