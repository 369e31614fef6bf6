/** The arguments of a pickle's operations. */
import { Buffer } from "node:buffer";
import { isUtf8 } from "node:buffer";
import type { PickleFault } from "./values.js";

/** Digits, in bytes or decimal ones, of an int: beyond that, conversions take time as their square. */
const MOST_DIGITS = 4096;
const LONGEST_LINE = 2 ** 20;

/** Reads forward through bytes; whatever would lie behind their end is an error before memory is taken for it. */
export class Cursor {
  readonly #view: DataView;

  constructor(
    readonly all: Uint8Array,
    public at: number,
    readonly fault: PickleFault,
  ) {
    this.#view = new DataView(all.buffer, all.byteOffset, all.byteLength);
  }

  #take(length: number): number {
    const start = this.at;
    if (!(start + length <= this.all.length))
      throw this.fault("damaged", `expected ${length} bytes at ${start}. Received: the end of the pickle.`);
    this.at = start + length;
    return start;
  }
  #wrong(what: string): Error {
    return this.fault("damaged", `expected ${what} before byte ${this.at}.`);
  }

  byte(): number {
    return this.#view.getUint8(this.#take(1));
  }
  uint16(): number {
    return this.#view.getUint16(this.#take(2), true);
  }
  uint32(): number {
    return this.#view.getUint32(this.#take(4), true);
  }
  int32(): number {
    return this.#view.getInt32(this.#take(4), true);
  }
  /** A length: more than there can be bytes is an error where it is used. */
  uint64(): number {
    return Number(this.#view.getBigUint64(this.#take(8), true));
  }
  float64(): number {
    return this.#view.getFloat64(this.#take(8));
  }
  /** A copy of its own. */
  bytes(length: number): Uint8Array {
    const start = this.#take(length);
    return this.all.slice(start, start + length);
  }
  text(length: number): string {
    const start = this.#take(length);
    return Buffer.from(this.all.buffer, this.all.byteOffset + start, length).toString("utf8");
  }
  /** What Python 2 called a string: a text, or bytes. */
  eitherText(length: number): string | Uint8Array {
    const start = this.#take(length);
    const bytes = this.all.slice(start, start + length);
    return isUtf8(bytes) ? Buffer.from(bytes).toString("utf8") : bytes;
  }
  /** An int of so many bytes, two's complement, least first. */
  long(length: number): number | bigint {
    if (length > MOST_DIGITS) throw this.fault("limit", `expected ints of at most ${MOST_DIGITS} bytes.`);
    const start = this.#take(length);
    if (length === 0) return 0;
    const hex = Buffer.from(this.all.subarray(start, start + length))
      .reverse()
      .toString("hex");
    return plain(BigInt.asIntN(8 * length, BigInt(`0x${hex}`)));
  }

  line(): string {
    const end = this.all.indexOf(0x0a, this.at);
    if (end === -1 || end - this.at > LONGEST_LINE) throw this.#wrong("the end of a line");
    const start = this.#take(end + 1 - this.at);
    return Buffer.from(this.all.buffer, this.all.byteOffset + start, end - start).toString("utf8");
  }
  decimal(line: string): number | bigint {
    if (line.length > MOST_DIGITS) throw this.fault("limit", `expected ints of at most ${MOST_DIGITS} digits.`);
    if (!/^-?\d+$/.test(line)) throw this.#wrong("an int in digits");
    return plain(BigInt(line));
  }
  index(line: string): number {
    const value = this.decimal(line);
    if (typeof value !== "number" || value < 0) throw this.#wrong("an index");
    return value;
  }
  float(line: string): number {
    const special: Readonly<Record<string, number>> = { inf: Infinity, "-inf": -Infinity, nan: NaN };
    const value = special[line] ?? (/^[-+.\deE]+$/.test(line) ? Number(line) : NaN);
    if (Number.isNaN(value) && line !== "nan") throw this.#wrong("a number in digits");
    return value;
  }
  /** A string as Python writes it, between quotes, where nothing is escaped but quotes and backslashes. */
  quoted(line: string): string {
    const match = /^(['"])(.*)\1$/s.exec(line);
    if (match === null) throw this.#wrong("a text in quotes");
    return unescaped(match[2] ?? "");
  }
  /** A text with `\uXXXX`. */
  escaped(line: string): string {
    return unescaped(line);
  }
}

function plain(value: bigint): number | bigint {
  return value >= BigInt(Number.MIN_SAFE_INTEGER) && value <= BigInt(Number.MAX_SAFE_INTEGER) ? Number(value) : value;
}

const ESCAPES: Readonly<Record<string, string>> = { n: "\n", r: "\r", t: "\t", "\\": "\\", "'": "'", '"': '"' };
function unescaped(text: string): string {
  return text.replaceAll(
    /\\(?:u([\da-fA-F]{4})|U([\da-fA-F]{8})|x([\da-fA-F]{2})|(.))/gs,
    (whole, four: string | undefined, eight: string | undefined, two: string | undefined, one: string | undefined) => {
      const hex = four ?? eight ?? two;
      if (hex === undefined) return ESCAPES[one ?? ""] ?? whole;
      const code = Number.parseInt(hex, 16);
      return code > 0x10ffff ? whole : String.fromCodePoint(code);
    },
  );
}
