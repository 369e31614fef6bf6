/** Arguments as numbers in the buffer: names that JavaScript gives to codes, interned strings, defaults. */
import { device } from "../tensor/device.js";
import { native, argBuffer, writeInteger } from "../native.js";
import type { Argument } from "./schema.js";

const strings = new Map<string, number>();
export function intern(text: string): number {
  let id = strings.get(text);
  if (id === undefined) {
    id = native.intern(text);
    strings.set(text, id);
  }
  return id;
}

export const LAYOUTS: Readonly<Record<string, number>> = {
  strided: 0,
  sparseCoo: 1,
  sparseCsr: 2,
  mkldnn: 3,
  sparseCsc: 4,
  sparseBsr: 5,
  sparseBsc: 6,
  jagged: 7,
};
export const MEMORY_FORMATS: Readonly<Record<string, number>> = {
  contiguousFormat: 0,
  preserveFormat: 1,
  channelsLast: 2,
  channelsLast3d: 3,
};

/** What a plan writes for an argument that the call leaves out: its default, encoded. */
export function encodeDefault(arg: Argument): readonly number[] {
  const value = arg.default;
  if (value === null || value === undefined) return arg.list === true ? [-1] : [0];
  // The buffer is free while a plan is being made.
  return Array.from(argBuffer.subarray(0, writeDefault(arg, value, 0)));
}

function number(value: unknown): number {
  if (value === "inf") return Infinity;
  if (value === "-inf") return -Infinity;
  if (value === "nan") return NaN;
  return Number(value);
}

function writeDefault(arg: Argument, value: unknown, start: number): number {
  let at = start;
  if (arg.list === true) {
    // A default of one number for a list of fixed size stands for all of its elements.
    const list: readonly unknown[] = Array.isArray(value) ? value : new Array(arg.size ?? 1).fill(value);
    argBuffer[at++] = list.length;
    for (const e of list) {
      if (arg.kind === "s") at = writeScalarDefault(e, at);
      else if (arg.kind === "S") argBuffer[at++] = intern(String(e));
      else argBuffer[at++] = number(e);
    }
    return at;
  }
  if (arg.optional === true) argBuffer[at++] = 1;
  switch (arg.kind) {
    case "s":
      return writeScalarDefault(value, at);
    case "i":
      return typeof value === "number" && !Number.isSafeInteger(value)
        ? writeInteger(BigInt(value), at)
        : writeInteger(Number(value), at);
    case "S":
      argBuffer[at] = intern(String(value));
      return at + 1;
    case "D":
      argBuffer[at] = device(String(value)).code;
      return at + 1;
    default:
      argBuffer[at] = number(value);
      return at + 1;
  }
}
function writeScalarDefault(value: unknown, at: number): number {
  argBuffer[at] = typeof value === "boolean" ? 2 : Number.isInteger(value) ? 0 : 1;
  argBuffer[at + 1] = number(value);
  return at + 2;
}
