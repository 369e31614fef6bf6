/** A recorded step as a program for XLA: its text, what it takes and what it gives. */
import type { DType } from "@nbit/torch";
import { elementOf, typeText, type Element, type Ssa } from "../stablehlo/types.js";
import { STATE_ELEMENT } from "../stablehlo/random.js";
import type { LowerOptions } from "./options.js";
import { shardingText, type SplitDim } from "./sharding.js";

/** One argument of the program, in order. */
export interface ProgramArgument {
  /**
   * "state": argument k becomes result k, and is given away where {@link donated}. "random": two uint64, a seed and a
   * counter, state too. "input": new values at each step. "constant": read only, the same at each step.
   */
  readonly kind: "state" | "random" | "input" | "constant";
  /** Value of the recorded program; null: the generator's state, or memory that no single value is all of. */
  readonly value: number | null;
  /** Its name in `program.inputs`; null: it has none. */
  readonly name: string | null;
  /** Of the argument: float32 for a number that was recorded in float64, where the device has none. */
  readonly dtype: DType;
  readonly shape: readonly number[];
  /** Where the recorded step has it; null: the generator's state. */
  readonly memory: {
    readonly buffer: number;
    /** A value in it that `RecordedStep.externals` has: the argument is it, or a view of its memory. */
    readonly value: number;
    readonly dtype: DType;
    /** In elements, as strides. */
    readonly offset: number;
    readonly strides: readonly number[];
  } | null;
  readonly donated: boolean;
  /** The dimension that is split among devices; null: each has all of it. */
  readonly split: SplitDim;
}
/** One result, in order: the state first. */
export interface ProgramResult {
  readonly kind: "state" | "random" | "result";
  /** In `program.results`; null for state. */
  readonly name: string | null;
  readonly value: number | null;
  readonly dtype: DType;
  readonly shape: readonly number[];
  readonly split: SplitDim;
}
export interface LoweredStep {
  /** A StableHLO module with one function, `main`. The same step gives the same text. */
  readonly text: string;
  readonly arguments: readonly ProgramArgument[];
  readonly results: readonly ProgramResult[];
  /** Whether the step draws random numbers: it has an argument of kind "random" then. */
  readonly random: boolean;
  readonly partitions: number;
  /** Operators of the recorded step, and how many of them are views, which cost nothing. */
  readonly operators: { readonly all: number; readonly views: number; readonly kinds: readonly string[] };
}

/** @internal The module, of the lines of its one function. */
export function moduleText(
  options: LowerOptions,
  names: readonly string[],
  step: Omit<LoweredStep, "text">,
  lines: readonly string[],
  finals: readonly Ssa[],
): string {
  const { partitions = 1, donate = "alias" } = options;
  const attributes = (split: SplitDim, shape: readonly number[], more: readonly string[]): string => {
    const all = partitions > 1 ? [...more, shardingText(split, shape.length, partitions)] : more;
    return all.length === 0 ? "" : ` {${all.join(", ")}}`;
  };
  const head = step.arguments.map((a, k) => {
    const given = donate === "alias" ? `tf.aliasing_output = ${k} : i32` : "jax.buffer_donor = true";
    const element = a.kind === "random" ? STATE_ELEMENT : (elementOf(a.dtype) as Element);
    return `${names[k]}: ${typeText(element, a.shape)}${attributes(a.split, a.shape, a.donated ? [given] : [])}`;
  });
  const types = finals.map((v) => typeText(v.element, v.shape));
  const tail = step.results.map((r, k) => `${types[k]}${attributes(r.split, r.shape, [])}`);
  return [
    `module @step attributes {mhlo.num_partitions = ${partitions} : i32, mhlo.num_replicas = 1 : i32} {`,
    `  func.func public @main(${head.join(",\n    ")}) -> (${tail.join(", ")}) {`,
    ...lines,
    `    return ${finals.map((v) => v.name).join(", ")} : ${types.join(", ")}`,
    "  }",
    "}",
    "",
  ].join("\n");
}
