/** Errors of the lowering: which operator, where it comes from, what was met. */
import { describe } from "@nbit/torch/files";
import { XlaError } from "../errors.js";
import type { StepOperator } from "./program.js";

/** `aten::add.Tensor`. */
export const nameOf = (o: StepOperator): string => (o.overload === "" ? o.name : `${o.name}.${o.overload}`);

/** `aten::mm (operator 3 of 40, from src/model.ts:7:12)`. */
export function placed(operator: StepOperator, index: number, count: number, line: string | null): string {
  return `${nameOf(operator)} (operator ${index} of ${count}${line === null ? "" : `, from ${line}`})`;
}

/** Operators without a lowering: all of a program at once. */
export function missing(
  operators: readonly StepOperator[],
  indices: readonly number[],
  where: (index: number) => string,
): XlaError {
  const names = [...new Set(indices.map((i) => nameOf(operators[i])))];
  const lines = names.map((name) => {
    const at = indices.filter((i) => nameOf(operators[i]) === name);
    return `  ${where(at[0])}${at.length === 1 ? "" : `, ${at.length} times`}`;
  });
  return new XlaError(
    `lower: expected operators that have a lowering to StableHLO. Received: ${names.length} without one.\n${lines.join("\n")}\n  Add one with registerLowering(${JSON.stringify(names[0])}, (emitter, operation) => …), or run this step without XLA.`,
    "XLA_NO_LOWERING",
  );
}

/** An argument, or what goes with it, that a lowering does not handle. */
export function refused(
  where: string,
  argument: string | null,
  expected: string,
  received: unknown,
  options?: ErrorOptions,
): XlaError {
  return new XlaError(
    `${where}: expected ${argument === null ? "" : `${argument} to be `}${expected}. Received: ${typeof received === "string" ? received : describe(received)}.`,
    "XLA_LOWERING",
    options,
  );
}
