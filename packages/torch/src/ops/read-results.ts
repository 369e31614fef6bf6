/** A call's results, read from the shared buffer. */
import { argBuffer, readInteger } from "../native.js";
import { deviceOfCode } from "../tensor/device.js";
import { dtypeName } from "../tensor/dtype.js";
import { wrap } from "../tensor/handle.js";
import { Complex } from "./complex.js";
import type { Plan } from "./plan.js";
import type { Schema } from "./schema.js";

function argumentOf(plan: Plan, args: readonly unknown[], index: number): unknown {
  const from = plan.source[index];
  return typeof from === "string"
    ? (args[args.length - 1] as Readonly<Record<string, unknown>>)[from]
    : args[from as number];
}

// Mutable: reading results walks the buffer.
let cursor = 0;

/** The results of a call: what the addon left in the buffer, and arguments that it wrote to. */
export function readReturns(plan: Plan, args: readonly unknown[]): unknown {
  const returns = plan.schema.returns;
  if (returns.length === 0) return undefined;
  cursor = 0;
  if (returns.length === 1) return readReturn(plan, args, 0);
  const values: unknown[] = [];
  for (let i = 0; i < returns.length; i++) values.push(readReturn(plan, args, i));
  returns.forEach((r, i) => {
    if (r.name !== undefined) Object.defineProperty(values, camelName(r.name), { value: values[i], enumerable: false });
  });
  return values;
}

const camelNames = new Map<string, string>();
function camelName(name: string): string {
  let camel = camelNames.get(name);
  if (camel === undefined) camelNames.set(name, (camel = name.replace(/_([a-z])/g, (_, c: string) => c.toUpperCase())));
  return camel;
}

function readReturn(plan: Plan, args: readonly unknown[], index: number): unknown {
  const r = plan.schema.returns[index] as Schema["returns"][number];
  if (r.alias >= 0) return argumentOf(plan, args, r.alias);
  if (r.list === true) {
    const n = argBuffer[cursor++] as number;
    if (r.kind === "t") {
      const handles = argBuffer.slice(cursor, cursor + n);
      cursor += n;
      return Array.from(handles, (h) => (h === 0 ? null : wrap(h)));
    }
    return Array.from({ length: n }, () => readValue(r.kind));
  }
  return readValue(r.kind);
}

function readValue(kind: string): unknown {
  switch (kind) {
    case "t": {
      const handle = argBuffer[cursor++] as number;
      return handle === 0 ? null : wrap(handle);
    }
    case "b":
      return argBuffer[cursor++] !== 0;
    case "d":
      return dtypeName(argBuffer[cursor++] as number);
    case "D":
      return deviceOfCode(argBuffer[cursor++] as number);
    case "s":
      return readScalar();
    case "i": {
      const value = readInteger(cursor);
      cursor += typeof value === "bigint" ? 2 : 1;
      return value;
    }
    default:
      return argBuffer[cursor++];
  }
}

function readScalar(): unknown {
  const tag = argBuffer[cursor++] as number;
  if (tag === 2) return argBuffer[cursor++] !== 0;
  if (tag === 3) {
    cursor += 2;
    return new Complex(argBuffer[cursor - 2] as number, argBuffer[cursor - 1] as number);
  }
  if (tag === 1) return argBuffer[cursor++];
  const value = readInteger(cursor);
  cursor += typeof value === "bigint" ? 2 : 1;
  return value;
}

/** @internal The scalar that `native.item` left in the buffer. */
export function takeScalar(): number | bigint | boolean | Complex {
  cursor = 0;
  return readScalar() as number | bigint | boolean | Complex;
}
