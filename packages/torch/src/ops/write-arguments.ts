/** A call's arguments, written into the shared buffer as the addon reads them (native.ts has the encodings). */
import { ArgumentError, TensorDisposedError } from "../errors.js";
import { argBuffer, reserve, writeInteger } from "../native.js";
import { device, type DeviceLike } from "../tensor/device.js";
import { dtypeCode } from "../tensor/dtype.js";
import { handleOrZero } from "../tensor/handle.js";
import { isTensorList, packedHandles } from "../tensor/list.js";
import type { Tensor } from "../tensor/tensor.js";
import type { Complex } from "./complex.js";
import { generatorId, type Generator } from "./generator.js";
import { intern, LAYOUTS, MEMORY_FORMATS } from "./encode.js";
import type { Argument, Schema } from "./schema.js";

function writeTensor(value: unknown, at: number, schema: Schema): number {
  if (typeof value === "number" || typeof value === "boolean") {
    argBuffer[at] = NaN;
    return writeScalar(value, at + 1);
  }
  const handle = handleOrZero(value as Tensor);
  if (handle === 0) throw new TensorDisposedError(schema.name.replace(/^aten::/, ""));
  argBuffer[at] = handle;
  return at + 1;
}

/** A number among the arguments is beyond float16: looked into after the call. */
export let largeNumber = false;
export function forgetLargeNumber(): void {
  largeNumber = false;
}

function writeScalar(value: unknown, at: number): number {
  if (typeof value === "number") {
    argBuffer[at] = Number.isInteger(value) && Math.abs(value) <= 9007199254740992 ? 0 : 1;
    argBuffer[at + 1] = value;
    if (value > 65504 || value < -65504) largeNumber = true;
    return at + 2;
  }
  if (typeof value === "boolean") {
    argBuffer[at] = 2;
    argBuffer[at + 1] = value ? 1 : 0;
    return at + 2;
  }
  if (typeof value === "bigint") {
    argBuffer[at] = 0;
    return writeInteger(value, at + 1);
  }
  const c = value as Complex;
  argBuffer[at] = 3;
  argBuffer[at + 1] = c.re;
  argBuffer[at + 2] = c.im;
  return at + 3;
}

/** What a call's other arguments take at most. */
const OTHERS = 1024;

/** Write a list, or one number in the place of a list of fixed size; returns the next position. */
export function writeList(arg: Argument, value: unknown, start: number, schema: Schema): number {
  let at = start;
  if (isTensorList(value)) {
    const handles = packedHandles(value);
    const n = handles.length;
    reserve(at + n + OTHERS);
    argBuffer[at] = n;
    argBuffer.set(handles, at + 1);
    return at + 1 + n;
  }
  if (!Array.isArray(value)) {
    // One number stands for a list of fixed size.
    const n = arg.size as number;
    argBuffer[at++] = n;
    for (let i = 0; i < n; i++)
      at = typeof value === "bigint" ? writeInteger(value, at) : ((argBuffer[at] = value as number), at + 1);
    return at;
  }
  const list: readonly unknown[] = value;
  const n = list.length;
  reserve(at + 3 * n + OTHERS);
  argBuffer[at++] = n;
  switch (arg.kind) {
    case "t":
      for (let i = 0; i < n; i++) {
        const e = list[i];
        if (e === null || e === undefined) argBuffer[at++] = 0;
        else at = writeTensor(e, at, schema);
      }
      return at;
    case "s":
      for (let i = 0; i < n; i++) at = writeScalar(list[i], at);
      return at;
    case "b":
      for (let i = 0; i < n; i++) argBuffer[at++] = list[i] === true ? 1 : 0;
      return at;
    case "S":
      for (let i = 0; i < n; i++) argBuffer[at++] = intern(list[i] as string);
      return at;
    default:
      for (let i = 0; i < n; i++) {
        const e = list[i];
        if (typeof e === "bigint") at = writeInteger(e, at);
        else argBuffer[at++] = e as number;
      }
      return at;
  }
}

/** Write an argument as its schema says; returns the next position. */
export function writeOne(arg: Argument, value: unknown, start: number, schema: Schema): number {
  let at = start;
  if (value === null || value === undefined) {
    argBuffer[at] = arg.list === true ? -1 : 0;
    return at + 1;
  }
  if (arg.list === true) return writeList(arg, value, at, schema);
  if (arg.kind === "t") return writeTensor(value, at, schema);
  if (arg.optional === true) argBuffer[at++] = 1;
  switch (arg.kind) {
    case "i":
      return writeInteger(value as number | bigint, at);
    case "f":
      argBuffer[at] = value as number;
      return at + 1;
    case "s":
      return writeScalar(value, at);
    case "b":
      argBuffer[at] = value === true ? 1 : 0;
      return at + 1;
    case "S":
      argBuffer[at] = intern(value as string);
      return at + 1;
    case "d":
      argBuffer[at] = dtypeCode(value, "dtype");
      return at + 1;
    case "D":
      argBuffer[at] = device(value as DeviceLike).code;
      return at + 1;
    case "l":
      argBuffer[at] = named(LAYOUTS, "layout", value, schema);
      return at + 1;
    case "m":
      argBuffer[at] = named(MEMORY_FORMATS, "memoryFormat", value, schema);
      return at + 1;
    default:
      argBuffer[at] = generatorId(value as Generator);
      return at + 1;
  }
}

function named(table: Readonly<Record<string, number>>, what: string, value: unknown, schema: Schema): number {
  const code = typeof value === "string" && Object.hasOwn(table, value) ? table[value] : undefined;
  if (code === undefined)
    throw new ArgumentError(
      schema.name.replace(/^aten::/, ""),
      `${what} to be one of ${Object.keys(table).join(", ")}`,
      value,
    );
  return code;
}
