import { atMost } from "../options.js";
import { checked } from "./check.js";
import { isValueArgument, type StepArgument, type StepOperator, type StepProgram, type StepValue } from "./format.js";

function shown(argument: StepArgument): string {
  if (isValueArgument(argument))
    return "value" in argument
      ? `%${argument.value}`
      : `[${argument.values.map((v) => (v === null ? "none" : `%${v}`)).join(", ")}]`;
  if (argument === null) return "none";
  if (typeof argument !== "object") return JSON.stringify(argument);
  if (Array.isArray(argument)) return `[${argument.map((a: StepArgument) => shown(a)).join(", ")}]`;
  if ("float" in argument) return Number.isInteger(argument.float) ? argument.float.toFixed(1) : String(argument.float);
  if ("number" in argument) return argument.number;
  if ("integer" in argument) return argument.integer;
  if ("complex" in argument) return `complex(${argument.complex.map(shown).join(", ")})`;
  if ("device" in argument) return argument.device;
  if ("generator" in argument) return "generator";
  return "other" in argument ? `<${argument.other}>` : "";
}

function typeOf(value: StepValue): string {
  return `${value.dtype}[${value.shape.join(", ")}]`;
}

function line(operator: StepOperator, program: StepProgram): string {
  const given = Object.entries(operator.arguments)
    .filter(([, argument]) => argument !== null)
    .map(([name, argument]) => (isValueArgument(argument) ? shown(argument) : `${name}=${shown(argument)}`));
  const made = operator.results.filter((v): v is number => v !== null && !operator.writes.includes(v));
  const results = made.map((v) => `%${v}: ${typeOf(program.values[v] as StepValue)}`).join(", ");
  const name = operator.overload === "" ? operator.name : `${operator.name}.${operator.overload}`;
  const written = operator.writes.length === 0 ? "" : `  writes ${operator.writes.map((v) => `%${v}`).join(", ")}`;
  return `${results === "" ? "" : `${results} = `}${name}(${given.join(", ")})${written}`;
}

/** Values that are read before an operator makes them, and were there before the step. */
function externalsOf({ operators, values, buffers }: StepProgram): number[] {
  const made = new Set<number>();
  const found = new Set<number>();
  for (const { arguments: given, results } of operators) {
    for (const argument of Object.values(given))
      if (isValueArgument(argument))
        for (const v of "value" in argument ? [argument.value] : argument.values)
          if (v !== null && !made.has(v) && buffers[(values[v] as StepValue).buffer]?.origin === "external")
            found.add(v);
    for (const v of results) if (v !== null) made.add(v);
  }
  return [...found].sort((a, b) => a - b);
}

/**
 * A step as lines that people read: inputs, state, what else it reads, then an operator a line, with the dtypes and shapes of what it made.
 *
 * @example
 * console.log(program.print(step.program));
 * // input x = %3: float32[8, 32]
 * // state %0: float32[64, 32]
 * // %4: float32[32, 64] = aten::t(%0)
 * // %5: float32[8, 64] = aten::addmm(%1, %3, %4, beta=1, alpha=1)
 */
export function print(program: StepProgram): string {
  atMost("print", arguments, 1);
  checked("print", program);
  const { values, buffers, operators, inputs, results } = program;
  const named = new Set(Object.values(inputs));
  const isWritten = (v: number): boolean => buffers[(values[v] as StepValue).buffer]?.written === true;
  const others = externalsOf(program).filter((v) => !named.has(v));
  const outside = (kind: string, which: readonly number[]): string[] =>
    which.map((v) => `${kind} %${v}: ${typeOf(values[v] as StepValue)}`);
  return [
    ...Object.entries(inputs).map(([name, v]) => `input ${name} = %${v}: ${typeOf(values[v] as StepValue)}`),
    ...outside("state", others.filter(isWritten)),
    ...outside(
      "reads",
      others.filter((v) => !isWritten(v)),
    ),
    ...operators.map((operator) => line(operator, program)),
    ...Object.entries(results).map(([name, v]) => `result ${name} = %${v}`),
  ].join("\n");
}
