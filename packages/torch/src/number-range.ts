/**
 * libtorch's complaint about a number that a tensor's dtype cannot hold, made readable: which number, which dtype,
 * which line of the program, and what to write.
 */
import { describeLine, userLine, type UserLine } from "./dtype-mismatch.js";
import { describe, TorchError } from "./errors.js";
import { handleOrZero, isTensor } from "./tensor/handle.js";
import type { Tensor } from "./tensor/tensor.js";

/** A number beyond what a tensor's dtype holds. */
export class NumberRangeError extends TorchError {
  readonly dtype: string;
  /** Where the program called the operator. */
  readonly at: UserLine | null;
  constructor(message: string, op: string | null, dtype: string, at: UserLine | null) {
    super(message, "TORCH_NUMBER_RANGE", op);
    this.dtype = dtype;
    this.at = at;
  }
}

/** What libtorch calls its types in C++, and the least and largest number of each. */
const TYPES: Readonly<Record<string, readonly [dtype: string, least: number, largest: number]>> = {
  "c10::Half": ["float16", -65504, 65504],
  "c10::BFloat16": ["bfloat16", -3.3895313892515355e38, 3.3895313892515355e38],
  "c10::Float8_e4m3fn": ["float8_e4m3fn", -448, 448],
  "c10::Float8_e5m2": ["float8_e5m2", -57344, 57344],
  float: ["float32", -3.4028234663852886e38, 3.4028234663852886e38],
  int8_t: ["int8", -128, 127],
  uint8_t: ["uint8", 0, 255],
  int16_t: ["int16", -32768, 32767],
  int: ["int32", -2147483648, 2147483647],
  int32_t: ["int32", -2147483648, 2147483647],
  int64_t: ["int64", -(2 ** 63), 2 ** 63],
};

/** A tensor without dimensions stands for its number; one on a device is not waited for. */
function heldBy(t: Tensor): number[] {
  if (handleOrZero(t) === 0 || t.ndim !== 0 || t.device.type !== "cpu" || !t.isFloatingPoint()) return [];
  return [t.detach().to("float64").item()];
}
function numbersIn(args: readonly unknown[]): (number | bigint)[] {
  return args.flatMap((a): (number | bigint)[] => {
    if (typeof a === "number" || typeof a === "bigint") return [a];
    if (isTensor(a)) return heldBy(a);
    if (typeof a !== "object" || a === null) return [];
    return numbersIn(Object.values(a));
  });
}

/** @internal What a failed call becomes, where a number among its arguments did not fit; itself otherwise. */
export function explainRange(error: unknown, args: () => readonly unknown[], autocast: () => string | null): unknown {
  if (!(error instanceof TorchError)) return error;
  const type = /value cannot be converted to type (\S+) without overflow/.exec(error.message)?.[1];
  const [dtype, least, largest] = TYPES[type ?? ""] ?? [];
  if (dtype === undefined || least === undefined || largest === undefined) return error;
  const number = numbersIn(args()).find((n) => n < least || n > largest);
  if (number === undefined) return error;
  const at = userLine(error.stack);
  const floating = dtype.includes("float");
  const around = autocast();
  const region = around?.endsWith(` to ${dtype}`) === true ? around : null;
  const fix = floating
    ? `Write ${number < least ? "-" : ""}Infinity for what is to be left out of a softmax, finfo(${JSON.stringify(dtype)}).${number < least ? "min" : "max"} for the ${number < least ? "least" : "largest"} number, or compute this in float32 (x.float())${region !== null ? `, or this operator: autocast({ enabled: false }, () => …)` : ""}.`
    : `Use a wider dtype (x.to("int64")), or a number that fits.`;
  const own = error.op === null ? error.message : error.message.slice(error.message.indexOf(": ") + 2);
  const made = new NumberRangeError(
    `expected a number that ${dtype} holds, from ${least} to ${largest}. Received: ${number}${region === null ? "" : `, in a region of ${region}, which makes ${dtype} of what matrix operators return`}.${describeLine(at)}\n${fix} (libtorch: ${own})`,
    error.op,
    dtype,
    at,
  );
  if (error.stack !== undefined)
    made.stack = `${made.name}: ${made.message}\n${error.stack.slice(error.stack.indexOf("\n    at ") + 1)}`;
  return made;
}

/** Of each integer dtype below 64 bits: a negative number of an unsigned one wraps, as in PyTorch. */
const INTEGERS: Readonly<Record<string, readonly [least: number, largest: number]>> = {
  int8: [-128, 127],
  uint8: [-255, 255],
  int16: [-32768, 32767],
  uint16: [-65535, 65535],
  int32: [-(2 ** 31), 2 ** 31 - 1],
  uint32: [1 - 2 ** 32, 2 ** 32 - 1],
};

/**
 * @internal Numbers that an integer dtype does not hold would wrap. Fractions are cut off, and the number itself must
 * be within range, as in PyTorch.
 */
export function checkIntegers(values: readonly unknown[], dtype: string): void {
  const range = INTEGERS[dtype];
  if (range === undefined) return;
  const [least, largest] = range;
  const wrong = values.find((v) => (typeof v === "number" || typeof v === "bigint") && !(v >= least && v <= largest));
  if (wrong === undefined) return;
  throw new NumberRangeError(
    `tensor: expected numbers that ${dtype} holds, from ${dtype.startsWith("u") ? 0 : least} to ${largest}. Received: ${describe(wrong)}. Use a wider dtype (dtype: "int64"), or numbers that fit.`,
    null,
    dtype,
    null,
  );
}

let warned = false;
/** @internal In 16 bits that a program did not ask for by name, a number that becomes infinity is told once. */
export function warnOfInfinity(fn: string, number: number, why: string): void {
  if (warned) return;
  warned = true;
  process.emitWarning(
    `${fn}: ${number} is beyond float16, whose largest number is 65504, and becomes ${number < 0 ? "-" : ""}infinity: ${why}. Write ${number < 0 ? "-" : ""}Infinity if that is meant, finfo("float16").${number < 0 ? "min" : "max"}, or compute in float32. This is said once.`,
    { type: "NbitWarning", code: "WARN_NUMBER_RANGE" },
  );
}
/** The least that rounds to infinity in float16. */
const HALF_INFINITY = 65520;
/** @internal */
export const becomesInfinity = (v: unknown): v is number =>
  typeof v === "number" && (v >= HALF_INFINITY || v <= -HALF_INFINITY) && v !== Infinity && v !== -Infinity;
