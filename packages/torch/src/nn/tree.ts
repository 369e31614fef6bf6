/** The tree that the fields of modules make: what a field is in it, and the walks over it. */
import { snakeCase } from "./keys.js";
import type { Parameter } from "./parameter.js";
import type { Tensor } from "../tensor/tensor.js";

/** A field that belongs to the tree. */
export type Field<M> =
  | { readonly kind: "module"; readonly name: string; readonly value: M }
  | { readonly kind: "parameter"; readonly name: string; readonly value: Parameter }
  | { readonly kind: "buffer"; readonly name: string; readonly value: Tensor; readonly persistent: boolean };

export interface NamedOptions {
  /** Before every name. Default none. */
  readonly prefix?: string;
  /** Those of the modules below too. Default true. */
  readonly recurse?: boolean;
}

type Named<T> = IterableIterator<[name: string, value: T]>;

/** Walks over modules of type M, whose own fields `fieldsOf` tells in the order of declaration. */
export class Tree<M> {
  readonly fieldsOf: (module: M) => Iterable<Field<M>>;

  constructor(fieldsOf: (module: M) => Iterable<Field<M>>) {
    this.fieldsOf = fieldsOf;
  }

  /** Direct submodules under the names of their fields; each once. */
  *children(module: M): Named<M> {
    const seen = new Set<M>();
    for (const field of this.fieldsOf(module))
      if (field.kind === "module" && !seen.has(field.value)) {
        seen.add(field.value);
        yield [field.name, field.value];
      }
  }

  /** A module and all below it by path, parents first; each once, so that cycles end. */
  *modules(module: M, path = "", seen = new Set<M>()): Named<M> {
    if (seen.has(module)) return;
    seen.add(module);
    yield [path, module];
    for (const [name, child] of this.children(module)) yield* this.modules(child, below(path, name), seen);
  }

  parameters(module: M, options: NamedOptions): Named<Parameter> {
    return this.#named(module, options, (field) => (field.kind === "parameter" ? field.value : null));
  }
  buffers(module: M, options: NamedOptions): Named<Tensor> {
    return this.#named(module, options, (field) => (field.kind === "buffer" ? field.value : null));
  }
  /** What `pick` takes of the fields, by path; each once. */
  *#named<T>(module: M, { prefix = "", recurse = true }: NamedOptions, pick: (field: Field<M>) => T | null): Named<T> {
    const seen = new Set<T>();
    const modules: Iterable<[string, M]> = recurse ? this.modules(module, prefix) : [[prefix, module]];
    for (const [path, each] of modules)
      for (const field of this.fieldsOf(each)) {
        const value = pick(field);
        if (value === null || seen.has(value)) continue;
        seen.add(value);
        yield [below(path, field.name), value];
      }
  }

  /**
   * Calls `fn` for every module, children before their parent. One that stands in several places is met in each; a
   * cycle ends.
   */
  childrenFirst(module: M, fn: (module: M) => void, path = new Set<M>()): void {
    if (path.has(module)) return;
    path.add(module);
    for (const [, child] of this.children(module)) this.childrenFirst(child, fn, path);
    fn(module);
    path.delete(module);
  }
}

/** The path of a module's field. */
function below(path: string, name: string): string {
  return path === "" ? snakeCase(name) : `${path}.${snakeCase(name)}`;
}
