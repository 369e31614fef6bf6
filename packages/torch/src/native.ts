/**
 * The addon and its shared buffer. Nothing above `tensor/`, `ops/`, `autograd/` and `backend.ts` imports this file.
 *
 * A message to the addon: `argBuffer[0]` says how many numbers were written in all, itself included; they follow.
 * Results begin at `argBuffer[0]`. Values of a call are read before the first number is written: a getter may call
 * operators itself, which use the same buffer. Encodings, the same in both directions: tensor = handle (0 = none);
 * integer = number, or NaN and then 64 raw bits; scalar = tag (0 integer, 1 float, 2 boolean, 3 complex), then the
 * value; list = length (-1 = none), then the elements; other optional values = 0, or 1 and then the value.
 */
import { connect, type NativeInfo } from "@nbit/native";
import { isDtypeMismatch } from "./dtype-mismatch.js";
import { ArgumentError, nativeError, provideRecentOperators } from "./errors.js";
import { plainText } from "./plain-text.js";

export const native = connect();

/**
 * The shared buffer. A larger one takes its place, with what is in it, when lists or results need it: always use this
 * name, never a copy of it.
 */
export let argBuffer = native.buffer(1 << 15);
/** The same memory as 64-bit integers. */
export let argBufferInt64 = new BigInt64Array(argBuffer.buffer);

/** How many numbers one call can take or return: as many as there may be tensors, and some. */
export const NATIVE_LIMIT = (1 << 24) + 4096;

function adopt(buffer: Float64Array): void {
  const integers = new BigInt64Array(buffer.buffer);
  argBuffer = buffer;
  argBufferInt64 = integers;
}

/** Room for a message of so many numbers. @throws {TorchError} `NBIT_TOO_MANY` with how many one call can take. */
export function reserve(length: number): void {
  if (length > argBuffer.length) adopt(native.buffer(length));
}

/** Write lists of numbers as a message: for each its length, then its elements. */
export function writeLists(...lists: readonly ArrayLike<number>[]): void {
  let at = 1;
  for (const list of lists) at += 1 + list.length;
  reserve(at);
  argBuffer[0] = at;
  at = 1;
  for (const list of lists) {
    argBuffer[at++] = list.length;
    argBuffer.set(list, at);
    at += list.length;
  }
}

/** Write one list of one number, and two empty ones: what most backwards take. */
export function writeRoot(handle: number): void {
  argBuffer[0] = 5;
  argBuffer[1] = 1;
  argBuffer[2] = handle;
  argBuffer[3] = 0;
  argBuffer[4] = 0;
}

// The line of the program may be far up the stack, beyond the layers that called one another.
function errorOf(code: string, message: string, op: string | null): Error {
  if (!isDtypeMismatch(message)) return nativeError(code, message, op);
  const limit = Error.stackTraceLimit;
  Error.stackTraceLimit = Math.max(limit, 64);
  try {
    return nativeError(code, message, op);
  } finally {
    Error.stackTraceLimit = limit;
  }
}

provideRecentOperators(() => native.recentOperators().split("\n"));

let muted = false;
// Not at once: the addon is in the middle of a call, and whoever listens may be anyone's code.
function warn(message: string): void {
  if (!muted)
    process.nextTick(() => process.emitWarning(plainText(message, "\n"), { type: "TorchWarning", code: "WARN_TORCH" }));
}
native.setCallbacks(errorOf, warn, adopt);
/**
 * @internal Run `fn`, which calls operators only to see what they do: libtorch's warnings are for those who mean it.
 */
export function withoutWarnings<T>(fn: () => T): T {
  muted = true;
  try {
    return fn();
  } finally {
    native.releaseMany(0); // hands on what is pending
    muted = false;
  }
}
// Opt out where another allocator (jemalloc, a debugger's) shall see every block.
if (process.env["NBIT_CPU_ALLOCATOR"] !== "system") native.allocatorInstall();

export const info: NativeInfo = native.info();

// Unsigned ones, too: they are told apart by the dtype that they meet.
const LEAST = -(1n << 63n);
const TOO_LARGE = 1n << 64n;

/** Write an integer at `at`; returns the next position. */
export function writeInteger(value: number | bigint, at: number): number {
  if (typeof value === "bigint") {
    if (value > 9007199254740992n || value < -9007199254740992n) {
      if (value >= TOO_LARGE || value < LEAST)
        throw new ArgumentError("integer", "a whole number that 64 bits hold", value);
      argBuffer[at] = NaN;
      argBufferInt64[at + 1] = BigInt.asIntN(64, value);
      return at + 2;
    }
    argBuffer[at] = Number(value);
    return at + 1;
  }
  argBuffer[at] = value;
  return at + 1;
}

/** Read an integer at `at`: a bigint only where a number could not hold it. */
export function readInteger(at: number): number | bigint {
  const value = argBuffer[at] as number;
  return value === value ? value : (argBufferInt64[at + 1] as bigint);
}
