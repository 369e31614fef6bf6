/** libtorch's complaint about a number that a tensor's dtype cannot hold, made readable: which number, which dtype, which line of the program, and what to write. */
import { describeLine, userLine, type UserLine } from "./dtype-mismatch.js";
import { TorchError } from "./errors.js";
import { isTensor } from "./tensor/handle.js";

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

function numbersIn(args: readonly unknown[]): (number | bigint)[] {
  return args.flatMap((a): (number | bigint)[] => {
    if (typeof a === "number" || typeof a === "bigint") return [a];
    if (typeof a !== "object" || a === null || isTensor(a)) return [];
    return numbersIn(Object.values(a));
  });
}

/** @internal What a failed call becomes, where a number among its arguments did not fit; itself otherwise. */
export function explainRange(error: unknown, args: () => readonly unknown[]): unknown {
  if (!(error instanceof TorchError)) return error;
  const type = /value cannot be converted to type (\S+) without overflow/.exec(error.message)?.[1];
  const [dtype, least, largest] = TYPES[type ?? ""] ?? [];
  if (dtype === undefined || least === undefined || largest === undefined) return error;
  const number = numbersIn(args()).find((n) => n < least || n > largest);
  if (number === undefined) return error;
  const at = userLine(error.stack);
  const floating = dtype.includes("float");
  const fix = floating
    ? `Write ${number < least ? "-" : ""}Infinity for what is to be left out of a softmax, finfo(${JSON.stringify(dtype)}).${number < least ? "min" : "max"} for the ${number < least ? "least" : "largest"} number, or compute this in float32 (x.float())${dtype.endsWith("float16") ? `; autocast makes ${dtype} tensors of what matrix operators give` : ""}.`
    : `Use a wider dtype (x.to("int64")), or a number that fits.`;
  const own = error.op === null ? error.message : error.message.slice(error.message.indexOf(": ") + 2);
  const made = new NumberRangeError(`expected a number that ${dtype} holds, from ${least} to ${largest}. Received: ${number}.${describeLine(at)}\n${fix} (libtorch: ${own})`, error.op, dtype, at);
  if (error.stack !== undefined) made.stack = `${made.name}: ${made.message}\n${error.stack.slice(error.stack.indexOf("\n    at ") + 1)}`;
  return made;
}
