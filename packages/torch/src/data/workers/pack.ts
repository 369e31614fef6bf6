/**
 * Values on their way between threads: what a message can hold, with tensors as the numbers under which they were
 * handed over, and functions and classes as the places where they are exported.
 */
import { types } from "node:util";
import { ArgumentError, describe, verbatim } from "../../errors.js";
import { checkDepth } from "../../limits.js";
import { isMap, isPlain, isSet } from "../../realm.js";
import { handOver, takeOver } from "../../tensor/hand-over.js";
import { isTensor } from "../../tensor/handle.js";
import type { Tensor } from "../../tensor/tensor.js";
import { locate, privateFields, type Located } from "./locate.js";

/** Every array is a node; everything else in it is as it is. */
type Node = unknown;
type Tag = "array" | "object" | "map" | "set" | "tensor" | "again" | "clone" | "function" | "instance";

export interface Packed {
  readonly root: Node;
  /** The functions and classes that nodes name by position. */
  readonly functions: readonly Located[];
}

export interface PackOptions {
  /** What it is, in messages. */
  readonly what: string;
  /** Whether functions, and instances of classes, may be in it: the other side can wait for modules to be loaded. */
  readonly functions: boolean;
  /** The number that a tensor goes under. */
  readonly tensor: (tensor: Tensor) => number;
}

const CLONED = [types.isDate, types.isRegExp, types.isAnyArrayBuffer, ArrayBuffer.isView, types.isNativeError];

const isPrimitive = (v: unknown): boolean => v === null || !["object", "function", "symbol"].includes(typeof v);

class Packer {
  readonly functions: Located[] = [];
  readonly #seen = new Map<object, number>();
  readonly #classes = new Set<object>();

  constructor(readonly options: PackOptions) {}

  node(value: unknown, path: string, depth: number): Node {
    checkDepth("DataLoader", depth);
    if (typeof value === "function") return this.#function(value as (...args: never[]) => unknown, path);
    if (typeof value === "symbol") throw this.#refused(value, path);
    if (typeof value !== "object" || value === null) return value;
    const seen = this.#seen.get(value);
    if (seen !== undefined) return ["again" satisfies Tag, seen];
    this.#seen.set(value, this.#seen.size);
    return this.#object(value, path, depth + 1);
  }

  #object(value: object, path: string, depth: number): Node {
    const each = (v: unknown, at: string | number): Node => this.node(v, `${path}${at}`, depth);
    if (isTensor(value)) return ["tensor" satisfies Tag, this.options.tensor(value)];
    if (Array.isArray(value) && value.every(isPrimitive)) return ["clone" satisfies Tag, value];
    if (Array.isArray(value)) return ["array" satisfies Tag, ...value.map((v, i) => each(v, `[${i}]`))];
    if (isMap(value))
      return [
        "map" satisfies Tag,
        ...[...value].flatMap(([k, v], i) => [each(k, ` key ${i}`), each(v, ` value ${i}`)]),
      ];
    if (isSet(value)) return ["set" satisfies Tag, ...[...value].map((v, i) => each(v, ` element ${i}`))];
    if (isPlain(value)) return ["object" satisfies Tag, ...this.#fields(value, path, depth)];
    if (CLONED.some((is) => is(value))) return ["clone" satisfies Tag, value];
    return this.#instance(value, path, depth);
  }

  #fields(value: object, path: string, depth: number): Node[] {
    return Object.entries(value).flatMap(([name, v]) => [name, this.node(v, `${path}.${name}`, depth)]);
  }

  #function(fn: (...args: never[]) => unknown, path: string): Node {
    if (!this.options.functions) throw this.#refused(fn, path);
    const at = locate(fn);
    if (at === null || at.export === "")
      throw new ArgumentError(
        "DataLoader",
        `${this.options.what}${path} to be a function that a module exports, so that threads can load it`,
        verbatim(
          at === null ? `${describe(fn)}, which is in no module's file` : `a function without a name in ${at.module}`,
        ),
        "Write it as `export function name(…)` in a module of its own; a closure has no other thread's variables.",
      );
    let index = this.functions.findIndex((f) => f.module === at.module && f.export === at.export && f.text === at.text);
    if (index === -1) index = this.functions.push(at) - 1;
    return ["function" satisfies Tag, index];
  }

  #instance(value: object, path: string, depth: number): Node {
    const type: unknown = (Object.getPrototypeOf(value) as { readonly constructor?: unknown } | null)?.constructor;
    if (!this.options.functions || typeof type !== "function") throw this.#refused(value, path);
    const node = this.#function(type as () => unknown, path) as readonly [Tag, number];
    this.#checkPrivate(value, type, path);
    return ["instance" satisfies Tag, node[1], ...this.#fields(value, path, depth)];
  }

  #checkPrivate(value: object, type: object, path: string): void {
    if (this.#classes.has(type)) return;
    this.#classes.add(type);
    const names = privateFields(value);
    if (names.length === 0) return;
    throw new ArgumentError(
      "DataLoader",
      `${this.options.what}${path} to have fields that can be copied to threads`,
      verbatim(`${describe(value)} with ${names.join(", ")}, which only its own code can read`),
      'Declare them `private`, or let each thread make its own: new DataLoader({ module: import.meta.url, export: "name", args: […] }, …).',
    );
  }

  #refused(value: unknown, path: string): ArgumentError {
    return new ArgumentError(
      "DataLoader",
      `${this.options.what}${path} to be of what goes between threads: tensors, numbers, strings, typed arrays, arrays, Maps, Sets, plain objects`,
      value,
      "Give the loader a collateFn that makes batches of those.",
    );
  }
}

/** @throws {ArgumentError} for what cannot go to another thread, with its place in the value. */
export function pack(value: unknown, options: PackOptions): Packed {
  const packer = new Packer(options);
  const root = packer.node(value, "", 0);
  return { root, functions: packer.functions };
}

/** The value again, in this thread: `functions` are those that `packed.functions` names. */
export function unpack(packed: Packed, functions: readonly unknown[], tensor: (id: number) => Tensor): unknown {
  const seen: unknown[] = [];
  const made = <T>(value: T): T => (seen.push(value), value);
  const value = (node: Node): unknown => {
    if (!Array.isArray(node)) return node;
    const [tag, first, ...rest] = node as unknown as readonly [Tag, Node, ...Node[]];
    const all = (): Node[] => node.slice(1) as Node[];
    switch (tag) {
      case "again":
        return seen[first as number];
      case "function":
        return functions[first as number];
      case "tensor":
        return made(tensor(first as number));
      case "clone":
        return made(first);
      case "array": {
        const list: unknown[] = made([]);
        for (const n of all()) list.push(value(n));
        return list;
      }
      case "set": {
        const set = made(new Set<unknown>());
        for (const n of all()) set.add(value(n));
        return set;
      }
      case "map": {
        const map = made(new Map<unknown, unknown>());
        const items = all();
        for (let i = 0; i < items.length; i += 2) {
          const key = value(items[i]);
          map.set(key, value(items[i + 1]));
        }
        return map;
      }
      case "object":
        return fill(made({}), all());
      case "instance": {
        const type = functions[first as number] as { readonly prototype: object };
        return fill(made(Object.create(type.prototype) as object), rest);
      }
    }
  };
  const fill = (object: object, fields: readonly Node[]): object => {
    for (let i = 0; i < fields.length; i += 2)
      Object.defineProperty(object, fields[i] as string, {
        value: value(fields[i + 1]),
        writable: true,
        enumerable: true,
        configurable: true,
      });
    return object;
  };
  return value(packed.root);
}

/** A batch for another thread, in one group; where it cannot go, nothing of it stays behind. */
export function packBatch(value: unknown, group: number): Packed {
  const ids: number[] = [];
  try {
    return pack(value, {
      what: "batches",
      functions: false,
      tensor: (t) => {
        const id = handOver(t, group);
        ids.push(id);
        return id;
      },
    });
  } catch (error) {
    for (const id of ids) takeOver(id).dispose();
    throw error;
  }
}
export function unpackBatch(packed: Packed): unknown {
  return unpack(packed, [], takeOver);
}
