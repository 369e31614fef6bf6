/** Modules by name. */
import { ArgumentError, verbatim } from "../errors.js";
import { text } from "../kinds.js";
import { atMost, checkArguments } from "../options.js";
import { hidden, setMember } from "./members.js";
import { Module } from "./module.js";
import { pairsOf, type Pairs } from "./pairs.js";

const ORDER = Symbol("nbit.order");

/**
 * Modules by name; it has no forward of its own. Names are keys of the state dict as they are. Each is a field, too:
 * `dict.get("conv")` and `dict["conv"]` are one.
 *
 * @example
 * const heads = new nn.ModuleDict({ boxes: new nn.Linear(8, 4), classes: new nn.Linear(8, 10) });
 * heads.get("boxes").forward(x);
 * @throws {ArgumentError} for a name of the class's own members, such as "forward" and "keys".
 */
export class ModuleDict<M extends Module = Module> extends Module {
  declare private [ORDER]: readonly string[];
  constructor(modules: Pairs<M> | null = null) {
    super();
    atMost("ModuleDict", arguments, 1);
    hidden(this, ORDER, []);
    if (modules !== null) fill("ModuleDict", this, modules);
  }
  forward(): never {
    throw new ArgumentError("ModuleDict", "its modules to be called one by one", verbatim("forward()"));
  }
  get length(): number {
    return this.keys().length;
  }
  /** Names, in the order in which they came. */
  keys(): readonly string[] {
    atMost("ModuleDict.keys", arguments, 0);
    return this.fieldNames().filter((name) => Reflect.get(this, name) instanceof Module);
  }
  values(): readonly M[] {
    atMost("ModuleDict.values", arguments, 0);
    return this.keys().map((name) => Reflect.get(this, name) as M);
  }
  items(): readonly (readonly [name: string, module: M])[] {
    atMost("ModuleDict.items", arguments, 0);
    return this.keys().map((name) => [name, Reflect.get(this, name) as M] as const);
  }
  [Symbol.iterator](): IterableIterator<string> {
    return this.keys()[Symbol.iterator]();
  }
  has(key: string): boolean {
    atMost("ModuleDict.has", arguments, 1);
    checkArguments("ModuleDict.has", { key }, { key: text });
    return Object.hasOwn(this, key) && Reflect.get(this, key) instanceof Module;
  }
  /** @throws {ArgumentError} `ModuleDict.get: expected a name among boxes, classes. Received: "masks".` */
  get(key: string): M {
    atMost("ModuleDict.get", arguments, 1);
    return found("ModuleDict.get", this, key);
  }
  set(key: string, module: M): this {
    atMost("ModuleDict.set", arguments, 2);
    if (!(module instanceof Module)) throw new ArgumentError("ModuleDict.set", "module to be a Module", module);
    setMember("ModuleDict.set", this, key, module);
    if (!this[ORDER].includes(key)) this[ORDER] = [...this[ORDER], key];
    return this;
  }
  /** Sets every module of another dict, a Map, an object or a list of pairs. */
  update(modules: Pairs<M>): void {
    atMost("ModuleDict.update", arguments, 1);
    fill("ModuleDict.update", this, modules);
  }
  /** Takes a module out. */
  pop(key: string): M {
    atMost("ModuleDict.pop", arguments, 1);
    const module = found("ModuleDict.pop", this, key);
    this.delete(key);
    return module;
  }
  /** @returns Whether there was one. */
  delete(key: string): boolean {
    atMost("ModuleDict.delete", arguments, 1);
    if (!this.has(key)) return false;
    this[ORDER] = this[ORDER].filter((name) => name !== key);
    return Reflect.deleteProperty(this, key);
  }
  clear(): void {
    atMost("ModuleDict.clear", arguments, 0);
    for (const key of this.keys()) this.delete(key);
  }
  /** Names are keys as they are. */
  override stateKey(name: string): string {
    atMost("ModuleDict.stateKey", arguments, 1);
    return name;
  }
  /** @internal Numbers as names stand where they came, too. */
  protected override fieldNames(): readonly string[] {
    const order = this[ORDER];
    return [...order, ...Object.keys(this).filter((name) => !order.includes(name))];
  }
}

function fill<M extends Module>(fn: string, dict: ModuleDict<M>, modules: Pairs<M>): void {
  const pairs = modules instanceof ModuleDict ? (modules as ModuleDict<M>).items() : pairsOf(fn, "modules", modules);
  for (const [key, module] of pairs) dict.set(key, module);
}
function found<M extends Module>(fn: string, dict: ModuleDict<M>, key: string): M {
  if (!dict.has(key)) throw new ArgumentError(fn, `a name among ${dict.keys().join(", ")}`, key);
  return Reflect.get(dict, key) as M;
}
