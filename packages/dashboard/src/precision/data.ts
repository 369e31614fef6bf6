import { atMost } from "@nbit/torch/options";
import { readFileSync } from "node:fs";
import { checkReadable, describe, withFile } from "@nbit/torch/files";
import {
  conforming,
  count,
  fieldsOf,
  finite,
  listOf,
  notNegative,
  oneOf,
  orNull,
  text,
  type Fault,
} from "@nbit/torch/schema";
import { RunLogError } from "../errors.js";

/** One operator of a module, over all its calls. */
export interface OperatorUse {
  readonly name: string;
  readonly phase: "forward" | "backward";
  readonly dtype: string | null;
  readonly reason: string;
  readonly calls: number;
  readonly seconds: number;
  readonly casts: number;
  readonly castSeconds: number;
}

/** How many numbers have which magnitude: `counts[i]` lie in [2^(exponent + i), 2^(exponent + i + 1)). */
export interface NumberRange {
  readonly count: number;
  readonly zeros: number;
  readonly infinities: number;
  readonly nans: number;
  readonly smallest: number | null;
  readonly largest: number | null;
  readonly exponent: number;
  readonly counts: readonly number[];
}

export interface ModulePrecision {
  readonly name: string;
  readonly type: string;
  readonly operators: readonly OperatorUse[];
  readonly activations: NumberRange | null;
  readonly activationGradients: NumberRange | null;
  readonly parameterGradients: NumberRange | null;
}

/** What `StepPrecision` of `@nbit/lightning` writes, format 1. */
export interface StepPrecisionData {
  readonly format: number;
  readonly kind: string;
  readonly model: string;
  readonly precision: string;
  readonly compute: string;
  readonly device: string;
  readonly step: number;
  readonly lossScale: number;
  readonly modules: readonly ModulePrecision[];
}

const FORMAT = 1;
/** Powers of two between the least and the greatest of any dtype, and some more. */
const MOST_POWERS = 4096;

const operator = fieldsOf({
  name: text,
  phase: oneOf("forward", "backward"),
  dtype: orNull(text),
  reason: text,
  calls: count,
  seconds: notNegative,
  casts: count,
  castSeconds: notNegative,
});
const range = fieldsOf({
  count,
  zeros: count,
  infinities: count,
  nans: count,
  smallest: orNull(finite),
  largest: orNull(finite),
  exponent: finite,
  counts: {
    fault: (value: unknown, path: string) =>
      Array.isArray(value) && value.length > MOST_POWERS
        ? { path, expected: `a list of at most ${MOST_POWERS} counts`, received: value }
        : listOf(count).fault(value, path),
  },
});
const moduleOf = fieldsOf({
  name: text,
  type: text,
  operators: listOf(operator),
  activations: orNull(range),
  activationGradients: orNull(range),
  parameterGradients: orNull(range),
});
const report = fieldsOf({
  kind: oneOf("step-precision"),
  format: count,
  model: text,
  precision: text,
  compute: text,
  device: text,
  step: count,
  lossScale: finite,
  modules: listOf(moduleOf),
});

/**
 * Read what a `PrecisionReport` wrote.
 * @throws {RunLogError} When the file is something else, or of a newer format.
 */
export function readStepPrecision(path: string): StepPrecisionData {
  atMost("readStepPrecision", arguments, 1);
  checkReadable("readStepPrecision", path);
  const content = withFile("readStepPrecision", "read", path, () => readFileSync(path, "utf8"));
  let value: unknown;
  try {
    value = JSON.parse(content);
  } catch (cause) {
    throw new RunLogError(
      `${path}: expected a precision report as JSON. Received: a file that cannot be read as such.`,
      { cause },
    );
  }
  return checkStepPrecision(value, path);
}

export function checkStepPrecision(value: unknown, where: string): StepPrecisionData {
  const fail = ({ path, expected, received }: Fault): RunLogError =>
    new RunLogError(
      `${where}: expected ${path === "" ? "" : `${path} to be `}${expected}. Received: ${received === undefined ? "nothing" : describe(received)}.`,
    );
  const data = conforming(report, value, "", fail);
  if (data.format > FORMAT)
    throw fail({ path: "format", expected: `at most ${FORMAT}: a newer nbit wrote it`, received: data.format });
  return data as StepPrecisionData;
}
