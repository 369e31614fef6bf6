/**
 * Calling operators: choose a plan for the call's shape (cached), write the arguments, call, read the results. The hot
 * path of the project.
 */
import { explainMismatch } from "../dtype-mismatch.js";
import { ArgumentError, TensorDisposedError, describe } from "../errors.js";
import { becomesInfinity, explainRange, warnOfInfinity } from "../number-range.js";
import { argBuffer, argBufferInt64, native, readInteger, reserve, writeInteger } from "../native.js";
import { autocastRegion } from "../tensor/autocast-region.js";
import { device, deviceOfCode, type DeviceLike } from "../tensor/device.js";
import { isFloatingPoint } from "../tensor/dtype.js";
import { dtypeName } from "../tensor/dtype.js";
import { handleOrZero, isTensor, wrap } from "../tensor/handle.js";
import { isTensorList, packedHandles } from "../tensor/list.js";
import type { Tensor } from "../tensor/tensor.js";
import { Complex } from "./complex.js";
import { generatorId, type Generator } from "./generator.js";
import { mismatch } from "./mismatch.js";
import {
  dtypeOfArgument,
  intern,
  isOptions,
  LAYOUTS,
  MEMORY_FORMATS,
  own,
  planFor,
  Tag,
  tagOf,
  type Plan,
} from "./plan.js";
import { schemasOf, type Argument, type Schema } from "./schema.js";

/** The latest call with options: tags of its positional arguments, and of its options in their order. */
interface Named {
  readonly positional: number;
  readonly names: readonly string[];
  readonly tags: readonly number[];
  readonly plan: Plan;
}

/** undefined is as good as not given; null is a value. */
function tagOrAbsent(value: unknown): number {
  return value === undefined ? -1 : tagOf(value);
}

function sameOptions(last: Named, options: Readonly<Record<string, unknown>>): boolean {
  const { names, tags } = last;
  let i = 0;
  for (const name in options) {
    if (name !== names[i] || tagOrAbsent(options[name]) !== tags[i]) return false;
    i++;
  }
  return i === names.length;
}

/** All overloads of one name (or exactly one), with the plans found so far. */
export class Operator {
  readonly name: string;
  readonly overload: string | null;
  #schemas: readonly Schema[] | null = null;
  // Most call sites of an operator look alike: the last plan is tried before the map.
  #lastKey: number | string = -1;
  #last: Plan | null = null;
  #lastNamed: Named | null = null;
  readonly #plans = new Map<number | string, Plan>();

  constructor(name: string, overload: string | null = null) {
    this.name = name;
    this.overload = overload;
  }

  get schemas(): readonly Schema[] {
    if (this.#schemas === null) {
      const all = schemasOf(this.name);
      this.#schemas = this.overload === null ? all : all.filter((s) => s.overload === this.overload);
    }
    return this.#schemas;
  }

  /**
   * The plan for these arguments, which are this side's own from here on.
   * @param trusted - They were from the beginning: nothing in them is a caller's.
   * @throws {ArgumentError} when no overload takes them.
   */
  plan(args: unknown[], trusted: boolean): Plan {
    const n = args.length;
    let key: number | string = n;
    if (n > 9) {
      for (let i = 0; i < n; i++) args[i] = own(args[i]);
      key = shapeKey(args);
    } else {
      // Nine tags of five bits and the count stay exact in a number.
      let tag = 0;
      for (let i = 0; i < n; i++) {
        const value = args[i];
        tag = isTensor(value)
          ? Tag.tensor
          : typeof value !== "object"
            ? tagOf(value)
            : trusted
              ? tagOf(value)
              : tagOf((args[i] = own(value)));
        key = key * 32 + tag;
      }
      if (tag === Tag.options) return this.#planNamed(args, key);
    }
    if (key === this.#lastKey && this.#last !== null) return this.#last;
    let plan = this.#plans.get(key);
    if (plan === undefined) {
      plan = this.#resolve(args);
      this.#plans.set(key, plan);
    }
    this.#lastKey = key;
    this.#last = plan;
    return plan;
  }

  /** With options the key is text; comparing with the last call's options needs none. */
  #planNamed(args: readonly unknown[], positional: number): Plan {
    const options = args[args.length - 1] as Readonly<Record<string, unknown>>;
    const last = this.#lastNamed;
    if (last !== null && last.positional === positional && sameOptions(last, options)) return last.plan;
    const key = shapeKey(args);
    let plan = this.#plans.get(key);
    if (plan === undefined) {
      plan = this.#resolve(args);
      this.#plans.set(key, plan);
    }
    const names = Object.keys(options);
    this.#lastNamed = { positional, names, tags: names.map((name) => tagOrAbsent(options[name])), plan };
    return plan;
  }

  #resolve(args: readonly unknown[]): Plan {
    const last = args[args.length - 1];
    const options = isOptions(last)
      ? new Map(
          Object.entries(last)
            .filter(([, v]) => v !== undefined)
            .map(([k, v]) => [k, tagOf(v)] as const),
        )
      : null;
    let positional = options === null ? args : args.slice(0, -1);
    // Trailing undefined is as good as not given.
    while (positional.length > 0 && positional[positional.length - 1] === undefined)
      positional = positional.slice(0, -1);
    const tags = positional.map(tagOf);
    for (const allowVarargs of [false, true]) {
      let best: { plan: Omit<Plan, "id">; cost: number } | null = null;
      for (const schema of this.schemas) {
        const candidate = planFor(schema, tags, options, allowVarargs);
        if (candidate !== null && (best === null || candidate.cost < best.cost)) best = candidate;
      }
      if (best !== null) return { ...best.plan, id: native.compileOp(this.name, best.plan.schema.overload) };
    }
    throw this.#mismatch(args);
  }

  #mismatch(args: readonly unknown[]): ArgumentError {
    const short = this.name.replace(/^aten::/, "");
    if (this.schemas.length === 0)
      return new ArgumentError(
        short,
        "an operator of this libtorch",
        this.name,
        "`nbit doctor` shows its version.",
        "ERR_NO_OPERATOR",
      );
    for (const a of args) if (isTensor(a) && handleOrZero(a) === 0) throw new TensorDisposedError(short);
    return mismatch(short, this.schemas, args);
  }
}

function shapeKey(args: readonly unknown[]): string {
  let key = "";
  for (const a of args) {
    const tag = tagOf(a);
    key += String.fromCharCode(97 + tag);
    if (tag === Tag.options) key += optionsKey(a as Readonly<Record<string, unknown>>);
  }
  return key;
}

function optionsKey(options: Readonly<Record<string, unknown>>): string {
  let key = "{";
  for (const name in options) {
    const value = options[name];
    if (value !== undefined) key += `${name}:${String.fromCharCode(97 + tagOf(value))},`;
  }
  return key + "}";
}

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
let largeNumber = false;

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

function writeList(arg: Argument, value: unknown, start: number, schema: Schema): number {
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

function writeOne(arg: Argument, value: unknown, start: number, schema: Schema): number {
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
      argBuffer[at] = dtypeOfArgument(value);
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

/**
 * Call an operator with its arguments as a user wrote them. Takes the array over: what is a caller's in it is read
 * once, and replaced by a copy. From there to the call nothing runs but this file, so nobody else writes into the
 * buffer meanwhile.
 * @param trusted - Nothing in the arguments is a caller's: lists and options are ours, and not copied.
 */
export function invoke(op: Operator, args: unknown[], trusted = false): unknown {
  const plan = op.plan(args, trusted);
  const { schema, source, defaults } = plan;
  const specs = schema.args;
  let at = 2;
  let options: Readonly<Record<string, unknown>> | null = null;
  for (let i = 0; i < specs.length; i++) {
    const from = source[i];
    if (from === -1) {
      const values = defaults[i] as readonly number[];
      for (let j = 0; j < values.length; j++) argBuffer[at++] = values[j] as number;
    } else if (i === plan.varargs) {
      at = writeList(
        specs[i] as Argument,
        args.slice(from as number).filter((a) => !isOptions(a)),
        at,
        schema,
      );
    } else if (typeof from === "number") {
      at = writeOne(specs[i] as Argument, args[from], at, schema);
    } else {
      options ??= args[args.length - 1] as Readonly<Record<string, unknown>>;
      at = writeOne(specs[i] as Argument, options[from as string], at, schema);
    }
  }
  argBuffer[0] = at;
  argBuffer[1] = plan.id;
  try {
    native.call();
  } catch (error) {
    throw explainMismatch(
      explainRange(
        error,
        () => args,
        () => autocastRegion(),
      ),
      () => floatingOperands(args),
      autocastRegion,
    );
  }
  if (largeNumber) noteLargeNumber(op.name, args);
  if (plan.simple === 1) {
    const handle = argBuffer[0] as number;
    if (handle === 0) return null;
    const result = wrap(handle);
    if (plan.requiresGrad && (args[args.length - 1] as { requiresGrad?: unknown }).requiresGrad === true)
      native.setRequiresGrad(handleOrZero(result), true);
    return result;
  }
  return readReturns(plan, args);
}

/** Operators whose result holds a number that they are given, or a sum with it. */
const HOLD_NUMBERS: ReadonlySet<string> = new Set(
  ["add", "add_", "sub", "sub_", "rsub", "where"].map((name) => `aten::${name}`),
);

/**
 * A number that becomes infinity beside float16 tensors is told once where a region made them so. libtorch says
 * nothing: infinity is what it computes.
 */
function noteLargeNumber(name: string, args: readonly unknown[]): void {
  largeNumber = false;
  if (!HOLD_NUMBERS.has(name)) return;
  const number = args.find(becomesInfinity);
  if (number === undefined) return;
  const result = argBuffer.slice(0, 1); // asking for the region writes to the buffer, where the call's result lies
  const dtypes = floatingOperands(args);
  const region = dtypes.length > 0 && dtypes.every((dtype) => dtype === "float16") ? autocastRegion("float16") : null;
  argBuffer.set(result);
  if (region !== null)
    warnOfInfinity(name.replace(/^aten::/, ""), number, `it meets float16 tensors in a region of ${region}`);
}

/** Dtypes of the floating tensors among arguments. */
function floatingOperands(args: readonly unknown[]): string[] {
  return args.flatMap((a) =>
    isTensor(a)
      ? handleOrZero(a) !== 0 && isFloatingPoint(a.dtype)
        ? [a.dtype]
        : []
      : Array.isArray(a)
        ? floatingOperands(a)
        : [],
  );
}

function argumentOf(plan: Plan, args: readonly unknown[], index: number): unknown {
  const from = plan.source[index];
  return typeof from === "string"
    ? (args[args.length - 1] as Readonly<Record<string, unknown>>)[from]
    : args[from as number];
}

// Mutable: reading results walks the buffer.
let cursor = 0;

function readReturns(plan: Plan, args: readonly unknown[]): unknown {
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

/** @internal Whether an int64 was written raw, for tests of the encoding. */
export function rawAt(at: number): bigint {
  return argBufferInt64[at] as bigint;
}

/** @internal A function for an operator of `aten`. */
export function fn(name: string): (...args: unknown[]) => unknown {
  const op = new Operator(`aten::${name}`);
  return (...args: unknown[]) => invoke(op, args);
}

/**
 * @internal A method for an operator of `aten`: `this` is its argument named self, which nearly always is the first
 * (where: condition, self, other).
 */
export function method(name: string): (this: unknown, ...args: unknown[]) => unknown {
  const op = new Operator(`aten::${name}`);
  let selfAt = -1;
  return function (this: unknown, ...args: unknown[]): unknown {
    if (!isTensor(this)) throw new ArgumentError(name, "this to be a tensor", describe(this));
    if (selfAt < 0) selfAt = Math.max(0, ...op.schemas.map((s) => s.args.findIndex((a) => a.name === "self")));
    // Putting it before the others would move them all: calls with few are written out.
    if (selfAt === 0 && args.length === 1) return invoke(op, [this, args[0]]);
    if (selfAt === 0 && args.length === 0) return invoke(op, [this]);
    if (selfAt === 0 || args.length < selfAt) args.unshift(this);
    else args.splice(selfAt, 0, this);
    return invoke(op, args);
  };
}
