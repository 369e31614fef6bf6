/** Writes StableHLO: every method checks what it is given and appends lines of text. */
import { XlaError } from "../errors.js";
import { literal } from "./literal.js";
import {
  isFloat,
  isUnsigned,
  jointShape,
  range,
  same,
  sizeOf,
  typeText,
  type Element,
  type Operand,
  type Ssa,
} from "./types.js";

/** How float32 products are computed, in StableHLO's words. */
export type Precision = "HIGHEST" | "HIGH" | "DEFAULT";
export type Comparison = "EQ" | "NE" | "LT" | "LE" | "GT" | "GE";
export type Reduction = "add" | "multiply" | "maximum" | "minimum" | "and" | "or";

export const listText = (items: readonly (number | string | boolean)[]): string => `[${items.join(", ")}]`;
export const typeOf = (v: Ssa): string => typeText(v.element, v.shape);
export const signature = (inputs: readonly Ssa[], output: string): string =>
  `(${inputs.map(typeOf).join(", ")}) -> ${output}`;

/** A lowering asked for what cannot be written. Its operator is named by whoever called the lowering. */
export class EmitError extends XlaError {
  constructor(message: string) {
    super(message, "XLA_LOWERING");
  }
}
export function need(condition: boolean, message: string): asserts condition {
  if (!condition) throw new EmitError(message);
}

export class Emitter {
  #lines: string[] = [];
  #constants = new Map<string, Ssa>();
  #next = 0;
  #indent = "    ";
  /** Whose lines these are; part of the text, and of the compiler's profile. */
  where = "";

  constructor(readonly precision: Precision = "HIGHEST") {}

  get lines(): readonly string[] {
    return this.#lines;
  }
  fresh(): string {
    return `%${this.#next++}`;
  }
  line(text: string): void {
    this.#lines.push(`${this.#indent}${text}`);
  }
  get location(): string {
    return this.where === "" ? "" : ` loc("${this.where}")`;
  }
  /** One operation with one result. */
  op(element: Element, shape: readonly number[], text: string): Ssa {
    const name = this.fresh();
    this.line(`${name} = ${text}${this.location}`);
    return { name, element, shape: [...shape] };
  }
  /** One operation with several results. */
  ops(types: readonly (readonly [Element, readonly number[]])[], text: string): Ssa[] {
    const name = this.fresh();
    this.line(`${name}:${types.length} = ${text}${this.location}`);
    return types.map(([element, shape], i) => ({ name: `${name}#${i}`, element, shape: [...shape] }));
  }
  /** The lines of a region. Constants made in it are not seen outside, and none from outside is used in it. */
  nested(body: () => void): string[] {
    const [lines, constants] = [this.#lines, this.#constants];
    [this.#lines, this.#constants] = [[], new Map()];
    this.#indent += "  ";
    try {
      body();
      return this.#lines;
    } finally {
      [this.#lines, this.#constants] = [lines, constants];
      this.#indent = this.#indent.slice(2);
    }
  }
  append(lines: readonly string[]): void {
    for (const line of lines) this.#lines.push(line);
  }

  /** Every element one number. Equal ones are written once. */
  full(value: number, element: Element, shape: readonly number[] = []): Ssa {
    const text = literal(value, element);
    need(text !== null, `${value} is no number of ${element}`);
    return this.splat(text, element, shape);
  }
  splat(text: string, element: Element, shape: readonly number[] = []): Ssa {
    const constant = `stablehlo.constant dense<${text}> : ${typeText(element, shape)}`;
    const known = this.#constants.get(constant);
    if (known !== undefined) return known;
    const made = this.op(element, shape, constant);
    this.#constants.set(constant, made);
    return made;
  }
  iota(element: Element, shape: readonly number[], dim: number): Ssa {
    return this.op(element, shape, `stablehlo.iota dim = ${dim} : ${typeText(element, shape)}`);
  }

  /** Another element type; to a bool: whether it is not 0. */
  convert(a: Ssa, element: Element): Ssa {
    if (a.element === element) return a;
    if (element === "i1") return this.compare("NE", a, 0);
    return this.op(element, a.shape, `stablehlo.convert ${a.name} : ${signature([a], typeText(element, a.shape))}`);
  }
  unary(op: string, a: Ssa): Ssa {
    return this.op(a.element, a.shape, `stablehlo.${op} ${a.name} : ${typeOf(a)}`);
  }
  isFinite(a: Ssa): Ssa {
    return this.op("i1", a.shape, `stablehlo.is_finite ${a.name} : ${signature([a], typeText("i1", a.shape))}`);
  }
  /** Of CHLO, which XLA expands: `erf`, `erf_inv`. */
  special(op: string, a: Ssa): Ssa {
    return this.op(a.element, a.shape, `chlo.${op} ${a.name} : ${typeOf(a)} -> ${typeOf(a)}`);
  }
  binary(op: string, left: Operand, right: Operand): Ssa {
    const [a, b] = this.match(left, right);
    return this.op(a.element, a.shape, `stablehlo.${op} ${a.name}, ${b.name} : ${typeOf(a)}`);
  }
  add(a: Operand, b: Operand): Ssa {
    return this.binary("add", a, b);
  }
  sub(a: Operand, b: Operand): Ssa {
    return this.binary("subtract", a, b);
  }
  mul(a: Operand, b: Operand): Ssa {
    return this.binary("multiply", a, b);
  }
  div(a: Operand, b: Operand): Ssa {
    return this.binary("divide", a, b);
  }
  max(a: Operand, b: Operand): Ssa {
    return this.binary("maximum", a, b);
  }
  min(a: Operand, b: Operand): Ssa {
    return this.binary("minimum", a, b);
  }
  /** Two operands of one element type, broadcast to one shape. */
  match(a: Operand, b: Operand): readonly [Ssa, Ssa] {
    const left = typeof a === "number" ? null : a;
    const right = typeof b === "number" ? null : b;
    const known = left ?? right;
    need(known !== null, "two numbers in the place of values");
    const x = left ?? this.full(a as number, known.element, known.shape);
    const y = right ?? this.full(b as number, known.element, known.shape);
    need(x.element === y.element, `operands of ${x.element} and ${y.element}`);
    const shape = jointShape(x.shape, y.shape);
    need(shape !== null, `shapes ${listText(x.shape)} and ${listText(y.shape)} do not broadcast`);
    return [this.expand(x, shape), this.expand(y, shape)];
  }
  compare(how: Comparison, left: Operand, right: Operand): Ssa {
    const [a, b] = this.match(left, right);
    const kind = isFloat(a.element) ? "FLOAT" : isUnsigned(a.element) ? "UNSIGNED" : "SIGNED";
    return this.op(
      "i1",
      a.shape,
      `stablehlo.compare ${how}, ${a.name}, ${b.name}, ${kind} : ${signature([a, b], typeText("i1", a.shape))}`,
    );
  }
  select(condition: Ssa, yes: Operand, no: Operand): Ssa {
    const [a, b] = this.match(yes, no);
    const shape = jointShape(condition.shape, a.shape);
    need(shape !== null, `a condition of ${listText(condition.shape)} for ${listText(a.shape)}`);
    const [p, x, y] = [condition, a, b].map((v) => this.expand(v, shape)) as [Ssa, Ssa, Ssa];
    return this.op(x.element, shape, `stablehlo.select ${p.name}, ${x.name}, ${y.name} : ${typeOf(p)}, ${typeOf(x)}`);
  }

  /** Dimension i becomes dimension `dims[i]` of `shape`; ones grow. */
  broadcast(a: Ssa, shape: readonly number[], dims: readonly number[]): Ssa {
    if (same(a.shape, shape) && same(dims, range(shape.length))) return a;
    need(
      dims.length === a.shape.length && dims.every((d, i) => a.shape[i] === 1 || a.shape[i] === shape[d]),
      `${listText(a.shape)} does not broadcast to ${listText(shape)} along ${listText(dims)}`,
    );
    const type = typeText(a.element, shape);
    return this.op(
      a.element,
      shape,
      `stablehlo.broadcast_in_dim ${a.name}, dims = ${listText(dims)} : ${signature([a], type)}`,
    );
  }
  /** numpy's broadcast: missing leading dimensions and ones grow. */
  expand(a: Ssa, shape: readonly number[]): Ssa {
    return this.broadcast(
      a,
      shape,
      a.shape.map((_, i) => i + shape.length - a.shape.length),
    );
  }
  reshape(a: Ssa, shape: readonly number[]): Ssa {
    if (same(a.shape, shape)) return a;
    need(sizeOf(a.shape) === sizeOf(shape), `${listText(a.shape)} has other elements than ${listText(shape)}`);
    return this.op(a.element, shape, `stablehlo.reshape ${a.name} : ${signature([a], typeText(a.element, shape))}`);
  }
  /** Dimension i of the result is dimension `order[i]`. */
  permute(a: Ssa, order: readonly number[]): Ssa {
    if (same(order, range(order.length))) return a;
    const shape = order.map((i) => a.shape[i]);
    const type = typeText(a.element, shape);
    return this.op(
      a.element,
      shape,
      `stablehlo.transpose ${a.name}, dims = ${listText(order)} : ${signature([a], type)}`,
    );
  }
  slices(a: Ssa, from: readonly number[], to: readonly number[], step: readonly number[]): Ssa {
    const shape = a.shape.map((_, i) => Math.max(0, Math.ceil((to[i] - from[i]) / step[i])));
    if (same(shape, a.shape)) return a;
    const ranges = a.shape.map((_, i) => `${from[i]}:${Math.max(from[i], to[i])}:${step[i]}`);
    const type = typeText(a.element, shape);
    return this.op(a.element, shape, `stablehlo.slice ${a.name} ${listText(ranges)} : ${signature([a], type)}`);
  }
  /** `from ≤ i < to` along one dimension. */
  slice(a: Ssa, dim: number, from: number, to: number, step = 1): Ssa {
    const pick = (all: (i: number) => number, one: number): number[] =>
      a.shape.map((_, i) => (i === dim ? one : all(i)));
    return this.slices(
      a,
      pick(() => 0, from),
      pick((i) => a.shape[i], to),
      pick(() => 1, step),
    );
  }
  concat(parts: readonly Ssa[], dim: number): Ssa {
    need(parts.length > 0, "nothing to join");
    if (parts.length === 1) return parts[0];
    const [{ element, shape: first }] = parts;
    const shape = first.map((n, i) => (i === dim ? parts.reduce((sum, p) => sum + p.shape[dim], 0) : n));
    const names = parts.map((p) => p.name).join(", ");
    const type = typeText(element, shape);
    return this.op(element, shape, `stablehlo.concatenate ${names}, dim = ${dim} : ${signature(parts, type)}`);
  }
  /** `low` and `high` may be negative: they take away then. */
  pad(
    a: Ssa,
    low: readonly number[],
    high: readonly number[],
    interior: readonly number[] = a.shape.map(() => 0),
    value: Ssa = this.full(0, a.element),
  ): Ssa {
    if ([...low, ...high, ...interior].every((n) => n === 0)) return a;
    const shape = a.shape.map((n, i) => n + low[i] + high[i] + Math.max(0, n - 1) * interior[i]);
    const edges = `low = ${listText(low)}, high = ${listText(high)}, interior = ${listText(interior)}`;
    const type = typeText(a.element, shape);
    return this.op(
      a.element,
      shape,
      `stablehlo.pad ${a.name}, ${value.name}, ${edges} : ${signature([a, value], type)}`,
    );
  }
  reverse(a: Ssa, dims: readonly number[]): Ssa {
    if (dims.length === 0) return a;
    return this.op(a.element, a.shape, `stablehlo.reverse ${a.name}, dims = ${listText(dims)} : ${typeOf(a)}`);
  }
  /** The same bits as another element type of the same width. */
  bits(a: Ssa, element: Element, shape: readonly number[] = a.shape): Ssa {
    if (a.element === element) return a;
    const type = typeText(element, shape);
    return this.op(element, shape, `stablehlo.bitcast_convert ${a.name} : ${signature([a], type)}`);
  }
}
