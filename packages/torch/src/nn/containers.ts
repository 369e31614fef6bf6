/** Modules made of modules. */
import { ArgumentError, verbatim } from "../errors.js";
import { iterable, whole } from "../kinds.js";
import { atMost, checkArguments } from "../options.js";
import { flatten } from "../ops/index.js";
import { iterated } from "../read-once.js";
import type { Tensor } from "../tensor/tensor.js";
import { Module } from "./module.js";

/** A module whose children are numbered fields. */
abstract class Indexed<M extends Module> extends Module {
  readonly [index: number]: M;
  #length = 0;
  get length(): number {
    return this.#length;
  }
  protected push(module: M): void {
    if (!(module instanceof Module))
      throw new ArgumentError(this.constructor.name, `element ${this.#length} to be a Module`, module);
    Object.defineProperty(this, String(this.#length++), {
      value: module,
      enumerable: true,
      writable: true,
      configurable: true,
    });
  }
  *[Symbol.iterator](): IterableIterator<M> {
    for (let i = 0; i < this.#length; i++) yield this[i] as M;
  }
}

type Layer = Module & { forward(x: Tensor): Tensor };

/** Layers one after the other, each from one tensor to one tensor. */
export class Sequential extends Indexed<Layer> {
  constructor(...layers: Layer[]) {
    super();
    for (const layer of layers) this.push(layer);
  }
  append(layer: Layer): this {
    atMost("Sequential.append", arguments, 1);
    this.push(layer);
    return this;
  }
  forward(x: Tensor): Tensor {
    atMost("Sequential.forward", arguments, 1);
    let y = x;
    for (let i = 0; i < this.length; i++) y = this[i]?.call(y) ?? y;
    return y;
  }
}

/** A list of modules; it has no forward of its own. */
export class ModuleList<M extends Module = Module> extends Indexed<M> {
  constructor(modules: Iterable<M> = []) {
    super();
    atMost("ModuleList", arguments, 1);
    checkArguments("ModuleList", { modules }, { modules: iterable });
    for (const m of iterated("ModuleList", "modules", modules) as M[]) this.push(m);
  }
  append(module: M): this {
    atMost("ModuleList.append", arguments, 1);
    this.push(module);
    return this;
  }
  forward(): never {
    throw new ArgumentError("ModuleList", "its elements to be called one by one", verbatim("forward()"));
  }
}

/** `[N, …]` → `[N, product]`, or between two dimensions. */
export class Flatten extends Module {
  constructor(
    readonly startDim = 1,
    readonly endDim = -1,
  ) {
    super();
    atMost("Flatten", arguments, 2);
    checkArguments("Flatten", { startDim, endDim }, { startDim: whole(), endDim: whole() });
  }
  forward(x: Tensor): Tensor {
    atMost("Flatten.forward", arguments, 1);
    return flatten(x, this.startDim, this.endDim);
  }
  override extraRepr(): string {
    return `start_dim=${this.startDim}, end_dim=${this.endDim}`;
  }
}
