/** Parameters in a list, and by name. */
import { ArgumentError, describe, verbatim } from "../errors.js";
import { iterable, text, whole } from "../kinds.js";
import { atMost, checkArguments } from "../options.js";
import { isPlain } from "../realm.js";
import { iterated } from "../read-once.js";
import { isTensor } from "../tensor/handle.js";
import { Tensor } from "../tensor/tensor.js";
import { hidden, positionOf, setMember } from "./members.js";
import { Module } from "./module.js";
import { pairsOf, type Pairs } from "./pairs.js";
import { Parameter } from "./parameter.js";

const COUNT = Symbol("nbit.count");
const ORDER = Symbol("nbit.order");

/** What such a container holds of a value: a tensor becomes a parameter that shares its memory, anything else stays. */
export type Held<T> = T extends Parameter ? T : T extends Tensor ? Parameter : T;

const held = (value: unknown): unknown =>
  isTensor(value) && !(value instanceof Parameter) && value.constructor === Tensor ? new Parameter(value) : value;

function print(name: string | number, value: unknown): string {
  if (!isTensor(value)) return `  (${name}): Object of type: ${describe(value)}`;
  const on = value.device.type === "cuda" ? ` (${String(value.device)})` : "";
  const kind = value instanceof Parameter ? "Parameter" : "Tensor";
  return `  (${name}): ${kind} containing: [torch.${value.dtype} of size ${value.shape.join("x")}${on}]`;
}

/**
 * Parameters in a list, `list[0]`, with keys "0", "1", …. A tensor becomes a parameter; what is no tensor is held as it
 * is.
 */
export class ParameterList<T = Parameter> extends Module {
  [index: number]: Held<T>;
  declare private [COUNT]: number;
  constructor(values: Iterable<T> | null = null) {
    super();
    atMost("ParameterList", arguments, 1);
    hidden(this, COUNT, 0);
    if (values !== null) this.extend(values);
  }
  forward(): never {
    throw new ArgumentError("ParameterList", "its parameters to be used one by one", verbatim("forward()"));
  }
  get length(): number {
    return this[COUNT];
  }
  *[Symbol.iterator](): IterableIterator<Held<T>> {
    for (let i = 0; i < this[COUNT]; i++) yield this[i] as Held<T>;
  }
  /** From the end where `index` is negative. */
  at(index: number): Held<T> {
    atMost("ParameterList.at", arguments, 1);
    return this[positionOf("ParameterList.at", index, this[COUNT])] as Held<T>;
  }
  append(value: T): this {
    atMost("ParameterList.append", arguments, 1);
    setMember("ParameterList.append", this, String(this[COUNT]), held(value));
    this[COUNT]++;
    return this;
  }
  extend(values: Iterable<T>): this {
    const fn = "ParameterList.extend";
    atMost(fn, arguments, 1);
    if (isTensor(values)) throw new ArgumentError(fn, "values to be an array of parameters", values);
    checkArguments(fn, { values }, { values: iterable });
    for (const value of iterated(fn, "values", values) as T[]) this.append(value);
    return this;
  }
  /** Those of a range, as `Array.slice` counts, in a list of their own. */
  slice(start = 0, end?: number): ParameterList<T> {
    atMost("ParameterList.slice", arguments, 2);
    checkArguments("ParameterList.slice", { start, end: end ?? 0 }, { start: whole(), end: whole() });
    return new ParameterList<T>([...this].slice(start, end) as T[]);
  }
  override extraRepr(): string {
    return Array.from(this, (value, i) => print(i, value)).join("\n");
  }
}

/**
 * Parameters by name. A tensor becomes a parameter; what is no tensor is held as it is. Names are keys of the state dict
 * as they are; those of an object are put in alphabetical order, those of a Map and of pairs stay in theirs, as PyTorch
 * does with dicts and OrderedDicts.
 *
 * @throws {ArgumentError} for a name of the class's own members, such as "forward" and "keys".
 */
export class ParameterDict<T = Parameter> extends Module {
  declare private [ORDER]: readonly string[];
  constructor(parameters: Pairs<T> | ParameterDict<T> | null = null) {
    super();
    atMost("ParameterDict", arguments, 1);
    hidden(this, ORDER, []);
    if (parameters !== null) fill("ParameterDict", this, parameters);
  }
  forward(): never {
    throw new ArgumentError("ParameterDict", "its parameters to be used one by one", verbatim("forward()"));
  }
  get length(): number {
    return this[ORDER].length;
  }
  keys(): readonly string[] {
    atMost("ParameterDict.keys", arguments, 0);
    return this[ORDER];
  }
  values(): readonly Held<T>[] {
    atMost("ParameterDict.values", arguments, 0);
    return this[ORDER].map((key) => Reflect.get(this, key) as Held<T>);
  }
  items(): readonly (readonly [name: string, value: Held<T>])[] {
    atMost("ParameterDict.items", arguments, 0);
    return this[ORDER].map((key) => [key, Reflect.get(this, key) as Held<T>] as const);
  }
  [Symbol.iterator](): IterableIterator<string> {
    return this[ORDER][Symbol.iterator]();
  }
  has(key: string): boolean {
    atMost("ParameterDict.has", arguments, 1);
    checkArguments("ParameterDict.has", { key }, { key: text });
    return this[ORDER].includes(key);
  }
  /** Names are keys as they are. */
  override stateKey(name: string): string {
    atMost("ParameterDict.stateKey", arguments, 1);
    return name;
  }
  /** @internal Numbers as names stand where they came, too. */
  protected override fieldNames(): readonly string[] {
    const order = this[ORDER];
    return [...order, ...Object.keys(this).filter((name) => !order.includes(name))];
  }
  /** What has the name; `fallback` where nothing has it. */
  get(key: string, fallback: Held<T> | null = null): Held<T> | null {
    atMost("ParameterDict.get", arguments, 2);
    return this.has(key) ? (Reflect.get(this, key) as Held<T>) : fallback;
  }
  set(key: string, value: T): this {
    atMost("ParameterDict.set", arguments, 2);
    setMember("ParameterDict.set", this, key, held(value));
    if (!this[ORDER].includes(key)) this[ORDER] = [...this[ORDER], key];
    return this;
  }
  /** What has the name, which `fallback` is given first where nothing has it. */
  setdefault(key: string, fallback: T): Held<T> {
    atMost("ParameterDict.setdefault", arguments, 2);
    if (!this.has(key)) this.set(key, fallback);
    return Reflect.get(this, key) as Held<T>;
  }
  update(parameters: Pairs<T> | ParameterDict<T>): void {
    atMost("ParameterDict.update", arguments, 1);
    fill("ParameterDict.update", this, parameters);
  }
  /** @throws {ArgumentError} `ParameterDict.pop: expected a name among left, right. Received: "middle".` */
  pop(key: string): Held<T> {
    atMost("ParameterDict.pop", arguments, 1);
    if (!this.has(key)) throw new ArgumentError("ParameterDict.pop", `a name among ${this[ORDER].join(", ")}`, key);
    const value = Reflect.get(this, key) as Held<T>;
    this.delete(key);
    return value;
  }
  /** Takes the last out. */
  popitem(): readonly [name: string, value: Held<T>] {
    atMost("ParameterDict.popitem", arguments, 0);
    const key = this[ORDER].at(-1);
    if (key === undefined) throw new ArgumentError("ParameterDict.popitem", "a dict that is not empty", this[ORDER]);
    return [key, this.pop(key)];
  }
  /** @returns Whether there was one. */
  delete(key: string): boolean {
    atMost("ParameterDict.delete", arguments, 1);
    if (!this.has(key)) return false;
    this[ORDER] = this[ORDER].filter((name) => name !== key);
    return Reflect.deleteProperty(this, key);
  }
  clear(): void {
    atMost("ParameterDict.clear", arguments, 0);
    for (const key of this[ORDER]) this.delete(key);
  }
  /** Another dict of the same parameters. */
  copy(): ParameterDict<T> {
    atMost("ParameterDict.copy", arguments, 0);
    return new ParameterDict<T>(this.items() as readonly (readonly [string, T])[]);
  }
  /** A dict of these names, each with `fallback`. */
  fromkeys(keys: Iterable<string>, fallback: T): ParameterDict<T> {
    const fn = "ParameterDict.fromkeys";
    atMost(fn, arguments, 2);
    checkArguments(fn, { keys }, { keys: iterable });
    return new ParameterDict<T>((iterated(fn, "keys", keys) as string[]).map((key) => [key, fallback] as const));
  }
  override extraRepr(): string {
    return this.items()
      .map(([key, value]) => print(key, value))
      .join("\n");
  }
}

function fill<T>(fn: string, dict: ParameterDict<T>, parameters: Pairs<T> | ParameterDict<T>): void {
  const pairs =
    parameters instanceof ParameterDict
      ? (parameters.items() as readonly (readonly [string, T])[])
      : pairsOf(fn, "parameters", parameters);
  const sorted = isPlain(parameters) ? pairs.toSorted(([a], [b]) => (a < b ? -1 : 1)) : pairs;
  for (const [key, value] of sorted) dict.set(key, value);
}
