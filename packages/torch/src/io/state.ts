/** Nested states as JSON and tensors, and back, exactly. */
import { Buffer } from "node:buffer";
import { DEEPEST } from "../limits.js";
import { ArgumentError, describe, verbatim } from "../errors.js";
import { viewAsComplex, viewAsReal } from "../ops/index.js";
import { isComplex, isTensor, tensor, type DType, type Tensor, type TypedArray } from "../tensor/index.js";
import { CheckpointError } from "./errors.js";
import { atMost } from "../options.js";
import { formatOf } from "./safetensors-header.js";
import { isMap, isPlain, isSet } from "../realm.js";

/** What a state may hold, nested at will. */
export type StateValue =
  | number
  | string
  | boolean
  | bigint
  | null
  | undefined
  | Tensor
  | TypedArray
  | readonly StateValue[]
  | ReadonlyMap<StateValue, StateValue>
  | ReadonlySet<StateValue>
  | { readonly [key: string]: StateValue };

export interface PackedState {
  /**
   * By names that follow their place: `optimizer.state.0.expAvg`. The tensors of the state itself, not copies (complex
   * ones as their real view).
   */
  readonly tensors: Record<string, Tensor>;
  /** Everything else, with tensors referred to by name. */
  readonly json: string;
}

/*
 * JSON for everything that JSON holds exactly. The rest is an object with the key "$", which says what it is:
 * { "$": "tensor", "name" }, with "complex" for a dtype that safetensors lack;  { "$": "array", "type", "name" }: a
 * typed array
 * { "$": "number", "value": "NaN" | "Infinity" | "-Infinity" | "-0" };  { "$": "bigint", "value" };  { "$": "undefined"
 * }
 * { "$": "map", "entries" };  { "$": "set", "values" };  { "$": "object", "entries" }: an object with a key of its own
 * named "$" or "__proto__"
 */
type Json = string | number | boolean | null | readonly Json[] | { readonly [key: string]: Json };

/** Digits of a bigint, whose conversion takes time as their square. */
const MOST_DIGITS = 10_000;

const LIMIT = 10n ** BigInt(MOST_DIGITS - 1);

/**
 * Values in lists, objects, Maps and Sets, all together: each takes tens of bytes of JavaScript's heap while it is
 * packed, and has its place in one string. Typed arrays and tensors count once.
 */
const MOST_VALUES = 2 ** 23;

const ARRAYS = {
  Float32Array,
  Float64Array,
  Int8Array,
  Uint8Array,
  Uint8ClampedArray,
  Int16Array,
  Uint16Array,
  Int32Array,
  Uint32Array,
  BigInt64Array,
  BigUint64Array,
} as const;

/**
 * Take a state apart into tensors and JSON text, so that {@link unpackState} returns it exactly: numbers with NaN,
 * ±Infinity and -0, strings, booleans, null, undefined, bigints, arrays, plain objects, Maps, Sets, typed arrays and
 * tensors.
 *
 * One tensor that stands in several places is stored once and comes back as one. Gradients and graphs are not part of a
 * state.
 *
 * @throws {ArgumentError} `packState: expected state.model.device to be a plain value or a tensor. Received: an
 * instance of Device.`
 * @throws {ArgumentError} for a state that contains itself, or of more than 2²³ values in lists.
 * @example
 * const packed = packState({ step: 3, loss: NaN, optimizer: { expAvg: zeros([2]) } });
 * Object.keys(packed.tensors); // ["optimizer.expAvg"]
 */
export function packState(state: unknown): PackedState {
  atMost("packState", arguments, 1);
  const packer = new Packer();
  const json = JSON.stringify(packer.value(state, []));
  return { tensors: packer.tensors, json };
}

class Packer {
  readonly tensors: Record<string, Tensor> = Object.create(null) as Record<string, Tensor>;
  readonly #names = new Map<object, string>();
  readonly #open = new Set<object>();
  #values = 0;

  value(v: unknown, path: readonly string[]): Json {
    switch (typeof v) {
      case "string":
      case "boolean":
        return v;
      case "number":
        return Number.isFinite(v) && !Object.is(v, -0)
          ? v
          : { $: "number", value: Object.is(v, -0) ? "-0" : String(v) };
      case "bigint":
        if (v >= LIMIT || v <= -LIMIT)
          return refuse(verbatim("a bigint of more digits"), path, `a bigint of fewer than ${MOST_DIGITS} digits`);
        return { $: "bigint", value: v.toString() };
      case "undefined":
        return { $: "undefined" };
      case "object":
        return v === null ? null : this.#object(v, path);
      default:
        return refuse(v, path);
    }
  }

  #object(v: object, path: readonly string[]): Json {
    if (isTensor(v)) return this.#tensor(v, path);
    if (ArrayBuffer.isView(v)) return this.#array(v, path);
    if (this.#open.has(v)) throw new ArgumentError("packState", `${where(path)} not to contain itself`, v);
    if (this.#open.size >= DEEPEST)
      throw new ArgumentError(
        "packState",
        `the state to be nested at most ${DEEPEST} levels deep`,
        verbatim("one that is deeper"),
        "Store long chains as lists.",
      );
    this.#count(v, path);
    this.#open.add(v);
    const made = this.#container(v, path);
    this.#open.delete(v);
    return made;
  }

  /** Before anything is copied: lists with holes are as long as they say. */
  #count(v: object, path: readonly string[]): void {
    this.#values += Array.isArray(v) ? v.length : isMap(v) || isSet(v) ? (v as ReadonlySet<unknown>).size : 0;
    if (this.#values <= MOST_VALUES) return;
    throw new ArgumentError(
      "packState",
      `the state to have at most ${MOST_VALUES.toLocaleString("en")} values in lists`,
      verbatim(`more, up to ${where(path)}`),
      "Store many numbers as a typed array or a tensor.",
    );
  }

  #container(v: object, path: readonly string[]): Json {
    // Array.from sees the holes of a sparse array, which map would skip.
    if (Array.isArray(v)) return Array.from(v, (e, i) => this.value(e, [...path, String(i)]));
    if (isMap(v))
      return {
        $: "map",
        entries: Array.from(v as Map<unknown, unknown>, ([k, e], i): Json => [
          this.value(k, [...path, `key${i}`]),
          this.value(e, [...path, typeof k === "string" || typeof k === "number" ? String(k) : String(i)]),
        ]),
      };
    if (isSet(v))
      return { $: "set", values: Array.from(v as Set<unknown>, (e, i) => this.value(e, [...path, String(i)])) };
    if (!isPlain(v)) return refuse(v, path);
    const entries = Object.entries(v).map(([k, e]) => [k, this.value(e, [...path, k])] as const);
    if (entries.some(([k]) => k === "$" || k === "__proto__")) return { $: "object", entries };
    return Object.fromEntries(entries);
  }

  #tensor(t: Tensor, path: readonly string[]): Json {
    const dtype = t.dtype;
    const pairs = isComplex(dtype) && formatOf(dtype) === undefined;
    if (!pairs && formatOf(dtype) === undefined)
      throw new ArgumentError("packState", `${where(path)} to be of a dtype that can be stored`, dtype);
    let name = this.#names.get(t);
    if (name === undefined) {
      name = this.#name(path);
      this.#names.set(t, name);
      this.tensors[name] = pairs ? viewAsReal(t.detach().resolveConj()) : t;
    }
    return pairs ? { $: "tensor", name, complex: dtype } : { $: "tensor", name };
  }

  #array(v: ArrayBufferView, path: readonly string[]): Json {
    const type = Object.entries(ARRAYS).find(([, Type]) => v instanceof Type)?.[0];
    if (type === undefined) return refuse(v, path);
    let name = this.#names.get(v);
    if (name === undefined) {
      name = this.#name(path);
      this.#names.set(v, name);
      this.tensors[name] = tensor(v as TypedArray);
    }
    return { $: "array", type, name };
  }

  #name(path: readonly string[]): string {
    // Names are UTF-8 in a file, which a lone surrogate is not.
    const base = path.length === 0 ? "value" : Buffer.from(path.join(".")).toString();
    let name = base;
    // "a.b" and a → b would share a name, and the format keeps one for itself.
    for (let i = 2; name in this.tensors || name === "__metadata__"; i++) name = `${base}~${i}`;
    return name;
  }
}

function where(path: readonly string[]): string {
  return path.length === 0 ? "the state" : `state.${path.join(".")}`;
}
function refuse(v: unknown, path: readonly string[], expected = "a plain value or a tensor"): never {
  throw new ArgumentError(
    "packState",
    `${where(path)} to be ${expected}`,
    v,
    "Store plain objects, and what is needed to make the rest again.",
  );
}

/**
 * Put a state together again.
 *
 * @param packed - What {@link packState} returned; its tensors may have been to a file and back.
 * @returns The state. Tensors are those of `packed.tensors`; objects without prototype come back as plain ones.
 * @throws {CheckpointError} `CHECKPOINT_STATE` when the text is not such a state, or a tensor is missing.
 */
export function unpackState(packed: {
  readonly tensors: Readonly<Record<string, Tensor>>;
  readonly json: string;
}): unknown {
  atMost("unpackState", arguments, 1);
  if (typeof packed !== "object" || (packed as unknown) === null)
    throw new ArgumentError("unpackState", "what packState returned", packed);
  const json = parsed(packed.json);
  const arrays = new Map<string, TypedArray>();
  const complexes = new Map<string, Tensor>();
  return value(json, DEEPEST + 1); // what is no container may be an object in the text

  function value(v: unknown, deepest: number): unknown {
    if (typeof v !== "object" || v === null) return v;
    if (deepest === 0) return damaged(`expected at most ${DEEPEST} levels of nesting`);
    const inner = (e: unknown): unknown => value(e, deepest - 1);
    if (Array.isArray(v)) return v.map(inner);
    const object = v as Readonly<Record<string, unknown>>;
    if (!Object.hasOwn(object, "$")) return Object.fromEntries(Object.entries(object).map(([k, e]) => [k, inner(e)]));
    switch (object["$"]) {
      case "tensor":
        return named(object);
      case "array":
        return array(object);
      case "number":
        return special(object["value"]);
      case "bigint":
        if (
          typeof object["value"] !== "string" ||
          !/^-?\d+$/.test(object["value"]) ||
          object["value"].length > MOST_DIGITS
        )
          return damaged(`expected at most ${MOST_DIGITS} digits for a bigint`);
        return BigInt(object["value"]);
      case "undefined":
        return undefined;
      case "map":
        return new Map(pairs(object["entries"]).map(([k, e]) => [inner(k), inner(e)]));
      case "set":
        if (!Array.isArray(object["values"])) return damaged("expected the values of a set");
        return new Set(object["values"].map(inner));
      case "object":
        // fromEntries defines keys, so that "__proto__" is a key like any other.
        return Object.fromEntries(
          pairs(object["entries"]).map(([k, e]) => [
            typeof k === "string" ? k : damaged("expected keys to be texts"),
            inner(e),
          ]),
        );
      default:
        return damaged(`expected a kind of value that this version knows, not ${describe(object["$"])}`);
    }
  }
  function lookUp(object: Readonly<Record<string, unknown>>): [string, Tensor] {
    const name = object["name"];
    const found = typeof name === "string" && Object.hasOwn(packed.tensors, name) ? packed.tensors[name] : undefined;
    return found === undefined ? damaged(`expected a tensor ${describe(name)} beside it`) : [name as string, found];
  }
  function named(object: Readonly<Record<string, unknown>>): Tensor {
    const [name, found] = lookUp(object);
    if (object["complex"] === undefined) return found;
    let made = complexes.get(name);
    if (made === undefined) complexes.set(name, (made = asComplex(found, object["complex"])));
    return made;
  }
  function array(object: Readonly<Record<string, unknown>>): TypedArray {
    const [name, found] = lookUp(object);
    let made = arrays.get(name);
    if (made === undefined) {
      const type = object["type"];
      if (typeof type !== "string" || !Object.hasOwn(ARRAYS, type))
        return damaged(`expected a kind of typed array, not ${describe(type)}`);
      const Type = ARRAYS[type as keyof typeof ARRAYS];
      if (found.nbytes !== found.numel() * Type.BYTES_PER_ELEMENT)
        return damaged(`expected the elements of a ${type} in ${describe(name)}`);
      arrays.set(name, (made = new Type(found.toBytes())));
    }
    return made;
  }
}

function parsed(json: string, reviver?: (key: string, value: unknown) => unknown): unknown {
  try {
    return JSON.parse(json, reviver);
  } catch {
    return damaged("expected JSON");
  }
}

/** @internal Names of tensors that {@link unpackState} returns as they are: not as typed arrays, not as complex ones. */
export function plainTensorNames(json: string): Set<string> {
  atMost("plainTensorNames", arguments, 1);
  const plain = new Set<string>();
  const others: unknown[] = [];
  parsed(json, (_, v) => {
    if (typeof v !== "object" || v === null || !("name" in v) || !("$" in v)) return v;
    if (v.$ === "tensor" && !("complex" in v)) plain.add(String(v.name));
    else others.push(v.name);
    return v;
  });
  for (const name of others) plain.delete(String(name));
  return plain;
}

function asComplex(pairs: Tensor, dtype: unknown): Tensor {
  const expected: DType | null = dtype === "complex128" ? "float64" : dtype === "complex32" ? "float16" : null;
  if (expected === null || pairs.dtype !== expected || pairs.shape.at(-1) !== 2)
    return damaged("expected the real view of a complex tensor");
  // A tensor of its own, not a view of what was read.
  return viewAsComplex(pairs).clone();
}
function special(text: unknown): number {
  if (text === "NaN" || text === "Infinity" || text === "-Infinity" || text === "-0") return Number(text);
  return damaged(`expected NaN, Infinity, -Infinity or -0, not ${describe(text)}`);
}
function pairs(entries: unknown): [unknown, unknown][] {
  if (!Array.isArray(entries) || !entries.every((e) => Array.isArray(e) && e.length === 2))
    return damaged("expected a list of pairs");
  return entries as [unknown, unknown][];
}
function damaged(why: string): never {
  throw new CheckpointError("CHECKPOINT_STATE", `unpackState: the state is damaged: ${why}.`);
}
