import { dtypeName } from "../tensor/dtype.js";
import type { RawProgram, StepProgram } from "./format.js";

/** @internal What the addon writes, with names. */
export function programOf(
  text: string,
  inputs: Readonly<Record<string, number>>,
  results: Readonly<Record<string, number>>,
): StepProgram {
  const raw = JSON.parse(text) as RawProgram;
  return {
    format: "nbit.step",
    version: 1,
    buffers: raw.buffers,
    values: raw.values.map((v) => ({ ...v, dtype: dtypeName(v.dtype) })),
    operators: raw.operators,
    inputs,
    results,
  };
}
