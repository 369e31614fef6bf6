/** A graph of ONNX while it is built: nodes, constants and names, written as its messages at once. */
import { Buffer } from "node:buffer";
import type { DType, Tensor } from "../tensor/index.js";
import { eachChunk } from "../io/chunks.js";
import { OnnxError } from "./errors.js";
import { Message } from "../io/protobuf.js";

/** ONNX's number of a dtype. */
const TYPES: Readonly<Partial<Record<DType, number>>> = {
  float32: 1,
  uint8: 2,
  int8: 3,
  uint16: 4,
  int16: 5,
  int32: 6,
  int64: 7,
  bool: 9,
  float16: 10,
  float64: 11,
  uint32: 12,
  uint64: 13,
  complex64: 14,
  complex128: 15,
  bfloat16: 16,
};
export function typeOf(dtype: DType): number {
  const type = TYPES[dtype];
  if (type === undefined)
    throw new OnnxError("ONNX_OPERATOR", `expected dtypes that ONNX has. Received: ${dtype}. Convert the model first.`);
  return type;
}

/** A number with a fraction, or one that could have one. */
export class Float {
  constructor(readonly value: number) {}
}
export const float = (value: number): Float => new Float(value);
export type Attributes = Readonly<Record<string, number | Float | string | readonly number[] | readonly string[]>>;

export class Graph {
  readonly #nodes: Message[] = [];
  readonly #initializers: Message[] = [];
  readonly #cached = new Map<string, string>();
  readonly #names = new Set<string>();
  #next = 0;

  constructor(readonly opset: number) {}

  /** A name that nothing has yet. */
  name(base: string): string {
    const plain = base.replaceAll(/[^\w.]+/g, "_");
    let name = plain;
    for (let i = 1; this.#names.has(name); i++) name = `${plain}_${i}`;
    this.#names.add(name);
    return name;
  }

  /** An operator with several results. Null stands for an input that is left out. */
  nodes(op: string, inputs: readonly (string | null)[], attributes: Attributes, outputs: number): string[] {
    const message = new Message();
    let given = inputs;
    while (given.length > 0 && given.at(-1) === null) given = given.slice(0, -1);
    for (const input of given) message.text(1, input ?? "");
    const names = Array.from({ length: outputs }, () => this.name(`${op}_${this.#next}`));
    for (const name of names) message.text(2, name);
    message.text(3, `${op}_${this.#next++}`).text(4, op);
    for (const [name, value] of Object.entries(attributes)) message.message(5, attribute(name, value));
    this.#nodes.push(message);
    return names;
  }
  node(op: string, inputs: readonly (string | null)[], attributes: Attributes = {}): string {
    return this.nodes(op, inputs, attributes, 1)[0] as string;
  }
  /** The same value under another name. */
  rename(value: string, name: string): void {
    this.#nodes.push(new Message().text(1, value).text(2, name).text(3, `${name}_`).text(4, "Identity"));
  }

  /** A weight, or another tensor that never changes. */
  tensor(t: Tensor, name: string): string {
    const parts: Uint8Array[] = [];
    eachChunk(t, (bytes) => parts.push(bytes));
    return this.#initializer(this.name(name), typeOf(t.dtype), t.shape, Buffer.concat(parts));
  }
  #initializer(name: string, type: number, shape: readonly number[], bytes: Uint8Array): string {
    const message = new Message();
    for (const size of shape) message.int(1, size);
    this.#initializers.push(message.int(2, type).text(8, name).bytes(9, bytes));
    return name;
  }
  #once(key: string, make: () => string): string {
    let found = this.#cached.get(key);
    if (found === undefined) this.#cached.set(key, (found = make()));
    return found;
  }
  /** Whole numbers in one dimension. */
  ints(values: readonly number[]): string {
    return this.#once(`ints ${values.join(",")}`, () => {
      const bytes = BigInt64Array.from(values, BigInt);
      return this.#initializer(this.name("ints"), 7, [values.length], new Uint8Array(bytes.buffer));
    });
  }
  int(value: number): string {
    return this.#once(`int ${value}`, () =>
      this.#initializer(this.name("int"), 7, [], new Uint8Array(BigInt64Array.of(BigInt(value)).buffer)),
    );
  }
  /** No numbers. */
  nothing(): string {
    return this.#once("nothing", () => this.#initializer(this.name("nothing"), 1, [0], new Uint8Array(0)));
  }
  /** A number without dimensions. */
  scalar(value: number | bigint | boolean, dtype: DType): string {
    return this.#once(`scalar ${dtype} ${Object.is(value, -0) ? "-0" : String(value)}`, () => {
      const exact = Number(value);
      if (dtype === "int64") return this.#initializer(this.name("number"), 7, [], int64(value));
      if (dtype === "float32")
        return this.#initializer(this.name("number"), 1, [], new Uint8Array(Float32Array.of(exact).buffer));
      const double = this.#once(`double ${Object.is(value, -0) ? "-0" : String(value)}`, () =>
        this.#initializer(this.name("number"), 11, [], new Uint8Array(Float64Array.of(exact).buffer)),
      );
      return dtype === "float64" ? double : this.node("Cast", [double], { to: typeOf(dtype) });
    });
  }

  cast(value: string, dtype: DType): string {
    return this.node("Cast", [value], { to: typeOf(dtype) });
  }
  /** Axes are an input since 13, and were an attribute before. */
  #withAxes(op: string, value: string, axes: readonly number[], since: number, attributes: Attributes): string {
    return this.opset >= since
      ? this.node(op, [value, this.ints(axes)], attributes)
      : this.node(op, [value], { ...attributes, axes });
  }
  squeeze(value: string, axes: readonly number[]): string {
    return axes.length === 0 ? value : this.#withAxes("Squeeze", value, axes, 13, {});
  }
  unsqueeze(value: string, axes: readonly number[]): string {
    return axes.length === 0 ? value : this.#withAxes("Unsqueeze", value, axes, 13, {});
  }
  /** `ReduceSum`, `ReduceMean`, `ReduceMax`, …. */
  reduce(op: string, value: string, axes: readonly number[], keepdims: boolean): string {
    return this.#withAxes(op, value, axes, op === "ReduceSum" ? 13 : 18, { keepdims: keepdims ? 1 : 0 });
  }
  slice(value: string, axis: number, start: string, end: string, step = 1): string {
    return this.node("Slice", [value, start, end, this.ints([axis]), this.ints([step])]);
  }
  /** A part along an axis, between fixed places. */
  part(value: string, axis: number, start: number, end: number): string {
    return this.slice(value, axis, this.ints([start]), this.ints([end]));
  }
  transpose(value: string, perm: readonly number[]): string {
    return perm.every((d, i) => d === i) ? value : this.node("Transpose", [value], { perm });
  }
  reshape(value: string, shape: string): string {
    return this.node("Reshape", [value, shape]);
  }

  /** The graph's message. */
  message(inputs: readonly Message[], outputs: readonly Message[]): Message {
    const graph = new Message();
    for (const node of this.#nodes) graph.message(1, node);
    graph.text(2, "nbit");
    for (const initializer of this.#initializers) graph.message(5, initializer);
    for (const input of inputs) graph.message(11, input);
    for (const output of outputs) graph.message(12, output);
    return graph;
  }
}

function int64(value: number | bigint | boolean): Uint8Array {
  return new Uint8Array(BigInt64Array.of(BigInt(typeof value === "number" ? Math.trunc(value) : value)).buffer);
}

function attribute(name: string, value: Attributes[string]): Message {
  const message = new Message().text(1, name);
  if (typeof value === "number") return message.int(3, value).int(20, 2);
  if (value instanceof Float) return message.float(2, value.value).int(20, 1);
  if (typeof value === "string") return message.text(4, value).int(20, 3);
  const texts = value.filter((v) => typeof v === "string");
  if (texts.length > 0) {
    for (const v of texts) message.text(9, v);
    return message.int(20, 8);
  }
  for (const v of value) if (typeof v === "number") message.int(8, v);
  return message.int(20, 7);
}

/** An input or an output: its name, dtype and sizes, which are numbers or names of axes. */
export function valueInfo(name: string, dtype: DType, sizes: readonly (number | string)[]): Message {
  const shape = new Message();
  for (const size of sizes)
    shape.message(1, typeof size === "number" ? new Message().int(1, size) : new Message().text(2, size));
  const tensor = new Message().int(1, typeOf(dtype)).message(2, shape);
  return new Message().text(1, name).message(2, new Message().message(1, tensor));
}
