import { readFileSync } from "node:fs";
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

/**
 * Read what a `PrecisionReport` wrote.
 * @throws {RunLogError} When the file is something else, or of a newer format.
 */
export function readStepPrecision(path: string): StepPrecisionData {
  let value: unknown;
  try {
    value = JSON.parse(readFileSync(path, "utf8"));
  } catch (cause) {
    throw new RunLogError(`${path}: expected a precision report as JSON. Received: a file that cannot be read as such.`, { cause });
  }
  return checkStepPrecision(value, path);
}

export function checkStepPrecision(value: unknown, where: string): StepPrecisionData {
  const fail = (expected: string, received: unknown): never => {
    throw new RunLogError(`${where}: expected ${expected}. Received: ${JSON.stringify(received) ?? "nothing"}.`);
  };
  if (typeof value !== "object" || value === null) return fail("an object", value);
  const data = value as Partial<StepPrecisionData>;
  if (data.kind !== "step-precision") return fail('kind to be "step-precision"', data.kind);
  if (typeof data.format !== "number" || data.format > FORMAT) return fail(`format to be at most ${FORMAT}: a newer nbit wrote it`, data.format);
  for (const key of ["model", "precision", "compute", "device"] as const) if (typeof data[key] !== "string") return fail(`${key} to be a string`, data[key]);
  if (!Array.isArray(data.modules)) return fail("modules to be a list", data.modules);
  for (const [i, m] of data.modules.entries()) if (typeof m?.name !== "string" || !Array.isArray(m.operators)) return fail(`modules[${i}] to have a name and operators`, m);
  return data as StepPrecisionData;
}
