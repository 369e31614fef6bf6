/** Pickles of protocol 2, in the operations that `torch.load(weights_only=True)` knows. */
import { Buffer } from "node:buffer";

/** Bytes that grow. */
class Bytes {
  #bytes = Buffer.alloc(1 << 12);
  #length = 0;
  /** Room for so many more; returns where it begins. */
  take(n: number): number {
    const at = this.#length;
    if (at + n > this.#bytes.length) {
      const larger = Buffer.alloc(Math.max(2 * this.#bytes.length, at + n));
      this.#bytes.copy(larger, 0, 0, at);
      this.#bytes = larger;
    }
    this.#length = at + n;
    return at;
  }
  get buffer(): Buffer {
    return this.#bytes;
  }
  get all(): Buffer {
    return this.#bytes.subarray(0, this.#length);
  }
}

const LEAST = -(2 ** 31);

/** Writes one pickle, value after value: what `list` and the others open is closed by the function that they are given. */
export class PickleWriter {
  readonly #bytes = new Bytes();
  readonly #globals = new Map<string, number>();
  readonly #texts = new Map<string, number>();
  #memo = 0;

  constructor() {
    this.#raw(0x80, 2);
  }

  #raw(...bytes: readonly number[]): void {
    const at = this.#bytes.take(bytes.length);
    this.#bytes.buffer.set(bytes, at);
  }
  #op(letter: string): void {
    this.#raw(letter.charCodeAt(0));
  }
  #uint32(value: number): void {
    const at = this.#bytes.take(4);
    this.#bytes.buffer.writeUInt32LE(value, at);
  }
  #copy(bytes: Uint8Array): void {
    const at = this.#bytes.take(bytes.length);
    this.#bytes.buffer.set(bytes, at);
  }

  /** Remember the value that was written last. @returns Its index, for {@link recall}. */
  remember(): number {
    const index = this.#memo++;
    if (index < 256) this.#raw(0x71, index);
    else {
      this.#op("r");
      this.#uint32(index);
    }
    return index;
  }
  recall(index: number): void {
    if (index < 256) this.#raw(0x68, index);
    else {
      this.#op("j");
      this.#uint32(index);
    }
  }

  none(): void {
    this.#op("N");
  }
  bool(value: boolean): void {
    this.#raw(value ? 0x88 : 0x89);
  }
  /** A whole number as an int, any other as a float. */
  number(value: number): void {
    if (!Number.isSafeInteger(value) || Object.is(value, -0)) {
      this.#op("G");
      const at = this.#bytes.take(8);
      this.#bytes.buffer.writeDoubleBE(value, at);
    } else if (value >= LEAST && value < -LEAST) {
      if (value >= 0 && value < 256) this.#raw(0x4b, value);
      else {
        this.#op("J");
        const at = this.#bytes.take(4);
        this.#bytes.buffer.writeInt32LE(value, at);
      }
    } else this.bigint(BigInt(value));
  }
  /** Of up to 255 bytes. */
  bigint(value: bigint): void {
    const magnitude = value < 0n ? -value : value;
    // A bit more than the digits need, for the sign.
    const length = Math.ceil((magnitude.toString(16).length * 4 + 1) / 8);
    const hex = BigInt.asUintN(8 * length, value)
      .toString(16)
      .padStart(2 * length, "0");
    this.#raw(0x8a, length);
    this.#copy(Buffer.from(hex, "hex").reverse());
  }
  /** The same short text twice is one. */
  text(value: string): void {
    const known = this.#texts.get(value);
    if (known !== undefined) {
      this.recall(known);
      return;
    }
    this.#unicode(value);
    if (value.length < 256) this.#texts.set(value, this.remember());
  }
  #unicode(value: string): void {
    const bytes = Buffer.from(value);
    this.#op("X");
    this.#uint32(bytes.length);
    this.#copy(bytes);
  }
  /** A name of a module. */
  global(module: string, name: string): void {
    const full = `${module}\n${name}\n`;
    const known = this.#globals.get(full);
    if (known !== undefined) {
      this.recall(known);
      return;
    }
    this.#op("c");
    this.#copy(Buffer.from(full));
    this.#globals.set(full, this.remember());
  }
  /** `module.name(…)`. */
  call(module: string, name: string, args: () => void): void {
    this.global(module, name);
    this.tuple(args);
    this.#op("R");
  }
  tuple(items: () => void): void {
    this.#op("(");
    items();
    this.#op("t");
  }
  /** @param made - Called with the list's index in the memo before it is filled. */
  list(made: (index: number) => void, items: () => void): void {
    this.#op("]");
    made(this.remember());
    this.#op("(");
    items();
    this.#op("e");
  }
  /** Keys and values in turn. */
  dict(ordered: boolean, made: (index: number) => void, items: () => void): void {
    if (ordered) this.call("collections", "OrderedDict", () => undefined);
    else this.#op("}");
    made(this.remember());
    this.#op("(");
    items();
    this.#op("u");
  }
  /** As protocol 2 has them: a text of one character for each byte, and how to read it. */
  bytes(value: Uint8Array): void {
    this.call("_codecs", "encode", () => {
      this.#unicode(Buffer.from(value.buffer, value.byteOffset, value.length).toString("latin1"));
      this.text("latin1");
    });
  }
  /** What lies outside the pickle, by the id that comes before. */
  persistent(id: () => void): void {
    this.tuple(id);
    this.#op("Q");
  }

  finish(): Uint8Array {
    this.#op(".");
    return this.#bytes.all;
  }
}
