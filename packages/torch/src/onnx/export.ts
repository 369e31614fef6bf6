/** `torch.onnx.export`: a model as a graph of ONNX's operators. */
import { ArgumentError, NbitError } from "../errors.js";
import { anything, byDefault, filled, isPlain, listOf, orNull, such, text, whole } from "../kinds.js";
import { Module } from "../nn/module.js";
import type { OptionNames } from "../options.js";
import { cat } from "../ops/index.js";
import { signature, type Call } from "../signature.js";
import { isTensor, scope, type Tensor } from "../tensor/index.js";
import { writeAtomically } from "../io/atomic.js";
import { writeAll } from "../io/replace.js";
import { OnnxError } from "./errors.js";
import { Graph, valueInfo } from "./graph.js";
import { LOWERINGS } from "./lower/index.js";
import { Op, type Operand } from "./op.js";
import { programOf, type Program, type Value } from "./program.js";
import { Message } from "./proto.js";
import { type Formula, type AxisSizes, type Size } from "./sizes.js";
import { trace, type Trace } from "./trace.js";

/** What the model's `forward` takes: a tensor, or several, also in lists. */
export type ExportInputs = Tensor | readonly (Tensor | readonly Tensor[])[];
/** By names of inputs and outputs: axes whose sizes are free, with their names, or without. */
export type DynamicAxes = Readonly<Record<string, Readonly<Record<number, string>> | readonly number[]>>;

export interface ExportArguments {
  readonly model: Module;
  /** Examples of what `forward` takes: their dtypes and shapes are the graph's. */
  readonly args: ExportInputs;
  /** The file. By custom, the name ends in `.onnx`. */
  readonly f: string;
  /** Default: `input`, `input_1`, …. */
  readonly inputNames?: readonly string[] | null;
  /** Default: `output`, `output_1`, …. */
  readonly outputNames?: readonly string[] | null;
  /** ONNX's version of operators, from 11 to 23. Default 18. */
  readonly opsetVersion?: number | null;
  /** Default: all sizes are those of the examples. */
  readonly dynamicAxes?: DynamicAxes | null;
}
const ROWS = {
  model: such<Module>("a module", (v) => v instanceof Module),
  args: anything,
  f: filled,
  inputNames: byDefault(null, orNull(listOf(text))),
  outputNames: byDefault(null, orNull(listOf(text))),
  opsetVersion: byDefault(null, orNull(whole("[11, 23]"))),
  dynamicAxes: byDefault(null, orNull(such<DynamicAxes>('axes by name, such as { input: { 0: "batch" } }', isAxes))),
} satisfies OptionNames<ExportArguments>;
const read = signature("onnx.export", ROWS, 3);
type ExportCall = Call<ExportArguments, ["model", "args", "f"], [model: Module, args: ExportInputs, f: string]>;

function isAxes(v: unknown): boolean {
  const isAxis = (d: unknown): boolean => typeof d === "number" && Number.isSafeInteger(d) && d >= 0;
  return (
    isPlain(v) &&
    Object.values(v).every((axes: unknown) =>
      Array.isArray(axes)
        ? axes.every(isAxis)
        : isPlain(axes) &&
          Object.entries(axes).every(([d, n]) => isAxis(Number(d)) && typeof n === "string" && n !== ""),
    )
  );
}

/**
 * Write a model as a graph of ONNX: weights and all, for runtimes in any language. As `torch.onnx.export`.
 *
 * The model runs in evaluation, without gradients, on the example inputs, and once more with other values, and with one
 * element more along each dynamic axis; what it calls is translated operator by operator. Numbers that JavaScript
 * computes from sizes become formulas of the dynamic axes; what depends on values in another way, or on random numbers,
 * is an error. `train` and `eval` of each part are afterwards as before.
 *
 * @param model - Any layers of `nn`, in float32, float64, float16 or bfloat16.
 * @param args - A tensor, or an array of what `forward` takes.
 * @param f - Its directory must exist; written in one atomic step.
 * @throws {OnnxError} `ONNX_OPERATOR` for an operator without a translation, with the line that calls it;
 * `ONNX_TRACE` for a model that a graph cannot say; `ONNX_TOO_LARGE` for more than 2 GiB. No file is written.
 * @example onnx.export(model, randn([1, 3, 224, 224]), "model.onnx", { dynamicAxes: { input: { 0: "batch" } } });
 */
function exportModel(...given: ExportCall): void {
  const { model, args, f, inputNames, outputNames, opsetVersion, dynamicAxes } = read(given);
  const opset = opsetVersion ?? 18;
  const examples = Array.isArray(args) ? (args as readonly unknown[]) : [args];
  const flat = examples.flat().filter((t): t is Tensor => isTensor(t));
  if (flat.length === 0 || flat.length !== examples.flat().length)
    throw new ArgumentError("onnx.export", "args to be a tensor, or an array of tensors", args);
  const names = namesOf("inputNames", inputNames, "input", flat.length);
  const axes = dynamicAxesOf(flat, names, dynamicAxes ?? {});
  scope(() => {
    const program = evaluating(model, () => tracesOf(model, examples, flat, axes));
    try {
      const outputs = namesOf("outputNames", outputNames, "output", program.program.outputs.length);
      const message = build(program.program, { model, axes, names, outputs, opset, dynamicAxes: dynamicAxes ?? {} });
      if (message.length >= 2 ** 31)
        throw new OnnxError(
          "ONNX_TOO_LARGE",
          `expected a model of less than 2 GiB. Received: ${message.length} bytes.`,
        );
      writeAtomically(f, (fd) => message.parts.forEach((part) => writeAll(fd, part)), { fn: "onnx.export" });
    } finally {
      program.dispose();
    }
  });
}
// A word of the language, as the name of a function.
export { exportModel as export };

function namesOf(option: string, given: readonly string[] | null, base: string, count: number): readonly string[] {
  const names = Array.from({ length: count }, (_, i) => given?.[i] ?? (i === 0 ? base : `${base}_${i}`));
  if ((given?.length ?? 0) > count || new Set(names).size < count || names.includes(""))
    throw new ArgumentError("onnx.export", `${option} to be at most ${count} names, each once`, given);
  return names;
}

interface Axis {
  /** What the graph calls it. */
  readonly name: string;
  readonly size: number;
  readonly places: readonly { readonly input: number; readonly dim: number }[];
}

/** Axes of one name have one size. Without names, those of one place and size move together. */
function dynamicAxesOf(inputs: readonly Tensor[], names: readonly string[], given: DynamicAxes): Axis[] {
  const axes = new Map<string, { name: string; size: number; places: { input: number; dim: number }[] }>();
  names.forEach((input, i) => {
    const own = Object.hasOwn(given, input) ? given[input] : undefined;
    if (own === undefined) return;
    const { shape } = inputs[i] as Tensor;
    const named: [number, string | null][] = Array.isArray(own)
      ? (own as readonly number[]).map((d) => [d, null])
      : Object.entries(own as Readonly<Record<number, string>>).map(([d, name]) => [Number(d), name]);
    for (const [dim, name] of named) {
      const size = shape[dim];
      if (size === undefined) throw new ArgumentError("onnx.export", `axes of ${input} below ${shape.length}`, dim);
      const key = name ?? `\0${dim} ${size}`;
      const axis = axes.get(key);
      if (axis === undefined)
        axes.set(key, { name: name ?? `${input}_dynamic_axes_${dim}`, size, places: [{ input: i, dim }] });
      else if (axis.size !== size)
        throw new ArgumentError("onnx.export", `one size for the axes named ${String(name)}`, [axis.size, size]);
      else axis.places.push({ input: i, dim });
    }
  });
  return [...axes.values()];
}

/** Every part in evaluation, and afterwards as it was. */
function evaluating<T>(model: Module, run: () => T): T {
  const before = [...model.modules()].map((m) => [m, m.training] as const);
  model.eval();
  try {
    return run();
  } finally {
    for (const [m, training] of before) m.training = training;
  }
}

function tracesOf(
  model: Module,
  examples: readonly unknown[],
  flat: readonly Tensor[],
  axes: readonly Axis[],
): { readonly program: Program; readonly dispose: () => void } {
  const given = axes.map((a) => a.size);
  // Each axis by itself, then all together and by two, which tells a formula from another that meets it once; other
  // values even where no size moves.
  const alone = axes.map((_, moved) => given.map((size, a) => (a === moved ? size + 1 : size)));
  const varied = [...alone, given.map((size) => size + 2)];
  const sizes: AxisSizes = { given, varied };
  const runs = [flat, ...varied.map((wanted) => flat.map((t, i) => other(t, i, axes, wanted)))];
  const traces: Trace[] = [];
  const dispose = (): void => traces.forEach((t) => t.dispose());
  try {
    for (const inputs of runs) {
      let next = 0;
      const put = (e: unknown): unknown => (Array.isArray(e) ? e.map(put) : inputs[next++]);
      const args = examples.map(put);
      const run = (): unknown => Reflect.apply(model.forward, model, args);
      traces.push(traces.length === 0 ? trace(inputs, run, tensorsIn) : again(inputs, run));
    }
    return { program: programOf(traces, sizes), dispose };
  } catch (error) {
    dispose();
    throw error;
  }
}

/** With other values or sizes, for which a model may not be made. */
function again(inputs: readonly Tensor[], run: () => unknown): Trace {
  try {
    return trace(inputs, run, tensorsIn);
  } catch (error) {
    if (!(error instanceof NbitError) || error instanceof OnnxError) throw error;
    throw new OnnxError(
      "ONNX_TRACE",
      `expected a model that takes other values, and up to two elements more along a dynamic axis. Received: ${error.message} Give smaller examples, or leave the axis out of dynamicAxes.`,
    );
  }
}

/** Other values of the same kind, within the range of those given, with as many elements along the dynamic axes. */
function other(t: Tensor, input: number, axes: readonly Axis[], sizes: readonly number[]): Tensor {
  let made = t.detach();
  if (made.ndim > 0) made = made.flip(made.shape.map((_, d) => d));
  if (made.isFloatingPoint()) made = made.mul(0.75);
  axes.forEach(({ places, size }, a) => {
    for (const { input: i, dim } of places)
      if (i === input) {
        const more = (sizes[a] ?? size) - size;
        if (more > 0) made = cat([made, ...Array.from({ length: more }, () => made.narrow(dim, 0, 1))], dim);
      }
  });
  return made;
}

/** Tensors of what `forward` returned, in order. */
function tensorsIn(made: unknown): Tensor[] {
  if (isTensor(made)) return [made];
  if (Array.isArray(made)) return made.flatMap(tensorsIn);
  if (isPlain(made)) return Object.values(made).flatMap(tensorsIn);
  if (made === null || made === undefined) return [];
  throw new ArgumentError("onnx.export", "a model whose forward returns tensors", made);
}

interface Wanted {
  readonly model: Module;
  readonly axes: readonly Axis[];
  readonly names: readonly string[];
  readonly outputs: readonly string[];
  readonly opset: number;
  readonly dynamicAxes: DynamicAxes;
}

/** The version of the format that came with a version of the operators. */
const IR = new Map(
  [11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21, 22, 23].map((v, i) => [
    v,
    [6, 7, 7, 7, 8, 8, 8, 8, 9, 9, 10, 10, 11][i] as number,
  ]),
);

function build(program: Program, { model, axes, names, outputs, opset, dynamicAxes }: Wanted): Message {
  const g = new Graph(opset);
  const known = new Map<number, string>();
  const inputNames = names.map((name) => g.name(name));
  const outputNames = outputs.map((name) => g.name(name));
  program.inputs.forEach((id, i) => known.set(id, inputNames[i] as string));
  const weights = weightNames(model);

  const axisSize = new Map<number, string>();
  const sizeOf = (axis: number): string => {
    let found = axisSize.get(axis);
    if (found === undefined) {
      const { input, dim } = (axes[axis] as Axis).places[0] as { input: number; dim: number };
      found = g.slice(g.node("Shape", [inputNames[input] as string]), 0, g.ints([dim]), g.ints([dim + 1]));
      axisSize.set(axis, found);
    }
    return found;
  };
  const formulas = new Map<string, string>();
  const number = (size: Size): string => {
    if (typeof size === "number") return g.ints([size]);
    let found = formulas.get(size.key);
    if (found === undefined) {
      found = size.axes.map(sizeOf).reduce((a, b) => g.node("Mul", [a, b]));
      if (size.factor !== 1) found = g.node("Mul", [found, g.ints([size.factor])]);
      if (size.add !== 0) found = g.node("Add", [found, g.ints([size.add])]);
      formulas.set(size.key, found);
    }
    return found;
  };
  const vector = (sizes: readonly Size[]): string => {
    if (sizes.every((s) => typeof s === "number")) return g.ints(sizes);
    return sizes.length === 1 ? number(sizes[0] as Size) : g.node("Concat", sizes.map(number), { axis: 0 });
  };

  const operand = (id: number): Operand => {
    const value = program.values[id] as Value;
    let name = known.get(id);
    if (name === undefined) {
      if (value.fixed === null)
        throw new OnnxError("ONNX_TRACE", "expected every tensor to be made before it is used.");
      known.set(id, (name = g.tensor(value.fixed, weights.get(placeOf(value.fixed)) ?? "constant")));
    }
    return { ...value, name };
  };
  for (const call of program.calls) {
    const lower = LOWERINGS.get(call.name);
    const results = call.results.map((id) => (id === null ? null : (program.values[id] as Value)));
    const o = new Op(call, g, results, operand, vector);
    if (lower === undefined) return o.refuse("an operator that is translated to ONNX");
    const made = lower(o);
    const list = typeof made === "string" ? [made] : made;
    call.results.forEach((id, i) => {
      const name = list[i];
      if (id !== null && name !== undefined) known.set(id, name);
    });
  }
  program.outputs.forEach((id, i) => g.rename(operand(id).name, outputNames[i] as string));

  const sizesOf = (id: number, name: string): (number | string)[] =>
    (program.values[id] as Value).sizes.map((size, d) => (typeof size === "number" ? size : axisName(size, name, d)));
  const axisName = (size: Formula, name: string, dim: number): string => {
    const own = Object.hasOwn(dynamicAxes, name) ? dynamicAxes[name] : undefined;
    const said: unknown = own === undefined || Array.isArray(own) ? undefined : Reflect.get(own, dim);
    if (typeof said === "string") return said;
    return size.axis === null ? `${name}_dim_${dim}` : (axes[size.axis] as Axis).name;
  };
  const info = (ids: readonly number[], all: readonly string[]): Message[] =>
    ids.map((id, i) => {
      const name = all[i] as string;
      return valueInfo(name, (program.values[id] as Value).dtype, sizesOf(id, name));
    });
  return new Message()
    .int(1, IR.get(opset) ?? 8)
    .text(2, "nbit")
    .message(7, g.message(info(program.inputs, inputNames), info(program.outputs, outputNames)))
    .message(8, new Message().text(1, "").int(2, opset));
}

/** Keys of the state dict by the memory of its tensors. */
function weightNames(model: Module): ReadonlyMap<string, string> {
  return new Map([...model.stateDict({ keepVars: true })].map(([key, t]) => [placeOf(t), key]));
}
function placeOf(t: Tensor): string {
  return `${t.dataPtr()} ${t.dtype} ${t.shape.join(",")} ${t.layout === "strided" ? t.stride().join(",") : ""}`;
}
