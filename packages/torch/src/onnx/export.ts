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
import { dynamicAxesOf, isAxes, type Axis, type DynamicAxes } from "./axes.js";
import { build } from "./build.js";
import { OnnxError } from "./errors.js";
import { programOf, type Program } from "./program.js";
import type { AxisSizes } from "./sizes.js";
import { trace, type Trace } from "./trace.js";

/** What the model's `forward` takes: a tensor, or several, also in lists. */
export type ExportInputs = Tensor | readonly (Tensor | readonly Tensor[])[];

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
