/** One call of the trace while it is lowered: its arguments by the schema's names, and the graph that it goes into. */
import type { DType } from "../tensor/index.js";
import { isComplex, isFloatingPoint } from "../tensor/dtype.js";
import { Complex } from "../ops/complex.js";
import { OnnxError } from "./errors.js";
import type { Graph } from "./graph.js";
import type { Call, Value } from "./program.js";
import { Formula, type Size } from "./sizes.js";
import { Ref, type TraceArgument } from "./trace.js";

/** A tensor of the graph. */
export interface Operand extends Value {
  readonly name: string;
}
/** Makes the nodes of a call; returns its results, in order. What nobody uses may be left out at the end. */
export type Lowering = (o: Op) => string | readonly string[];

export class Op {
  constructor(
    readonly call: Call,
    readonly g: Graph,
    /** Results, as the trace had them; null: no tensor. */
    readonly results: readonly (Value | null)[],
    readonly operand: (id: number) => Operand,
    /** The graph's vector of a list of sizes. */
    readonly vector: (sizes: readonly Size[]) => string,
  ) {}

  /** @returns never: an operator that cannot be exported as it is called. */
  refuse(why: string): never {
    throw new OnnxError("ONNX_OPERATOR", `expected ${why}, for ${this.call.name}.${this.call.where()}`);
  }
  get(name: string): TraceArgument {
    return this.call.args[name];
  }
  has(name: string): boolean {
    return this.call.args[name] !== undefined && this.call.args[name] !== null;
  }
  /** The first result. */
  get out(): Value {
    return this.results[0] ?? this.refuse("a result");
  }

  t(name: string): Operand {
    return this.maybe(name) ?? this.refuse(`a tensor ${name}`);
  }
  maybe(name: string): Operand | null {
    const v = this.get(name);
    return v instanceof Ref ? this.operand(v.id) : null;
  }
  tensors(name: string): Operand[] {
    const v = this.get(name);
    return Array.isArray(v) ? v.flatMap((e: unknown) => (e instanceof Ref ? [this.operand(e.id)] : [])) : [];
  }
  /** By position; null where there is no tensor. */
  optionals(name: string): (Operand | null)[] {
    const v = this.get(name);
    return Array.isArray(v) ? v.map((e: unknown) => (e instanceof Ref ? this.operand(e.id) : null)) : [];
  }
  size(name: string): Size {
    const v = this.get(name);
    return typeof v === "number" || v instanceof Formula ? v : this.refuse(`a number ${name}`);
  }
  int(name: string): number {
    const v = this.get(name);
    return typeof v === "number" ? v : this.refuse(`${name} not to depend on a dynamic axis`);
  }
  sizes(name: string): Size[] {
    const v = this.get(name);
    if (typeof v === "number" || v instanceof Formula) return [v];
    return Array.isArray(v) ? v.filter((e: unknown) => typeof e === "number" || e instanceof Formula) : [];
  }
  /** @param length - What one number stands for. */
  ints(name: string, length?: number): number[] {
    const all = this.sizes(name).map((v) =>
      typeof v === "number" ? v : this.refuse(`${name} not to depend on a dynamic axis`),
    );
    return length !== undefined && all.length === 1 ? new Array<number>(length).fill(all[0] as number) : all;
  }
  number(name: string, standard?: number): number {
    const v = this.get(name);
    if (typeof v === "number") return v;
    if (typeof v === "bigint" || typeof v === "boolean") return Number(v);
    return standard ?? this.refuse(`a number ${name}`);
  }
  flag(name: string): boolean {
    return this.get(name) === true;
  }
  text(name: string): string {
    const v = this.get(name);
    return typeof v === "string" ? v : this.refuse(`a text ${name}`);
  }
  /** A dimension, counted from the front. */
  dim(name: string, rank: number): number {
    return axisOf(this.int(name), rank);
  }
  /** All dimensions where none are named. */
  dims(name: string, rank: number): number[] {
    const given = this.ints(name);
    return given.length === 0 ? Array.from({ length: rank }, (_, i) => i) : given.map((d) => axisOf(d, rank));
  }

  /** A node of one result. */
  node(...args: Parameters<Graph["node"]>): string {
    return this.g.node(...args);
  }
  /** A tensor, or a number as one, in a dtype. */
  as(name: string, dtype: DType): string {
    const v = this.get(name);
    if (v instanceof Ref) return this.cast(this.operand(v.id), dtype);
    if (v instanceof Complex) this.refuse("real numbers");
    if (v instanceof Formula) return this.g.cast(this.g.squeeze(this.vector([v]), [0]), dtype);
    if (typeof v === "number" || typeof v === "bigint" || typeof v === "boolean") return this.g.scalar(v, dtype);
    return this.refuse(`a tensor or a number ${name}`);
  }
  cast(t: Operand, dtype: DType): string {
    return t.dtype === dtype ? t.name : this.g.cast(t.name, dtype);
  }
  /** The dtype in which two operands are compared: that of the one with the wider kind, and more dimensions. */
  common(a: string, b: string): DType {
    const rankOf = (name: string): readonly [number, number, DType] => {
      const v = this.get(name);
      if (v instanceof Ref) {
        const { dtype, shape } = this.operand(v.id);
        return [kindOf(dtype), shape.length > 0 ? 1 : 0, dtype];
      }
      const whole = typeof v === "bigint" || v instanceof Formula || (typeof v === "number" && Number.isInteger(v));
      return [
        typeof v === "boolean" ? 0 : whole ? 1 : 2,
        -1,
        typeof v === "boolean" ? "bool" : whole ? "int64" : "float32",
      ];
    };
    const [x, y] = [rankOf(a), rankOf(b)];
    if (x[0] !== y[0]) return x[0] > y[0] ? x[2] : y[2];
    if (x[1] !== y[1]) return x[1] > y[1] ? x[2] : y[2];
    return WIDTH.indexOf(x[2]) >= WIDTH.indexOf(y[2]) ? x[2] : y[2];
  }
}

const WIDTH: readonly DType[] = [
  "bool",
  "uint8",
  "int8",
  "int16",
  "int32",
  "int64",
  "bfloat16",
  "float16",
  "float32",
  "float64",
];
function kindOf(dtype: DType): number {
  return dtype === "bool" ? 0 : isComplex(dtype) ? 3 : isFloatingPoint(dtype) ? 2 : 1;
}
export function axisOf(dim: number, rank: number): number {
  return dim < 0 ? dim + Math.max(rank, 1) : dim;
}
export const range = (n: number): number[] => Array.from({ length: n }, (_, i) => i);
