/** What a step takes and gives back: the memory that was there before, as arguments. */
import { dtypeOf, type Element } from "../stablehlo/types.js";
import type { Memory, Place, Region } from "./memory.js";
import type { StepProgram } from "./program.js";
import { covers } from "./strided.js";

/** Memory that was there before the step. */
export interface External {
  /** "state": the step writes it. "input": named by `program.inputs`. "constant": it is only read. */
  readonly kind: "state" | "input" | "constant";
  readonly region: Region;
  /** The value that is all of it; null: none is, and the argument is the region's elements in one dimension. */
  readonly value: number | null;
  /** The first value in it that the step met. */
  readonly first: number;
  /** In `program.inputs`; null: it is none. */
  readonly name: string | null;
  readonly element: Element;
  readonly shape: readonly number[];
  /** Where it lies in its buffer, in elements of the recorded dtype. */
  readonly offset: number;
  readonly strides: readonly number[];
}

const ORDER = ["state", "input", "constant"] as const;

/** State, then inputs, then constants, each in the order in which the step met them. */
export function externalsOf(program: StepProgram, places: readonly Place[], memory: Memory): External[] {
  const named = new Map(Object.entries(program.inputs).map(([name, value]) => [value, name]));
  const written = new Set(program.operators.flatMap((o) => o.writes.map((v) => memory.region(v))));
  const regions = new Map<Region, number[]>();
  places.forEach((place, v) => {
    const region = memory.region(v);
    if (region === null || program.buffers[place.buffer].origin !== "external") return;
    const values = regions.get(region);
    if (values === undefined) regions.set(region, [v]);
    else values.push(v);
  });
  const found = [...regions].map(([region, values]): External => {
    const input = values.find((v) => named.has(v));
    const whole = (v: number): boolean => covers(memory.view(v), memory.length(region, places[v].element));
    const value = [...(input === undefined ? [] : [input]), ...values].find(whole) ?? null;
    const { element, shape, offset, strides } = places[value ?? values[0]];
    const kind: External["kind"] = written.has(region) ? "state" : input === undefined ? "constant" : "input";
    const name = input === undefined ? null : (named.get(input) ?? null);
    const common = { kind, region, value, first: value ?? values[0], name, element };
    if (value !== null) return { ...common, shape, offset, strides };
    const begin = offset - memory.view(values[0]).offset;
    return { ...common, value: null, shape: [memory.length(region, element)], offset: begin, strides: [1] };
  });
  return ORDER.flatMap((kind) => found.filter((f) => f.kind === kind));
}

export const recordedDtype = (program: StepProgram, e: External): ReturnType<typeof dtypeOf> =>
  e.value === null ? dtypeOf(e.element) : program.values[e.value].dtype;
