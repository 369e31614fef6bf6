/**
 * Pickles of protocols 0 to 5, read as a description of values. The machine of a pickle can name any function of Python
 * and call it; here a name is looked up in the reader's own table and means what that says, or is an error.
 */
import { Cursor } from "./cursor.js";
import {
  kindOf,
  PyDict,
  PyGlobal,
  PyList,
  PySet,
  PyStateful,
  PyTuple,
  type PickleFault,
  type PyValue,
} from "./values.js";

/** What a pickle may refer to. */
export interface PickleWorld {
  readonly fault: PickleFault;
  /** A name of a module. @throws for one that is not allowed. */
  readonly global: (module: string, name: string) => PyGlobal;
  /** A value that lies outside the pickle. */
  readonly persistent: (id: PyValue) => PyValue;
}

/** Steps that make values, all together; containers count more. Each takes tens of bytes of JavaScript's heap. */
const MOST_VALUES = 2 ** 23;
const CONTAINER = 4;

interface Read {
  readonly value: PyValue;
  /** The first byte behind the pickle. */
  readonly end: number;
}

/** Read one pickle, which begins at `at`. */
export function readPickle(bytes: Uint8Array, at: number, world: PickleWorld): Read {
  const machine = new Machine(new Cursor(bytes, at, world.fault), world);
  return { value: machine.run(), end: machine.position };
}

type Step = (m: Machine) => void;

class Machine {
  stack: PyValue[] = [];
  readonly marks: PyValue[][] = [];
  readonly memo = new Map<number, PyValue>();
  #made = 0;

  constructor(
    readonly from: Cursor,
    readonly world: PickleWorld,
  ) {}
  get position(): number {
    return this.from.at;
  }

  run(): PyValue {
    for (;;) {
      const code = this.from.byte();
      if (code === STOP) return this.pop();
      const step = STEPS[code];
      if (step === undefined)
        throw this.damaged(`expected an operation of pickles at byte ${this.from.at - 1}. Received: ${code}`);
      step(this);
    }
  }

  damaged(what: string): Error {
    return this.world.fault("damaged", `${what}.`);
  }
  #count(n: number): void {
    this.#made += n;
    if (this.#made > MOST_VALUES)
      throw this.world.fault(
        "limit",
        `expected at most ${MOST_VALUES} values. Received: more. Save tensors, not lists.`,
      );
  }
  push(value: PyValue): void {
    this.#count(typeof value === "object" && value !== null ? CONTAINER : 1);
    this.stack.push(value);
  }
  pop(): PyValue {
    const value = this.stack.pop();
    if (value === undefined) throw this.damaged("expected a value on the stack. Received: an empty one");
    return value;
  }
  top(): PyValue {
    const value = this.stack.at(-1);
    if (value === undefined) throw this.damaged("expected a value on the stack. Received: an empty one");
    return value;
  }
  popMany(n: number): PyValue[] {
    if (this.stack.length < n) throw this.damaged(`expected ${n} values on the stack. Received: ${this.stack.length}`);
    return this.stack.splice(this.stack.length - n, n);
  }
  mark(): void {
    this.#count(CONTAINER);
    this.marks.push(this.stack);
    this.stack = [];
  }
  popMark(): PyValue[] {
    const items = this.stack;
    const below = this.marks.pop();
    if (below === undefined) throw this.damaged("expected a mark on the stack. Received: none");
    this.stack = below;
    return items;
  }
  put(index: number): void {
    this.#count(1);
    this.memo.set(index, this.top());
  }
  get(index: number): void {
    const value = this.memo.get(index);
    if (value === undefined) throw this.damaged(`expected value ${index} to have been made before`);
    this.push(value);
  }

  append(items: readonly PyValue[]): void {
    const list = this.top();
    if (!(list instanceof PyList)) throw this.damaged(`expected a list to append to. Received: ${kindOf(list)}`);
    for (const item of items) list.items.push(item);
  }
  addItems(items: readonly PyValue[]): void {
    const set = this.top();
    if (!(set instanceof PySet)) throw this.damaged(`expected a set to add to. Received: ${kindOf(set)}`);
    for (const item of items) set.items.push(item);
  }
  setItems(pairs: readonly PyValue[]): void {
    const dict = this.top();
    if (!(dict instanceof PyDict)) throw this.damaged(`expected a dict to fill. Received: ${kindOf(dict)}`);
    fill(dict, pairs, this);
  }
  call(callee: PyValue, args: PyValue): void {
    if (!(callee instanceof PyGlobal)) throw this.damaged(`expected a function to call. Received: ${kindOf(callee)}`);
    if (!(args instanceof PyTuple))
      throw this.damaged(`expected arguments for ${callee.name}. Received: ${kindOf(args)}`);
    if (callee.spec.call === undefined) throw this.damaged(`expected no call of ${callee.name}`);
    this.push(callee.spec.call(args.items, this.world.fault));
  }
  /** The state of an object: of those that are made here, only what fills like a dict has one. */
  build(): void {
    const state = this.pop();
    const target = this.top();
    if (target instanceof PyDict) {
      // What is set on an OrderedDict is not among its items.
      if (target.ordered) return;
      const [own, slots] = state instanceof PyTuple && state.items.length === 2 ? state.items : [state, null];
      for (const part of [own, slots])
        if (part instanceof PyDict) for (const pair of part.entries) target.entries.push(pair);
      return;
    }
    if (target instanceof PyStateful) target.setState(state, this.world.fault);
    else throw this.damaged(`expected an object that takes a state. Received: ${kindOf(target)}`);
  }
  global(module: PyValue, name: PyValue): void {
    if (typeof module !== "string" || typeof name !== "string")
      throw this.damaged("expected a module and a name to be texts");
    this.push(this.world.global(module, name));
  }
}

function fill(dict: PyDict, pairs: readonly PyValue[], m: Machine): void {
  if (pairs.length % 2 !== 0) throw m.damaged("expected a value for every key");
  for (let i = 0; i < pairs.length; i += 2) dict.entries.push([pairs[i] as PyValue, pairs[i + 1] as PyValue]);
}

const STOP = 0x2e;
const constant =
  (value: PyValue): Step =>
  (m) =>
    m.push(value);
const tuple =
  (n: number): Step =>
  (m) =>
    m.push(new PyTuple(m.popMany(n)));
const call: Step = (m) => {
  const args = m.pop();
  m.call(m.pop(), args);
};

/** By code; the letters are those of the protocol. */
const TABLE: Readonly<Record<string, Step>> = {
  "\x80": (m) => {
    const protocol = m.from.byte();
    if (protocol > 5) throw m.damaged(`expected a protocol up to 5. Received: ${protocol}`);
  },
  "\x95": (m) => void m.from.uint64(), // the length of a frame
  "(": (m) => m.mark(),
  "0": (m) => void (m.stack.length > 0 ? m.pop() : m.popMark()),
  "1": (m) => void m.popMark(),
  "2": (m) => m.push(m.top()),
  N: constant(null),
  "\x88": constant(true),
  "\x89": constant(false),
  I: (m) => {
    const line = m.from.line();
    m.push(line === "00" ? false : line === "01" ? true : m.from.decimal(line));
  },
  L: (m) => m.push(m.from.decimal(m.from.line().replace(/L$/, ""))),
  J: (m) => m.push(m.from.int32()),
  K: (m) => m.push(m.from.byte()),
  M: (m) => m.push(m.from.uint16()),
  "\x8a": (m) => m.push(m.from.long(m.from.byte())),
  "\x8b": (m) => m.push(m.from.long(m.from.uint32())),
  F: (m) => m.push(m.from.float(m.from.line())),
  G: (m) => m.push(m.from.float64()),
  S: (m) => m.push(m.from.quoted(m.from.line())),
  T: (m) => m.push(m.from.eitherText(m.from.uint32())),
  U: (m) => m.push(m.from.eitherText(m.from.byte())),
  V: (m) => m.push(m.from.escaped(m.from.line())),
  X: (m) => m.push(m.from.text(m.from.uint32())),
  "\x8c": (m) => m.push(m.from.text(m.from.byte())),
  "\x8d": (m) => m.push(m.from.text(m.from.uint64())),
  B: (m) => m.push(m.from.bytes(m.from.uint32())),
  C: (m) => m.push(m.from.bytes(m.from.byte())),
  "\x8e": (m) => m.push(m.from.bytes(m.from.uint64())),
  "\x96": (m) => m.push(m.from.bytes(m.from.uint64())),
  "]": (m) => m.push(new PyList([])),
  a: (m) => m.append([m.pop()]),
  e: (m) => m.append(m.popMark()),
  l: (m) => m.push(new PyList(m.popMark())),
  ")": (m) => m.push(new PyTuple([])),
  t: (m) => m.push(new PyTuple(m.popMark())),
  "\x85": tuple(1),
  "\x86": tuple(2),
  "\x87": tuple(3),
  "}": (m) => m.push(new PyDict()),
  d: (m) => {
    const dict = new PyDict();
    fill(dict, m.popMark(), m);
    m.push(dict);
  },
  s: (m) => m.setItems(m.popMany(2)),
  u: (m) => m.setItems(m.popMark()),
  "\x8f": (m) => m.push(new PySet([])),
  "\x90": (m) => m.addItems(m.popMark()),
  "\x91": (m) => m.push(new PySet(m.popMark())),
  g: (m) => m.get(m.from.index(m.from.line())),
  h: (m) => m.get(m.from.byte()),
  j: (m) => m.get(m.from.uint32()),
  p: (m) => m.put(m.from.index(m.from.line())),
  q: (m) => m.put(m.from.byte()),
  r: (m) => m.put(m.from.uint32()),
  "\x94": (m) => m.put(m.memo.size),
  c: (m) => {
    const module = m.from.line();
    m.global(module, m.from.line());
  },
  "\x93": (m) => {
    const name = m.pop();
    m.global(m.pop(), name);
  },
  i: (m) => {
    const module = m.from.line();
    const name = m.from.line();
    const args = m.popMark();
    m.global(module, name);
    m.call(m.pop(), new PyTuple(args));
  },
  o: (m) => {
    const [callee = null, ...args] = m.popMark();
    m.call(callee, new PyTuple(args));
  },
  R: call,
  "\x81": call,
  "\x92": (m) => {
    const named = m.pop();
    if (!(named instanceof PyDict) || named.entries.length > 0)
      throw m.damaged("expected a new object without arguments by name");
    call(m);
  },
  b: (m) => m.build(),
  P: (m) => m.push(m.world.persistent(m.from.line())),
  Q: (m) => m.push(m.world.persistent(m.pop())),
};
const STEPS: readonly (Step | undefined)[] = Array.from({ length: 256 }, (_, code) => TABLE[String.fromCharCode(code)]);
