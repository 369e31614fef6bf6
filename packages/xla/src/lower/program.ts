/** The recorded program's types, and its arguments told apart. */
import type { program } from "@nbit/torch";

export type StepProgram = program.StepProgram;
export type StepOperator = program.StepOperator;
export type StepValue = program.StepValue;
export type StepArgument = program.StepArgument;
export type Constant = program.Constant;
export type ValueArgument = program.ValueArgument;

const isObject = (a: StepArgument): a is Exclude<StepArgument, null | boolean | number | string> =>
  typeof a === "object" && a !== null && !Array.isArray(a);

export function isValueArgument(a: StepArgument): a is ValueArgument {
  return isObject(a) && ("value" in a || "values" in a);
}
/** Values that an operator reads or writes, as its arguments name them. */
export function* valuesOf(operator: StepOperator): Generator<number> {
  for (const argument of Object.values(operator.arguments)) {
    if (!isValueArgument(argument)) continue;
    if ("value" in argument) yield argument.value;
    else for (const v of argument.values) if (v !== null) yield v;
  }
}
/** A number, also of a truth value; null: it is none that a double holds. */
export function numberOf(a: StepArgument): number | null {
  if (typeof a === "number") return a;
  if (typeof a === "boolean") return a ? 1 : 0;
  if (!isObject(a)) return null;
  if ("float" in a) return a.float;
  return "number" in a ? Number(a.number) : null;
}
