/** A recorded step as data: what is printed, kept in files, and lowered for other compilers. */
import type { DType } from "../tensor/dtype.js";

/** A constant argument. Whole numbers are numbers; what JSON cannot tell from them is wrapped. */
export type Constant =
  | null
  | boolean
  | number
  | string
  | { readonly float: number }
  | { readonly number: "NaN" | "Infinity" | "-Infinity" }
  /** Beyond what a double holds. */
  | { readonly integer: string }
  | { readonly complex: readonly [Constant, Constant] }
  | { readonly device: string }
  /** The generator that the step drew from: the default one, or one that only the process knows. */
  | { readonly generator: boolean }
  | { readonly other: string }
  | readonly Constant[];

/** A value, or a list of them (null: no tensor there). */
export type ValueArgument = { readonly value: number } | { readonly values: readonly (number | null)[] };
export type StepArgument = Constant | ValueArgument;

/** Memory that values lie in. Values of one buffer may overlap: views, and what an operator writes in place. */
export interface StepBuffer {
  readonly bytes: number;
  /** By an operator of the step; there before; a number in a tensor's place. */
  readonly origin: "made" | "external" | "number";
  /** By an operator. An external buffer that is written is state: parameters, moments, counters, running means. */
  readonly written: boolean;
}

/** A tensor: a view of a buffer. Equal views of a buffer are one value. */
export interface StepValue {
  readonly buffer: number;
  /** In elements of its dtype, as strides are. */
  readonly offset: number;
  readonly dtype: DType;
  readonly shape: readonly number[];
  readonly strides: readonly number[];
  /** Of a value whose buffer is a number. */
  readonly number?: Constant;
}

/** One operator below autograd and autocast. */
export interface StepOperator {
  /** As `aten::addmm`. */
  readonly name: string;
  readonly overload: string;
  /** By the schema's names, all of them: defaults are written out. */
  readonly arguments: Readonly<Record<string, StepArgument>>;
  /** Values, lists flattened; null where the operator returned no tensor. */
  readonly results: readonly (number | null)[];
  /** Values among the arguments that it writes. */
  readonly writes: readonly number[];
  /** Of an operator of backward: the operator of forward whose gradient it belongs to, where autograd knows. */
  readonly forward?: number;
}

/**
 * A step: forward, backward, unscaling, clipping and the optimizer, as a flat list of operators in the order in which
 * they ran.
 */
export interface StepProgram {
  readonly format: "nbit.step";
  readonly version: 1;
  readonly buffers: readonly StepBuffer[];
  readonly values: readonly StepValue[];
  readonly operators: readonly StepOperator[];
  /** What differs from run to run, by name: batches, learning rates. */
  readonly inputs: Readonly<Record<string, number>>;
  /** What the step returned, by name. */
  readonly results: Readonly<Record<string, number>>;
}

/** What the addon writes. */
export interface RawProgram {
  readonly buffers: readonly StepBuffer[];
  readonly values: readonly (Omit<StepValue, "dtype"> & { readonly dtype: number })[];
  readonly operators: readonly StepOperator[];
}

/** @internal */
export function isValueArgument(argument: StepArgument): argument is ValueArgument {
  return (
    typeof argument === "object" &&
    argument !== null &&
    !Array.isArray(argument) &&
    ("value" in argument || "values" in argument)
  );
}
