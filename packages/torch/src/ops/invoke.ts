/** Calling operators: find the plan, write the arguments, call, read the results. The hot path of the project. */
import { watch, type Watch } from "../autograd/watch.js";
import { explainMismatch } from "../dtype-mismatch.js";
import { ArgumentError, describe } from "../errors.js";
import { argBuffer, native } from "../native.js";
import { becomesInfinity, explainRange, warnOfInfinity } from "../number-range.js";
import { autocastRegion } from "../tensor/autocast-region.js";
import { defaultDevice } from "../tensor/default-device.js";
import { getDefaultDtype } from "../tensor/default-dtype.js";
import { isFloatingPoint } from "../tensor/dtype.js";
import { handleOrZero, isTensor, wrap } from "../tensor/handle.js";
import { Operator } from "./operator.js";
import { isOptions } from "./tags.js";
import { readReturns } from "./read-results.js";
import type { Plan } from "./plan.js";
import type { Argument, Schema } from "./schema.js";
import { forgetLargeNumber, largeNumber, writeList, writeOne } from "./write-arguments.js";

/** Told of a call: the overload, its arguments by the schema's names with defaults filled in, and the result. */
export type CallObserver = (schema: Schema, given: Readonly<Record<string, unknown>>, result: unknown) => void;
let observer: CallObserver | null = null;

/** Have every call told to `next` while `run` runs; calls that `next` makes itself are not. */
export function observingCalls<T>(next: CallObserver, run: () => T): T {
  const before = observer;
  observer = next;
  try {
    return run();
  } finally {
    observer = before;
  }
}

function observed(watch: CallObserver, op: Operator, args: unknown[], trusted: boolean): unknown {
  observer = null;
  try {
    const result = invoke(op, args, trusted);
    const plan = op.plan(args, true);
    watch(plan.schema, argumentsOf(plan, args), result);
    return result;
  } finally {
    observer = watch;
  }
}

function argumentsOf({ schema, source, varargs }: Plan, args: readonly unknown[]): Record<string, unknown> {
  return Object.fromEntries(
    schema.args.map(({ name, default: standard }, i) => {
      const from = source[i];
      if (from === -1 || from === undefined) return [name, standard];
      if (i === varargs) return [name, args.slice(from as number).filter((a) => !isOptions(a))];
      const options = args[args.length - 1] as Readonly<Record<string, unknown>>;
      return [name, typeof from === "number" ? args[from] : options[from]];
    }),
  );
}

/**
 * Call an operator with its arguments as a user wrote them. Takes the array over: what is a caller's in it is read
 * once, and replaced by a copy. From there to the call nothing runs but this file, so nobody else writes into the
 * buffer meanwhile.
 * @param trusted - Nothing in the arguments is a caller's: lists and options are ours, and not copied.
 */
export function invoke(op: Operator, args: unknown[], trusted = false): unknown {
  if (observer !== null) return observed(observer, op, args, trusted);
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
  if (watch !== null) keepingResults(watch);
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

/** Let somebody look, who may use the buffer in which results lie. */
function keepingResults(watching: Watch): void {
  const results = argBuffer.slice();
  watching.called();
  argBuffer.set(results);
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
  forgetLargeNumber();
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

/** @internal A function for an operator of `aten`. */
export function fn(name: string): (...args: unknown[]) => unknown {
  const op = new Operator(`aten::${name}`);
  return (...args: unknown[]) =>
    invoke(
      op,
      defaultDevice === null && !op.numberFirst ? args : placed(op, op.numberFirst ? tensorFirst(args) : args),
    );
}

/**
 * A number that stands before a tensor as a tensor without dimensions, which promotes nothing: Python's numbers do
 * likewise.
 */
function tensorFirst(args: unknown[]): unknown[] {
  const [number, other] = args;
  if (typeof number !== "number" || !isTensor(other)) return args;
  const { dtype } = other;
  const floats = isFloatingPoint(dtype) || other.isComplex();
  const own = floats
    ? other.ndim === 0 || other.isComplex()
      ? dtype
      : "float64"
    : !Number.isInteger(number)
      ? getDefaultDtype()
      : dtype === "bool"
        ? "int64"
        : dtype;
  return [invoke(scalarTensor, [number, { dtype: own }]), ...args.slice(1)];
}
const scalarTensor = new Operator("aten::scalar_tensor");

/** The arguments of a factory with the default device, where they name none. */
function placed(op: Operator, args: unknown[]): unknown[] {
  if (defaultDevice === null) return args;
  // What has tensors makes what it makes like them.
  const isFactory = op.schemas.some((s) => s.args.some((a) => a.name === "pin_memory") && s.args[0]?.kind !== "t");
  if (!isFactory || args.some((a) => isTensor(a))) return args;
  const last = args[args.length - 1];
  if (!isOptions(last)) return [...args, { device: defaultDevice }];
  return last["device"] === undefined || last["device"] === null
    ? [...args.slice(0, -1), { ...last, device: defaultDevice }]
    : args;
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
