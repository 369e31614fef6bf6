/** Whether data is a program: of a file, say. */
import { ArgumentError } from "../errors.js";
import { atMost } from "../options.js";
import { isPlain } from "../realm.js";
import * as schema from "../schema.js";
import { isDType, type DType } from "../tensor/dtype.js";
import { isValueArgument, type StepArgument, type StepProgram } from "./format.js";

const dtype: schema.Schema<DType> = schema.leaf("a dtype", isDType);
const sizes = schema.listOf(schema.count);

/** Constants nest in lists; values are whole numbers, or null in lists. */
function isArgument(value: unknown, depth = 0): boolean {
  if (value === null || ["boolean", "number", "string"].includes(typeof value)) return true;
  if (Array.isArray(value)) return depth < 8 && value.every((item: unknown) => isArgument(item, depth + 1));
  if (!isPlain(value)) return false;
  const [[name, inner] = ["", undefined], ...more] = Object.entries(value);
  if (more.length > 0) return false;
  if (name === "value") return Number.isSafeInteger(inner);
  if (name === "values") return Array.isArray(inner) && inner.every((v) => v === null || Number.isSafeInteger(v));
  if (name === "complex") return Array.isArray(inner) && inner.length === 2 && inner.every((v) => isArgument(v, 8));
  return (
    (name === "float" && typeof inner === "number") ||
    (name === "generator" && typeof inner === "boolean") ||
    (["number", "integer", "device", "other"].includes(name) && typeof inner === "string")
  );
}
const argument: schema.Schema<StepArgument> = schema.leaf("a constant, a value or a list of values", isArgument);

const form: schema.Schema<StepProgram> = schema.fieldsOf({
  format: schema.oneOf("nbit.step"),
  version: schema.oneOf(1),
  buffers: schema.listOf(
    schema.fieldsOf({ bytes: schema.count, origin: schema.oneOf("made", "external", "number"), written: schema.flag }),
  ),
  values: schema.listOf(
    schema.fieldsOf({ buffer: schema.count, offset: schema.count, dtype, shape: sizes, strides: sizes }),
  ),
  operators: schema.listOf(
    schema.fieldsOf({
      name: schema.text,
      overload: schema.text,
      arguments: schema.recordOf(argument),
      results: schema.listOf(schema.orNull(schema.count)),
      writes: schema.listOf(schema.count),
      forward: schema.optional(schema.count),
    }),
  ),
  inputs: schema.recordOf(schema.count),
  results: schema.recordOf(schema.count),
});

/** Values that a program names: of arguments, results and what is written. */
function* named({ operators, inputs, results }: StepProgram): Generator<number> {
  yield* Object.values(inputs);
  yield* Object.values(results);
  for (const operator of operators) {
    yield* operator.writes;
    for (const v of operator.results) if (v !== null) yield v;
    for (const given of Object.values(operator.arguments)) {
      if (!isValueArgument(given)) continue;
      if ("value" in given) yield given.value;
      else for (const v of given.values) if (v !== null) yield v;
    }
  }
}

/**
 * A program that was read from a file, or came from elsewhere: checked whole.
 * @returns the value itself.
 * @throws {ArgumentError} `fromData: expected program.operators[3].name to be a text. Received: 5.`
 * @example program.fromData(JSON.parse(readFileSync("step.json", "utf8")));
 */
export function fromData(data: unknown): StepProgram {
  atMost("fromData", arguments, 1);
  return checked("fromData", data);
}
/** @internal */
export function checked(fn: string, data: unknown): StepProgram {
  const program = schema.conforming(
    form,
    data,
    "program",
    ({ path, expected, received }) => new ArgumentError(fn, `${path} to be ${expected}`, received),
  );
  for (const { buffer } of program.values)
    if (buffer >= program.buffers.length)
      throw new ArgumentError(fn, `values in the ${program.buffers.length} buffers of the program`, buffer);
  for (const v of named(program))
    if (!(v >= 0 && v < program.values.length))
      throw new ArgumentError(fn, `operators over the ${program.values.length} values of the program`, v);
  return program;
}
