/** One operator as its lowering sees it: arguments by name, each of which must be looked at, and what was recorded. */
import type { Emitter } from "../stablehlo/emitter.js";
import type { Generator } from "../stablehlo/random.js";
import { dtypeOf, type Element, type Operand, type Ssa } from "../stablehlo/types.js";
import { refused } from "./faults.js";
import { isValueArgument, numberOf, type StepArgument, type StepOperator } from "./program.js";

/** Of a result, as it was recorded. */
export interface Out {
  readonly element: Element;
  readonly shape: readonly number[];
}
/** What a lowering returns for a result: null where it has nothing to say, as for a result that was not asked for. */
export type Result = Ssa | (() => Ssa) | null;
/**
 * Writes one operator. Results come in the order of {@link Operation.outs}: what the operator returned, then what it
 * wrote and did not return. A result may be a function that is called if anybody reads it.
 */
export type Lowering = (e: Emitter, o: Operation) => readonly Result[];

/** What the driver lends to operations: values of the program at this point. */
export interface Values {
  tensor(value: number): Ssa;
  /** A number in a tensor's place; null: it is a tensor. */
  number(value: number): number | null;
  /** What the operator that made a value left for others. */
  aside(value: number): readonly Ssa[] | null;
}

/** Says nothing beyond what the recorded results say. */
const IMPLIED = new Set([
  "dtype",
  "layout",
  "device",
  "pin_memory",
  "memory_format",
  "non_blocking",
  "implicit",
  "size",
]);

export class Operation {
  readonly #looked = new Set<string>();
  readonly #asides = new Map<number, readonly Ssa[]>();

  constructor(
    /** Name, place and line, for messages. */
    readonly where: string,
    readonly operator: StepOperator,
    readonly outs: readonly (Out | null)[],
    private readonly values: Values,
    /** The state that random operators draw from. */
    readonly random: Generator,
  ) {}

  #argument(name: string): StepArgument {
    this.#looked.add(name);
    const argument = this.operator.arguments[name];
    return argument === undefined ? null : argument;
  }
  has(name: string): boolean {
    return Object.hasOwn(this.operator.arguments, name);
  }
  #fail(name: string, expected: string): never {
    throw refused(this.where, name, expected, shown(this.operator.arguments[name] ?? null));
  }
  /** Refuse what the lowering does not handle. */
  refuse(name: string, expected: string): never {
    return this.#fail(name, `${expected} (its lowering handles no other)`);
  }
  need(condition: boolean, name: string, expected: string): void {
    if (!condition) this.refuse(name, expected);
  }

  tensor(name: string): Ssa {
    return this.optional(name) ?? this.#fail(name, "a tensor");
  }
  optional(name: string): Ssa | null {
    const argument = this.#argument(name);
    if (argument === null) return null;
    if (isValueArgument(argument) && "value" in argument) return this.values.tensor(argument.value);
    return this.#fail(name, "a tensor");
  }
  tensors(name: string): Ssa[] {
    return this.optionals(name).map((v) => v ?? this.#fail(name, "a list of tensors, none missing"));
  }
  optionals(name: string): (Ssa | null)[] {
    const argument = this.#argument(name);
    if (argument === null || (Array.isArray(argument) && argument.length === 0)) return [];
    if (isValueArgument(argument) && "values" in argument)
      return argument.values.map((v) => (v === null ? null : this.values.tensor(v)));
    return this.#fail(name, "a list of tensors");
  }
  /** A tensor, or a number: also one in a tensor's place. */
  operand(name: string): Operand {
    return this.operandOr(name) ?? this.#fail(name, "a tensor or a number");
  }
  operandOr(name: string): Operand | null {
    const argument = this.#argument(name);
    if (argument === null) return null;
    if (isValueArgument(argument) && "value" in argument)
      return this.values.number(argument.value) ?? this.values.tensor(argument.value);
    return numberOf(argument) ?? this.#fail(name, "a tensor or a number");
  }
  number(name: string): number {
    return this.numberOr(name) ?? this.#fail(name, "a number");
  }
  numberOr(name: string): number | null {
    const argument = this.#argument(name);
    if (argument === null) return null;
    if (isValueArgument(argument)) {
      const number = "value" in argument ? this.values.number(argument.value) : null;
      return number ?? this.refuse(name, "a number that does not change from step to step");
    }
    return numberOf(argument) ?? this.#fail(name, "a number");
  }
  numbers(name: string): number[] {
    const argument = this.#argument(name);
    if (argument === null) return [];
    if (!Array.isArray(argument)) return this.#fail(name, "a list of numbers");
    return (argument as readonly StepArgument[]).map((n) => numberOf(n) ?? this.#fail(name, "a list of numbers"));
  }
  flag(name: string): boolean {
    const argument = this.#argument(name);
    return typeof argument === "boolean" ? argument : this.#fail(name, "true or false");
  }
  flags(name: string): boolean[] {
    return this.numbers(name).map((n) => n !== 0);
  }
  text(name: string): string {
    const argument = this.#argument(name);
    return typeof argument === "string" ? argument : this.#fail(name, "a text");
  }
  textOr(name: string): string | null {
    return this.operator.arguments[name] === null ? this.#nothing(name) : this.text(name);
  }
  #nothing(name: string): null {
    this.#looked.add(name);
    return null;
  }
  /** These say nothing beyond what else was read. */
  implied(...names: string[]): void {
    for (const name of names) this.#looked.add(name);
  }
  /** Refuse any value but one of an argument that is not handled. */
  only(name: string, value: number | boolean | string | null): void {
    const argument = this.#argument(name);
    const given = typeof value === "number" ? numberOf(argument) : argument;
    if (argument !== undefined && given !== value) this.refuse(name, String(value));
  }

  out(i: number): Out {
    const out = this.outs[i];
    if (out === null || out === undefined) throw refused(this.where, null, `a result ${i}`, "none");
    return out;
  }
  /** Leave values for the operator that will read result `i` and knows what they are. */
  leave(i: number, values: readonly Ssa[]): void {
    this.#asides.set(i, values);
  }
  left(i: number): readonly Ssa[] | null {
    return this.#asides.get(i) ?? null;
  }
  /** What the operator that made an argument left with it. */
  found(name: string): readonly Ssa[] {
    const argument = this.#argument(name);
    const values =
      argument !== null && isValueArgument(argument) && "value" in argument ? this.values.aside(argument.value) : null;
    return values ?? this.refuse(name, "what its forward operator made");
  }

  /** @throws {XlaError} `XLA_LOWERING` for an argument that the lowering has not looked at. */
  checkLooked(): void {
    for (const [name, argument] of Object.entries(this.operator.arguments)) {
      if (this.#looked.has(name) || IMPLIED.has(name) || argument === null) continue;
      if (Array.isArray(argument) && argument.length === 0) continue;
      this.refuse(name, "none");
    }
  }
}

/** As messages show it. */
function shown(argument: StepArgument): string {
  return JSON.stringify(argument);
}
export const typeShown = ({ element, shape }: Out): string => `${dtypeOf(element) ?? element}[${shape.join(", ")}]`;
