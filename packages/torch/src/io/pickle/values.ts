/** What a pickle builds, before anything is made of it: no class of Python's is looked up, and nothing is run. */
import { Buffer } from "node:buffer";

/** A value of a pickle. Numbers are Python's ints and floats alike; a bigint is an int that no number holds. */
export type PyValue =
  null | boolean | number | bigint | string | Uint8Array | PyTuple | PyList | PyDict | PySet | PyGlobal | PyMade;

export class PyTuple {
  constructor(readonly items: readonly PyValue[]) {}
}
export class PyList {
  constructor(readonly items: PyValue[]) {}
}
/** A dict, or what fills like one: pairs in their order. */
export class PyDict {
  readonly entries: (readonly [PyValue, PyValue])[] = [];
  /** @param ordered - An OrderedDict. */
  constructor(readonly ordered = false) {}
}
export class PySet {
  constructor(readonly items: PyValue[]) {}
}
/** A name that a pickle may use, and what there is to do with it. */
export class PyGlobal {
  constructor(
    /** Module and name: `torch._utils._rebuild_tensor_v2`. */
    readonly name: string,
    readonly spec: GlobalSpec,
  ) {}
}
/** Something of ours that is made once all of the pickle is known. */
export class PyMade {
  #value: unknown;
  #make: (() => unknown) | null;
  /** @param what - For messages: "a tensor". */
  constructor(
    readonly what: string,
    make: () => unknown,
  ) {
    this.#make = make;
  }
  get value(): unknown {
    if (this.#make !== null) {
      this.#value = this.#make();
      this.#make = null;
    }
    return this.#value;
  }
}

/** Something of ours to which the pickle gives a state after it was made. */
export abstract class PyStateful extends PyMade {
  abstract setState(state: PyValue, fault: PickleFault): void;
}

/** What stands for a global: a value of its own, and what a call of it gives. */
export interface GlobalSpec {
  /** What it is where it stands as a value. Default: its name, as text. */
  readonly value?: unknown;
  /** A call, or a new object of the class. Absent: refused. */
  readonly call?: (args: readonly PyValue[], fault: PickleFault) => PyValue;
}

/** Makes the error of a pickle: damaged, or larger than what is read. */
export type PickleFault = (what: "damaged" | "limit", message: string) => Error;

/** What a value is, for messages. */
export function kindOf(value: PyValue | undefined): string {
  if (value === undefined) return "nothing";
  if (value === null) return "None";
  if (value instanceof PyTuple) return `a tuple of ${value.items.length}`;
  if (value instanceof PyList) return "a list";
  if (value instanceof PyDict) return "a dict";
  if (value instanceof PySet) return "a set";
  if (value instanceof PyGlobal) return value.name;
  if (value instanceof PyMade) return value.what;
  if (value instanceof Uint8Array) return "bytes";
  return typeof value === "string" ? "a str" : typeof value === "boolean" ? "a bool" : "a number";
}

/** Where a call's arguments, and values within values, are what they should be. */
export class Expect {
  constructor(
    readonly name: string,
    readonly fault: PickleFault,
  ) {}

  #wrong(expected: string, value: PyValue | undefined): Error {
    return this.fault("damaged", `expected ${expected} for ${this.name}. Received: ${kindOf(value)}.`);
  }
  text(value: PyValue | undefined): string {
    if (typeof value === "string") return value;
    throw this.#wrong("a str", value);
  }
  int(value: PyValue | undefined): number {
    if (typeof value === "number" && Number.isSafeInteger(value)) return value;
    throw this.#wrong("an int", value);
  }
  flag(value: PyValue | undefined): boolean {
    if (typeof value === "boolean") return value;
    if (value === 0 || value === 1) return value === 1;
    throw this.#wrong("a bool", value);
  }
  tuple(value: PyValue | undefined): readonly PyValue[] {
    if (value instanceof PyTuple || value instanceof PyList) return value.items;
    throw this.#wrong("a tuple", value);
  }
  /** Whole numbers ≥ 0. */
  sizes(value: PyValue | undefined): number[] {
    return this.tuple(value).map((v) => {
      const n = this.int(v);
      if (n < 0) throw this.#wrong("numbers ≥ 0", v);
      return n;
    });
  }
  global(value: PyValue | undefined): PyGlobal {
    if (value instanceof PyGlobal) return value;
    throw this.#wrong("the name of a type", value);
  }
  bytes(value: PyValue | undefined): Uint8Array {
    if (value instanceof Uint8Array) return value;
    // Of Python 2, where bytes and texts are one: what reads as a text was these bytes.
    if (typeof value === "string") return Buffer.from(value, "utf8");
    throw this.#wrong("bytes", value);
  }
  made(value: PyValue | undefined): PyMade {
    if (value instanceof PyMade) return value;
    throw this.#wrong("a tensor", value);
  }
}
