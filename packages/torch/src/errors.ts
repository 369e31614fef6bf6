/**
 * Errors of nbit: a class, a stable `code`, and a message that names the argument, what was expected, what was received
 * and the fix.
 */

import { helpOf } from "@nbit/native/help";
import { deviceLostMessage, saysDeviceLost } from "./device-lost.js";
import { readable } from "./libtorch-messages.js";
import { plainText, quoted } from "./plain-text.js";

/** Base of every error that nbit raises on purpose. */
export class NbitError extends Error {
  readonly code: string;
  /** The command that explains the code. Node.js shows it below the stack of an error that nobody caught. */
  readonly help: string;
  constructor(message: string, code: string, options?: ErrorOptions) {
    // Whatever names it quotes: a message is read in a terminal.
    super(plainText(message, "\n\t"), options);
    this.name = new.target.name;
    this.code = code;
    this.help = helpOf(code);
  }
}

/** A wrong argument, found before any work started. */
export class ArgumentError extends NbitError {
  constructor(fn: string, expected: string, received: unknown, fix = "", code = "ERR_ARGUMENT") {
    super(
      `${plainText(fn)}: expected ${plainText(expected)}. Received: ${plainText(describe(received))}.${fix === "" ? "" : ` ${fix}`}`,
      code,
    );
  }
}

/**
 * An exception of libtorch: PyTorch's own message, without its C++ backtrace. `code` is `TORCH` or one of its kinds
 * (`TORCH_INDEX`, `TORCH_OUT_OF_MEMORY`, …).
 */
export class TorchError extends NbitError {
  /** The operator that failed, such as `aten::mm`, where one did. */
  readonly op: string | null;
  constructor(message: string, code = "TORCH", op: string | null = null) {
    super(op === null ? message : `${op.replace(/^aten::/, "")}: ${message}`, code);
    this.op = op;
  }
}

/**
 * Memory of a device, or of the machine, did not suffice. Nothing is lost: tensors that exist go on living, and the
 * same call works once there is room. On a GPU the message ends with a table of what is held and with what helps.
 */
export class OutOfMemoryError extends TorchError {
  constructor(message: string, op: string | null = null) {
    super(message, "TORCH_OUT_OF_MEMORY", op);
  }
}

/** A matrix that an operator of `linalg` cannot work with: one that is singular, or not positive definite. */
export class LinAlgError extends TorchError {
  constructor(message: string, op: string | null = null) {
    super(message, "TORCH_LINALG", op);
  }
}

/**
 * The GPU is lost to this process: a kernel asserted (`CUDA_DEVICE_ASSERT`: an index or a class label out of range) or
 * read where nothing is (`CUDA_DEVICE_LOST`). CUDA fails every later call, so tensors on the GPU can be neither read
 * nor saved; those on the CPU can. Go on in a new process.
 */
export class DeviceLostError extends TorchError {}

let recentOperators: () => readonly string[] = () => [];
/** @internal Lets what calls operators tell which were called last. */
export function provideRecentOperators(recent: () => readonly string[]): void {
  recentOperators = recent;
}

/** What messages are made with must be a function, or there will be none. */
function onlyFunction<T>(fn: string, given: ArrayLike<unknown>, value: T): T {
  for (let i = 1; i < given.length; i++)
    if (given[i] !== undefined) throw new ArgumentError(fn, "one function", given[i]);
  if (typeof value !== "function") throw new ArgumentError(fn, "a function", value);
  return value;
}

const explainers: ((message: string) => string | null)[] = [];

/** @internal Lets what knows a device say more about its memory when that does not suffice. */
export function addMemoryExplainer(explainer: (message: string) => string | null): void {
  explainers.push(onlyFunction("addMemoryExplainer", arguments, explainer));
}

/** A tensor was used after its memory was given back. */
export class TensorDisposedError extends NbitError {
  constructor(fn: string | null) {
    super(
      `${fn === null ? "" : `${fn}: `}expected a live tensor. Received: a disposed tensor. Return it from its scope, or keep(tensor) before the scope ends.`,
      "TENSOR_DISPOSED",
    );
  }
}

class Verbatim {
  constructor(readonly text: string) {}
}
/**
 * @internal What was received, described by us: a message shows it as it is, where a string of the caller's would be
 * quoted.
 */
export function verbatim(text: string): Verbatim {
  return new Verbatim(text);
}

const describers: ((value: object) => string | null)[] = [];

/** @internal Lets classes above this file say how they look in messages. */
export function addDescriber(describer: (value: object) => string | null): void {
  describers.push(onlyFunction("addDescriber", arguments, describer));
}

/** Decimal digits of millions take minutes to find. */
function describeBigInt(value: bigint): string {
  const longest = 1n << 256n;
  return value < longest && value > -longest
    ? `${value}n`
    : `a bigint of ${value.toString(16).replace("-", "").length * 4} bits`;
}

/** Of what is no object; null for one. */
function describePrimitive(value: unknown): string | null {
  switch (typeof value) {
    case "number":
      return Object.is(value, -0) ? "-0" : String(value);
    case "bigint":
      return describeBigInt(value);
    case "string":
      return quoted(value.length > 80 ? `${value.slice(0, 77)}…` : value);
    case "symbol":
      return "a symbol";
    case "function":
      return value.name === "" ? "a function" : `function ${value.name}`;
    case "object":
      return value === null ? "null" : null;
    default:
      return String(value);
  }
}

function describeArray(value: readonly unknown[], depth: number): string {
  if (value.length === 0) return "[]";
  if (depth > 3) return "[…]";
  const head = value.slice(0, 4).map((e) => describe(e, depth + 1));
  return `[${head.join(", ")}${value.length > 4 ? `, … ${value.length} elements` : ""}]`;
}

/**
 * A short description of any value for a message: `Tensor float32 [2, 3] cpu`, `"abc"`, `3`, `an object with keys a,
 * b`.
 */
export function describe(value: unknown, depth = 0): string {
  try {
    return described(value, depth);
  } catch {
    return "an object that does not let itself be looked at"; // a proxy, or one whose getters throw
  }
}
function described(value: unknown, depth: number): string {
  const primitive = describePrimitive(value);
  if (primitive !== null) return primitive;
  const object = value as object;
  if (object instanceof Verbatim) return object.text;
  for (const describer of describers) {
    const text = describer(object);
    if (text !== null) return text;
  }
  if (Array.isArray(object)) return describeArray(object, depth);
  if (ArrayBuffer.isView(object)) return `${object.constructor.name} of ${object.byteLength} bytes`;
  const name = object.constructor?.name;
  if (name !== undefined && name !== "Object") return `an instance of ${name}`;
  const keys = Object.keys(object);
  return keys.length === 0 ? "{}" : `an object with keys ${keys.slice(0, 8).join(", ")}`;
}

/**
 * Training in several processes cannot go on, or could not begin. Names the rank, the step and the operation. `code`:
 * `ERR_DIST_PEER_LOST` (a process died, or gives no sign of life), `ERR_DIST_PEER_FAILED` (it failed, with its message),
 * `ERR_DIST_MISMATCH` (ranks do different things), `ERR_DIST_TIMEOUT`, `ERR_DIST_CONNECT`, `ERR_DIST_ADDRESS_IN_USE`,
 * `ERR_DIST_INTERFACE`, `ERR_DIST_RANK`, `ERR_DIST_GROUP`, `ERR_DIST_BACKEND`, `ERR_DIST_NOT_INITIALIZED`,
 * `ERR_DIST_INITIALIZED`, or `ERR_DIST` for what has no better one.
 *
 * After the first three and a timeout the groups of this process are of no more use: end it, and resume from a
 * checkpoint.
 */
export class DistributedError extends NbitError {}

/** @internal Say more, in a line of its own: in the message, and in the stack, which quotes it. */
export function addToMessage(error: Error, text: string): void {
  const { message, stack } = error;
  error.message = `${message}\n${text}`;
  if (stack !== undefined) error.stack = stack.replace(message, () => error.message);
}

/** @internal What the addon calls to make its errors. */
export function nativeError(code: string, message: string, op: string | null): Error {
  if (code === "TENSOR_DISPOSED") return new TensorDisposedError(op);
  // An operator that caught another's exception quotes it with its C++ frames.
  const frames = message.indexOf("\nException raised from ");
  const plain = frames === -1 ? message : message.slice(0, frames);
  if (saysDeviceLost(plain)) {
    const lost = deviceLostMessage(plain, recentOperators());
    return new DeviceLostError(lost.text, lost.code, op);
  }
  if (code.startsWith("ERR_DIST")) return new DistributedError(plain, code);
  const text = readable(plain);
  if (code === "TORCH_LINALG") return new LinAlgError(text, op);
  if (code !== "TORCH_OUT_OF_MEMORY") return new TorchError(text, code, op);
  const explained = explainers.map((explain) => explain(text)).filter((part) => part !== null);
  return new OutOfMemoryError([text, ...explained].join("\n"), op);
}
