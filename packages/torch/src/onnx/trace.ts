/** What a model calls: its operators with their arguments, above autograd and autocast, as a flat list. */
import { noGrad } from "../autograd/modes.js";
import { observingCalls } from "../ops/invoke.js";
import type { Schema } from "../ops/schema.js";
import { isTensor, outsideScopes, type DType, type Tensor } from "../tensor/index.js";
import { OnnxError } from "./errors.js";

/** A tensor of a trace. */
export class Ref {
  constructor(readonly id: number) {}
}
export type TraceArgument =
  null | undefined | boolean | number | bigint | string | object | Ref | readonly TraceArgument[];

export interface TracedValue {
  readonly dtype: DType;
  readonly shape: readonly number[];
  /** One that was there before the model ran: a weight, or made of numbers. */
  readonly constant: boolean;
  /** Whether it depends on what the model is given. */
  readonly dynamic: boolean;
  /** An alias that lives as long as the trace. */
  readonly tensor: Tensor;
}
export interface TracedCall {
  /** Without `aten::`. */
  readonly name: string;
  readonly overload: string;
  readonly args: Readonly<Record<string, TraceArgument>>;
  readonly results: readonly (number | null)[];
  /** Where it was called. */
  readonly stack: string | undefined;
}
export interface Trace {
  readonly values: readonly TracedValue[];
  readonly calls: readonly TracedCall[];
  readonly inputs: readonly number[];
  readonly outputs: readonly number[];
  /** Give back all tensors. */
  readonly dispose: () => void;
}

/** Run a model and note what it calls. */
export function trace(
  inputs: readonly Tensor[],
  run: () => unknown,
  outputsOf: (made: unknown) => readonly Tensor[],
): Trace {
  const tracer = new Tracer();
  const given = inputs.map((t) => tracer.input(t));
  const limit = Error.stackTraceLimit;
  // The line of the program may be far up the stack, beyond the layers that called one another.
  Error.stackTraceLimit = Math.max(limit, 64);
  try {
    const made = noGrad(() => observingCalls(tracer.call, run));
    const outputs = outputsOf(made).map((t) => tracer.idOf(t));
    return { values: tracer.values, calls: tracer.calls, inputs: given, outputs, dispose: () => tracer.dispose() };
  } catch (error) {
    tracer.dispose();
    throw error;
  } finally {
    Error.stackTraceLimit = limit;
  }
}

class Tracer {
  readonly values: TracedValue[] = [];
  readonly calls: TracedCall[] = [];
  readonly #ids = new Map<Tensor, number>();
  /** Values by the memory that they lie in: all are kept alive, so that no address comes twice. */
  readonly #memory = new Map<string, number[]>();
  /** Values whose memory was written through another. */
  readonly #stale = new Map<number, string>();

  input(t: Tensor): number {
    return this.#add(t, { constant: false, dynamic: true });
  }
  #add(t: Tensor, { constant, dynamic }: { constant: boolean; dynamic: boolean }): number {
    const tensor = outsideScopes(() => t.detach());
    const id = this.values.length;
    this.values.push({ dtype: t.dtype, shape: t.shape, constant, dynamic, tensor });
    this.#ids.set(t, id);
    const memory = memoryOf(tensor);
    const there = this.#memory.get(memory);
    if (there === undefined) this.#memory.set(memory, [id]);
    else there.push(id);
    return id;
  }

  /** A value that is known, one that is another's memory as it is, or a constant. */
  idOf(t: Tensor): number {
    const known = this.#ids.get(t) ?? this.#twin(t);
    if (known === undefined) return this.#add(t, { constant: true, dynamic: false });
    const writer = this.#stale.get(known);
    if (writer !== undefined)
      throw new OnnxError(
        "ONNX_TRACE",
        `expected tensors that are not written through views of them. Received: one that ${writer} wrote. Use the operator without the underscore.`,
      );
    return known;
  }
  /** What came by another way than an operator's result: out of a function of autograd, or as a parameter's alias. */
  #twin(t: Tensor): number | undefined {
    const same = this.#memory.get(memoryOf(t))?.filter((id) => {
      const { tensor } = this.values[id] as TracedValue;
      return (
        tensor.dtype === t.dtype &&
        tensor.storageOffset() === t.storageOffset() &&
        String(tensor.shape) === String(t.shape) &&
        String(tensor.stride()) === String(t.stride())
      );
    });
    return same?.at(-1);
  }

  readonly call = (schema: Schema, given: Readonly<Record<string, unknown>>, result: unknown): void => {
    const name = schema.name.replace(/^aten::/, "");
    const read = (v: unknown): TraceArgument =>
      isTensor(v) ? new Ref(this.idOf(v)) : Array.isArray(v) ? v.map(read) : (v as TraceArgument);
    const args = Object.fromEntries(Object.entries(given).map(([key, v]) => [key, read(v)]));
    const dynamic = refsIn(Object.values(args)).some((id) => this.values[id]?.dynamic === true);
    const made: readonly unknown[] = Array.isArray(result) ? result.flat() : [result];
    const written = schema.args.flatMap(({ name: arg, write }) => (write === true ? [given[arg]] : []));
    const results = made.map((t) => (isTensor(t) ? this.#result(t, dynamic, written.includes(t), name) : null));
    this.calls.push({ name, overload: schema.overload, args, results, stack: new Error().stack });
  };

  #result(t: Tensor, dynamic: boolean, written: boolean, name: string): number {
    const before = this.#ids.get(t);
    if (before !== undefined && !written) return before;
    const sharing = written ? (this.#memory.get(memoryOf(t)) ?? []) : [];
    const id = this.#add(t, { constant: false, dynamic });
    for (const other of sharing) if (this.#ids.get(t) !== other) this.#stale.set(other, name);
    return id;
  }

  dispose(): void {
    for (const { tensor } of this.values) tensor.dispose();
  }
}

function memoryOf(t: Tensor): string {
  if (t.layout !== "strided") return "none";
  return `${t.device.toString()} ${t.dataPtr() - t.storageOffset() * t.itemsize}`;
}

/** Tensors among arguments. */
export function refsIn(args: readonly TraceArgument[]): number[] {
  return args.flatMap((a) =>
    a instanceof Ref ? [a.id] : Array.isArray(a) ? refsIn(a as readonly TraceArgument[]) : [],
  );
}
