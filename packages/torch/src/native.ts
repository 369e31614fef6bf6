/**
 * The addon and its shared buffer. Nothing above `tensor/`, `ops/`, `autograd/` and `backend.ts` imports this file.
 *
 * Encodings, the same in both directions: tensor = handle (0 = none); integer = number, or NaN and then 64 raw bits; scalar = tag (0 integer, 1 float,
 * 2 boolean, 3 complex), then the value; list = length (-1 = none), then the elements; other optional values = 0, or 1 and then the value.
 */
import { native, type NativeInfo } from "@nbit/native";
import { isDtypeMismatch } from "./dtype-mismatch.js";
import { nativeError, provideRecentOperators } from "./errors.js";

export { native };

/** Elements of the shared buffer: 2 MiB of address space, of which only what is used becomes memory. */
export const BUFFER_LENGTH = 1 << 18;
export const F = new Float64Array(BUFFER_LENGTH);
/** The same memory as 64-bit integers. */
export const B = new BigInt64Array(F.buffer);

native.setBuffer(F);
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
native.setCallbacks(errorOf, (message) => {
  if (!muted) process.emitWarning(message, { type: "TorchWarning" });
});
/** @internal Run `fn`, which calls operators only to see what they do: libtorch's warnings are for those who mean it. */
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

/** Write an integer at `at`; returns the next position. */
export function writeInteger(value: number | bigint, at: number): number {
  if (typeof value === "bigint") {
    if (value > 9007199254740992n || value < -9007199254740992n) {
      F[at] = NaN;
      B[at + 1] = BigInt.asIntN(64, value);
      return at + 2;
    }
    F[at] = Number(value);
    return at + 1;
  }
  F[at] = value;
  return at + 1;
}

/** Read an integer at `at`: a bigint only where a number could not hold it. */
export function readInteger(at: number): number | bigint {
  const value = F[at] as number;
  return value === value ? value : (B[at + 1] as bigint);
}
