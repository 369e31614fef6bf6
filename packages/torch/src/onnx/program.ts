/** Several traces of one model as one program, whose numbers are fixed or formulas of the dynamic axes. */
import { Buffer } from "node:buffer";
import { describeLine, userLine } from "../dtype-mismatch.js";
import type { DType, Tensor } from "../tensor/index.js";
import { OnnxError } from "./errors.js";
import { Formula, formulaOf, type AxisSizes, type Size } from "./sizes.js";
import { Ref, refsIn, type Trace, type TraceArgument, type TracedCall } from "./trace.js";

export interface Value {
  readonly dtype: DType;
  /** As in the first trace, and as formulas. */
  readonly shape: readonly number[];
  readonly sizes: readonly Size[];
  /** Its value, where that never changes. */
  readonly fixed: Tensor | null;
}
export interface Call {
  readonly name: string;
  readonly overload: string;
  readonly args: Readonly<Record<string, TraceArgument>>;
  readonly results: readonly (number | null)[];
  /** ` At model.ts:12:8: …` for messages; empty where nobody knows. Reads files. */
  readonly where: () => string;
}
export interface Program {
  readonly values: readonly Value[];
  /** Those whose results change with the inputs. */
  readonly calls: readonly Call[];
  readonly inputs: readonly number[];
  readonly outputs: readonly number[];
}

export function programOf(traces: readonly Trace[], sizes: AxisSizes): Program {
  const [main, ...others] = traces as [Trace, ...Trace[]];
  const differ = (why: string, where = ""): OnnxError =>
    new OnnxError(
      "ONNX_TRACE",
      `expected a model that does the same for other values and sizes of its inputs. Received: one whose ${why} differ. Make what depends on them constant, or leave the axis out of dynamicAxes.${where}`,
    );
  if (others.some((t) => t.calls.length !== main.calls.length || t.values.length !== main.values.length))
    throw differ("operators");

  const sizeOf = (numbers: readonly number[], what: string, where = ""): Size => {
    const found = formulaOf(numbers, sizes);
    if (found === null) throw differ(what, where);
    return found;
  };
  const merge = (args: readonly TraceArgument[], call: TracedCall): TraceArgument => {
    const [first, ...rest] = args;
    const wrong = (): OnnxError => differ(`arguments of ${call.name}`, lineOf(call));
    if (typeof first === "number") {
      if (!rest.every((v) => typeof v === "number")) throw wrong();
      return rest.every((v) => Object.is(v, first))
        ? first
        : sizeOf(args as readonly number[], `arguments of ${call.name}`, lineOf(call));
    }
    if (first instanceof Ref) {
      if (!rest.every((v) => v instanceof Ref && v.id === first.id)) throw wrong();
      return first;
    }
    if (Array.isArray(first)) {
      const lists = args as readonly (readonly TraceArgument[])[];
      if (!lists.every((v) => Array.isArray(v) && v.length === first.length)) throw wrong();
      return first.map((_, i) =>
        merge(
          lists.map((list) => list[i]),
          call,
        ),
      );
    }
    if (typeof first !== "object" && !rest.every((v) => v === first)) throw wrong();
    return first;
  };

  const calls = main.calls.map((call, i): Call => {
    const all = [call, ...others.map((t) => t.calls[i] as TracedCall)];
    if (!all.every((c) => c.name === call.name && c.overload === call.overload)) throw differ("operators");
    const args = Object.fromEntries(
      Object.keys(call.args).map((name) => [
        name,
        merge(
          all.map((c) => c.args[name]),
          call,
        ),
      ]),
    );
    return { name: call.name, overload: call.overload, args, results: call.results, where: () => lineOf(call) };
  });

  // A call without inputs that change gives what does not change either, and is not part of the graph.
  const changing = new Set<number>();
  main.values.forEach((value, id) => {
    if (value.dynamic) changing.add(id);
  });
  const kept = calls.filter((call) => {
    const moves =
      refsIn(Object.values(call.args)).some((id) => changing.has(id)) || hasFormula(Object.values(call.args));
    if (moves) for (const id of call.results) if (id !== null) changing.add(id);
    return moves;
  });
  const values = main.values.map((value, id): Value => {
    const shapes = [value.shape, ...others.map((t) => t.values[id]?.shape ?? [])];
    const numbers = value.shape.map((_, d) =>
      sizeOf(
        shapes.map((s) => s[d] ?? -1),
        "shapes",
      ),
    );
    const fixed = changing.has(id) ? null : value.tensor;
    return { dtype: value.dtype, shape: value.shape, sizes: numbers, fixed };
  });
  for (const call of kept)
    for (const id of refsIn(Object.values(call.args)))
      if (!changing.has(id) && !others.every((t) => equal(main.values[id]?.tensor, t.values[id]?.tensor)))
        throw differ(`tensors that no operator made, or that are made at random, for ${call.name},`, call.where());
  return { values, calls: kept, inputs: main.inputs, outputs: main.outputs };
}

function lineOf(call: TracedCall): string {
  return describeLine(userLine(call.stack));
}
function hasFormula(args: readonly TraceArgument[]): boolean {
  return args.some((a) => a instanceof Formula || (Array.isArray(a) && hasFormula(a as readonly TraceArgument[])));
}
/** Of one memory, or of the same bytes. */
function equal(a: Tensor | undefined, b: Tensor | undefined): boolean {
  if (a === undefined || b === undefined || a.dtype !== b.dtype || String(a.shape) !== String(b.shape)) return false;
  return a.dataPtr() === b.dataPtr() || Buffer.from(a.toBytes()).equals(Buffer.from(b.toBytes()));
}
