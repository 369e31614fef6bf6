/** Modules made of modules in a row: each a field, by its number or a name. */
import { ArgumentError, verbatim } from "../errors.js";
import { iterable, whole } from "../kinds.js";
import { atMost, checkArguments } from "../options.js";
import { isMap, isPlain } from "../realm.js";
import { iterated } from "../read-once.js";
import type { Tensor } from "../tensor/tensor.js";
import { hidden, positionOf, setMember } from "./members.js";
import { Module } from "./module.js";

/** Own names of the children, and of how many own fields there were when they were looked for. */
interface Known {
  readonly names: readonly string[];
  readonly fields: number;
}

const KNOWN = Symbol("nbit.known");

/** A module whose children stand in a row. */
abstract class Row<M extends Module> extends Module {
  /** A layer by its number, or, where that is taken as a name by slices of others, by that name: see {@link at}. */
  [index: number]: M;
  declare private [KNOWN]: Known;

  constructor() {
    super();
    hidden(this, KNOWN, { names: [], fields: -1 });
  }
  get length(): number {
    return this.names().length;
  }
  /** The layer at a position, from the end where it is negative. */
  at(index: number): M {
    const fn = `${this.constructor.name}.at`;
    atMost(fn, arguments, 1);
    const names = this.names();
    return Reflect.get(this, names[positionOf(fn, index, names.length)] as string) as M;
  }
  *[Symbol.iterator](): IterableIterator<M> {
    for (const name of this.names()) yield Reflect.get(this, name) as M;
  }
  /** @internal Names of the children, in order: those that were named so come before those that have become fields since. */
  protected names(): readonly string[] {
    const fields = Object.keys(this);
    if (fields.length === this[KNOWN].fields) return this[KNOWN].names;
    const children = fields.filter((name) => Reflect.get(this, name) instanceof Module);
    const there = new Set(children);
    const names = this[KNOWN].names.filter((name) => there.delete(name));
    this[KNOWN] = { names: [...names, ...there], fields: fields.length };
    return this[KNOWN].names;
  }
  /** @internal Children in their order, whatever their names. */
  protected override fieldNames(): readonly string[] {
    const names = new Set(this.names());
    return [...Object.keys(this).filter((name) => !names.has(name)), ...names];
  }
  /** @internal One more child, behind the others. */
  protected add(name: string, module: M): void {
    if (!(module instanceof Module))
      throw new ArgumentError(this.constructor.name, `element ${this.length} to be a Module`, module);
    const names = this.names();
    setMember(this.constructor.name, this, name, module);
    this[KNOWN] = { names: [...names.filter((each) => each !== name), name], fields: Object.keys(this).length };
    this.numberNames();
  }
  /** Children with names can be reached by their numbers, too. */
  private numberNames(): void {
    const { names } = this[KNOWN];
    for (let i = 0; i < names.length; i++) {
      const number = String(i);
      if (names[i] === number || Object.hasOwn(this, number)) continue;
      Object.defineProperty(this, number, {
        configurable: true,
        get(this: Row<M>) {
          return this.at(i);
        },
        set(this: Row<M>, module: M) {
          const name = this.names()[i];
          if (name !== undefined) Reflect.set(this, name, module);
        },
      });
    }
  }
  /** Other children in the place of all, numbered from 0. */
  private refill(modules: readonly M[]): void {
    for (const name of this[KNOWN].names) Reflect.deleteProperty(this, name);
    for (const name of Object.getOwnPropertyNames(this)) if (/^\d+$/.test(name)) Reflect.deleteProperty(this, name);
    this[KNOWN] = { names: [], fields: Object.keys(this).length };
    for (const module of modules) this.add(String(this.length), module);
  }
  /** One more layer at the end. */
  append(module: M): this {
    atMost(`${this.constructor.name}.append`, arguments, 1);
    this.add(String(this.length), module);
    return this;
  }
  /** More layers at the end. */
  extend(modules: Iterable<M>): this {
    const fn = `${this.constructor.name}.extend`;
    atMost(fn, arguments, 1);
    checkArguments(fn, { modules }, { modules: iterable });
    for (const module of iterated(fn, "modules", modules) as M[]) this.append(module);
    return this;
  }
  /** A layer before the one at `index`; numbers behind it grow by one. */
  insert(index: number, module: M): this {
    const fn = `${this.constructor.name}.insert`;
    atMost(fn, arguments, 2);
    if (!(module instanceof Module)) throw new ArgumentError(fn, "module to be a Module", module);
    const all = [...this];
    const at = positionOf(fn, index, all.length + (index < 0 ? 0 : 1));
    this.refill([...all.slice(0, at), module, ...all.slice(at)]);
    return this;
  }
  /** Takes a layer out: the last unless told otherwise. The others are numbered from 0, names are given up. */
  pop(index = -1): M {
    const fn = `${this.constructor.name}.pop`;
    atMost(fn, arguments, 1);
    const all = [...this];
    const at = positionOf(fn, index, all.length);
    const [taken] = all.splice(at, 1);
    this.refill(all);
    return taken as M;
  }
}

export type Layer = Module & { forward(x: Tensor): Tensor };
export type NamedLayers = Readonly<Record<string, Layer>> | ReadonlyMap<string, Layer>;

/**
 * Layers one after the other, each from one tensor to one tensor.
 *
 * @example
 * new nn.Sequential(new nn.Linear(4, 8), new nn.ReLU()); // keys "0.weight", …
 * new nn.Sequential({ first: new nn.Linear(4, 8), act: new nn.ReLU() }); // keys "first.weight", …
 */
export class Sequential extends Row<Layer> {
  constructor(...layers: readonly Layer[] | readonly [layers: NamedLayers]) {
    super();
    const [first] = layers;
    const named = layers.length === 1 ? entriesOf(first) : null;
    if (named !== null) for (const [name, layer] of named) this.add(name, layer);
    else (layers as readonly Layer[]).forEach((layer, i) => this.add(String(i), layer));
  }
  forward(x: Tensor): Tensor {
    atMost("Sequential.forward", arguments, 1);
    let y = x;
    for (const name of this.names()) y = (Reflect.get(this, name) as Layer | null)?.call(y) ?? y;
    return y;
  }
  /**
   * The layers of a range, as `Array.slice` counts, in a Sequential of their own. They keep their names, numbers too, as
   * in PyTorch: use {@link at} for positions in a slice that does not begin with the first.
   */
  slice(start = 0, end?: number): Sequential {
    atMost("Sequential.slice", arguments, 2);
    checkArguments("Sequential.slice", { start, end: end ?? 0 }, { start: whole(), end: whole() });
    return new Sequential(
      new Map(
        this.names()
          .slice(start, end)
          .map((name) => [name, Reflect.get(this, name) as Layer]),
      ),
    );
  }
}
function entriesOf(value: unknown): (readonly [string, Layer])[] | null {
  if (value instanceof Module) return null;
  if (isMap(value)) return [...value] as (readonly [string, Layer])[];
  return isPlain(value) ? (Object.entries(value) as (readonly [string, Layer])[]) : null;
}

/** A list of modules; it has no forward of its own. */
export class ModuleList<M extends Module = Module> extends Row<M> {
  constructor(modules: Iterable<M> | null = []) {
    super();
    atMost("ModuleList", arguments, 1);
    if (modules === null) return;
    checkArguments("ModuleList", { modules }, { modules: iterable });
    for (const m of iterated("ModuleList", "modules", modules) as M[]) this.add(String(this.length), m);
  }
  forward(): never {
    throw new ArgumentError("ModuleList", "its elements to be called one by one", verbatim("forward()"));
  }
  /** The modules of a range, as `Array.slice` counts, in a list of their own. */
  slice(start = 0, end?: number): ModuleList<M> {
    atMost("ModuleList.slice", arguments, 2);
    checkArguments("ModuleList.slice", { start, end: end ?? 0 }, { start: whole(), end: whole() });
    return new ModuleList<M>([...this].slice(start, end));
  }
  /** What is equal is printed once: `(0-5): 6 x …`. */
  override toString(): string {
    const printed = Array.from(this, String);
    const lines: string[] = [];
    for (let first = 0, next: number; first < printed.length; first = next) {
      const text = printed[first] as string;
      next = first + 1;
      while (printed[next] === text) next++;
      const count = next - first;
      const line = count === 1 ? `(${first}): ${text}` : `(${first}-${next - 1}): ${count} x ${text}`;
      lines.push(`  ${line.replaceAll("\n", "\n  ")}`);
    }
    const type = this.constructor.name;
    return lines.length === 0 ? `${type}()` : `${type}(\n${lines.join("\n")}\n)`;
  }
}
