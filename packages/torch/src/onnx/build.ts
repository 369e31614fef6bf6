/** A program as the message of a model. */
import type { Module } from "../nn/module.js";
import type { Tensor } from "../tensor/index.js";
import type { Axis, DynamicAxes } from "./axes.js";
import { OnnxError } from "./errors.js";
import { Graph, valueInfo } from "./graph.js";
import { LOWERINGS } from "./lower/index.js";
import { Op, type Operand } from "./op.js";
import type { Program, Value } from "./program.js";
import { Message } from "../io/protobuf.js";
import type { Formula, Size } from "./sizes.js";

export interface Wanted {
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

/** @internal */
export function build(program: Program, { model, axes, names, outputs, opset, dynamicAxes }: Wanted): Message {
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
